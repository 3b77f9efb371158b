"""A wish to stop is heard by whoever works on that turn, also while everything else is silent."""

import threading
from collections.abc import Collection, Mapping

import pytest

from app.adapters.stop_watch import StopWatch, Wish
from app.domain.conversation_control import Why
from app.domain.errors import StoreUnavailable
from tests.conftest import eventually


class Wishes:
    """Where wishes lie; `down` is its outage, `looks` what was asked for."""

    def __init__(self) -> None:
        self.made: dict[str, Why] = {}
        self.looks: list[set[str]] = []
        self.down = False

    def asked(self, keys: Collection[str]) -> Mapping[str, Why]:
        self.looks.append(set(keys))
        if self.down:
            raise StoreUnavailable("away")
        return {key: why for key, why in self.made.items() if key in keys}


@pytest.fixture
def wishes() -> Wishes:
    return Wishes()


@pytest.fixture
def watch(wishes: Wishes) -> StopWatch:
    return StopWatch(wishes.asked, every_seconds=0.01)


def test_a_wish_is_heard_by_the_one_whom_it_is_about(watch: StopWatch, wishes: Wishes) -> None:
    with watch.heard("one") as one, watch.heard("other") as other:
        wishes.made["one"] = Why.CANCELLED

        assert eventually(one.why) is Why.CANCELLED

        assert other.why() is None


def test_what_is_to_be_done_is_done_once_whether_it_was_said_before_or_after_the_wish(
    watch: StopWatch, wishes: Wishes
) -> None:
    done: list[str] = []
    with watch.heard("one") as one:
        one.then(lambda: done.append("before"))
        wishes.made["one"] = Why.CANCELLED
        eventually(one.why)
        eventually(lambda: done)
        one.then(lambda: done.append("after"))
        looks = len(wishes.looks)
        eventually(lambda: len(wishes.looks) > looks + 2)

    assert done == ["before", "after"]


def test_an_outage_only_delays_it(watch: StopWatch, wishes: Wishes) -> None:
    wishes.made["one"] = Why.CANCELLED
    wishes.down = True
    with watch.heard("one") as one:
        eventually(lambda: len(wishes.looks) > 2)
        assert not one.why()

        wishes.down = False

        eventually(one.why)


def test_nobody_is_asked_after_while_nobody_works(watch: StopWatch, wishes: Wishes) -> None:
    with watch.heard("one"):
        eventually(lambda: wishes.looks)
    threading.Event().wait(0.05)
    looks = len(wishes.looks)

    threading.Event().wait(0.1)

    assert len(wishes.looks) == looks


def test_a_second_attempt_at_the_same_turn_hears_for_itself(watch: StopWatch, wishes: Wishes) -> None:
    with watch.heard("one") as late, watch.heard("one") as new:
        wishes.made["one"] = Why.CANCELLED

        eventually(new.why)

        assert not late.why()


def test_a_wish_that_was_made_is_made() -> None:
    wish, done = Wish(), []
    wish.make(Why.CANCELLED)

    wish.then(lambda: done.append("at once"))

    assert done == ["at once"]
