"""Health answers within its bound whatever a component does, and asks nobody twice who has not answered yet."""

import threading
import time

from app.domain.errors import Rejected, StoreUnavailable
from app.services.check_health import BOUND_SECONDS, Component, Health
from app.services.health_notes import QuietNotes
from tests.conftest import eventually
from tests.fakes import FakeClock, RecordingNotes


def ok() -> Component:
    return Component("ok")


def test_everything_well_is_ok() -> None:
    health = Health({"postgres": ok, "redis": ok})

    assert health.overall(health.components()) == "ok"


def test_one_unwell_degrades_and_a_vital_one_downs_the_whole() -> None:
    def down() -> Component:
        return Component("down")

    degraded, dead = Health({"postgres": ok, "redis": down}), Health({"postgres": down, "redis": ok})

    assert degraded.overall(degraded.components()) == "degraded"
    assert dead.overall(dead.components()) == "down"


def test_a_check_that_fails_is_down_with_its_reason() -> None:
    def away() -> Component:
        raise StoreUnavailable("Postgres is not answering")

    def wrong() -> Component:
        raise Rejected("the schema is wrong")

    components = Health({"postgres": away, "redis": wrong}).components()

    assert components["postgres"] == Component("down", "Postgres is not answering")
    assert components["redis"] == Component("down", "the schema is wrong")


def test_a_stuck_check_holds_up_nobody_and_is_not_asked_again() -> None:
    released, asked = threading.Event(), []

    def stuck() -> Component:
        asked.append(1)
        released.wait(30)
        return Component("ok")

    health = Health({"postgres": ok, "redis": stuck})
    began = time.monotonic()
    first = health.components()
    assert time.monotonic() - began < BOUND_SECONDS + 1
    assert (first["postgres"].status, first["redis"].status) == ("ok", "down")
    health._kept_until = 0
    health.components()
    released.set()

    assert len(asked) == 1


def test_an_answer_that_came_too_late_is_not_told_later() -> None:
    released, answers = threading.Event(), [Component("down", "old news"), Component("ok")]

    def slow_at_first() -> Component:
        answer = answers.pop(0)
        if answer.status == "down":
            released.wait(30)
        return answer

    health = Health({"postgres": slow_at_first})
    assert health.components()["postgres"].detail == "no answer within a second"
    released.set()
    eventually(lambda: health._running["postgres"].done())
    health._kept_until = 0

    assert health.components()["postgres"] == Component("ok")


def test_an_answer_is_kept_for_two_seconds() -> None:
    asked = []

    def count() -> Component:
        asked.append(1)
        return Component("ok")

    health = Health({"postgres": count})
    for _ in range(10):
        health.components()

    assert len(asked) == 1


def test_figures_stand_beside_the_status() -> None:
    assert Component("ok", "", {"depth": 3}).as_json() == {"status": "ok", "depth": 3}
    assert Component("down", "why").as_json() == {"status": "down", "detail": "why"}


def test_a_note_is_written_when_it_says_something_new_or_is_old() -> None:
    clock, notes = FakeClock(), RecordingNotes()
    quiet = QuietNotes(notes, clock)
    for status in ("ok", "ok", "down", "down", "ok"):
        quiet.note("kafka", status, "")
    clock.advance(6)
    quiet.note("kafka", "ok", "")

    assert [status for _, status, _ in notes.notes] == ["ok", "down", "ok", "ok"]


def test_a_note_that_cannot_be_written_harms_nobody_and_is_tried_again() -> None:
    class Away(RecordingNotes):
        def note(self, component: str, status: str, detail: str) -> None:
            super().note(component, status, detail)
            raise StoreUnavailable("Postgres is not answering")

    notes = Away()
    quiet = QuietNotes(notes, FakeClock())

    quiet.note("kafka", "ok", "")
    quiet.note("kafka", "ok", "")

    assert len(notes.notes) == 2
