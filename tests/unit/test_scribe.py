"""What an answer has come to is durable soon, also when its model falls silent; many answers cost no more than one."""

from collections.abc import Callable, Sequence

import pytest

from app.adapters.scribe import SharedScribe, Sheet
from app.domain.conversation import Turn
from app.domain.errors import LeaseLost, Rejected, StoreUnavailable
from app.domain.kept_text import Saved
from tests.builders import a_turn
from tests.conftest import eventually


class Book:
    """Where texts are kept; what is `lost` belongs to somebody else, what is `bad` cannot be stored, and what is `busy`
    is neither kept nor lost.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.calls: list[list[str]] = []
        self.lost: set[str] = set()
        self.busy: set[str] = set()
        self.bad = ""
        self.down = False

    def save(self, texts: Sequence[tuple[Turn, str]]) -> Saved:
        self.calls.append([turn.event_id for turn, _ in texts])
        if self.down:
            raise StoreUnavailable("away")
        if self.bad and any(turn.event_id == self.bad for turn, _ in texts):
            raise Rejected("bad text")
        kept = {turn.event_id: text for turn, text in texts if turn.event_id not in self.lost | self.busy}
        self.texts.update(kept)
        return Saved(frozenset(kept), frozenset({turn.event_id for turn, _ in texts} & self.lost))


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def scribe(book: Book) -> SharedScribe:
    return SharedScribe(book.save, every_seconds=0.02)


def held(book: Book, event_id: str) -> Callable[[], str | None]:
    return lambda: book.texts.get(event_id)


def test_the_last_words_before_a_silence_are_durable(book: Book, scribe: SharedScribe) -> None:
    with scribe.writing_down(a_turn("one")) as page:
        page.add("Once ")
        page.add("upon")

        assert eventually(held(book, "one")) == "Once upon"

        page.add(" a time")
        eventually(lambda: book.texts["one"] == "Once upon a time")


def test_nothing_is_written_while_nothing_is_new(book: Book, scribe: SharedScribe) -> None:
    with scribe.writing_down(a_turn("one")) as one, scribe.writing_down(a_turn("other")) as other:
        one.add("said")
        eventually(held(book, "one"))
        other.add("more")
        eventually(held(book, "other"))

    assert book.calls == [["one"], ["other"]]


def test_many_answers_are_written_down_together(book: Book) -> None:
    scribe = SharedScribe(book.save, every_seconds=0.3)
    turns = [a_turn(f"turn {number}") for number in range(50)]
    pages = [scribe.writing_down(turn) for turn in turns]
    for page in pages:
        page.__enter__().add("text")

    eventually(lambda: len(book.texts) == 50)

    assert len(book.calls) <= 2
    for page in pages:
        page.__exit__(None, None, None)


def test_who_lost_the_turn_hears_of_it_and_nobody_else_does(book: Book, scribe: SharedScribe) -> None:
    book.lost.add("one")
    with scribe.writing_down(a_turn("one")) as one, scribe.writing_down(a_turn("other")) as other:
        one.add("said")
        other.add("said")
        eventually(held(book, "other"))
        eventually(lambda: one.lost)

        with pytest.raises(LeaseLost):
            one.add("more")
        other.add("more")


def test_what_could_not_be_kept_is_kept_when_that_is_possible(book: Book, scribe: SharedScribe) -> None:
    book.down = True
    book.busy.add("busy")
    with scribe.writing_down(a_turn("one")) as one, scribe.writing_down(a_turn("busy")) as busy:
        one.add("said")
        busy.add("said")
        eventually(lambda: len(book.calls) > 1)
        book.down = False
        assert eventually(held(book, "one")) == "said"

        book.busy.clear()
        assert eventually(held(book, "busy")) == "said"


def test_a_text_that_cannot_be_stored_keeps_no_other_from_it(book: Book, scribe: SharedScribe) -> None:
    book.bad = "bad"
    with scribe.writing_down(a_turn("bad")) as bad, scribe.writing_down(a_turn("good")) as good:
        bad.add("?")
        good.add("said")

        assert eventually(held(book, "good")) == "said"
        assert "bad" not in book.texts
        bad.add("its answer goes on")


def test_a_long_text_keeps_only_itself_waiting(book: Book, scribe: SharedScribe) -> None:
    with scribe.writing_down(a_turn("long")) as long, scribe.writing_down(a_turn("short")) as short:
        long.add("x" * 100_000)
        short.add("said")
        eventually(held(book, "long"))

    assert all(len(call) == 1 for call in book.calls)


def test_pieces_are_joined_in_their_order_and_once(book: Book) -> None:
    sheet = Sheet(a_turn("one"), lambda: None)
    for number in range(1000):
        sheet.add(f"{number} ")
        if number % 7 == 0:
            sheet.text()

    assert sheet.text() == "".join(f"{number} " for number in range(1000))
