"""While the model speaks: every piece is shown, what was said so far is kept, and a wish to stop is heard."""

from collections.abc import Iterator

from app.domain.conversation import Turn
from app.domain.conversation_control import Stop, Why
from app.domain.dialogue import Answer, Piece
from app.domain.errors import ModelUnavailable
from app.domain.events import EventType, live_item
from app.domain.stream import Delta
from app.services.conversation import Conversation


class Stopped(Exception):
    """Nobody wants the answer any more; `said` is how far it had come."""

    def __init__(self, why: Why, said: str) -> None:
        super().__init__()
        self.why = why
        self.said = said


def timed(pieces: Iterator[Piece], began: float, conversation: Conversation) -> Iterator[Piece]:
    """The pieces; when the first one came is measured."""
    for number, piece in enumerate(pieces):
        if number == 0:
            conversation.meter.first_piece(conversation.clock.monotonic() - began)
        yield piece


def until(stop: Stop, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces; once it is wished, `Stopped` with their text instead of the next one, or of an error."""
    said = ""
    try:
        for piece in pieces:
            if (why := stop.why()) is not None:
                raise Stopped(why, said)
            said += piece.text
            yield piece
    except ModelUnavailable as error:
        if (why := stop.why()) is not None:
            raise Stopped(why, said) from error
        raise


def listen(turn: Turn, begun: int, pieces: Iterator[Piece], conversation: Conversation) -> Answer:
    """The whole answer; `begun` is the number of the event that began this attempt."""
    said = 0
    with conversation.scribe.writing_down(turn) as page:
        for piece in pieces:
            if piece.answer is not None:
                conversation.meter.spent(piece.answer.usage)
                return piece.answer
            _show(turn, Delta(begun, turn.attempts, said, piece.text), conversation)
            page.add(piece.text)
            said += len(piece.text)
    raise ModelUnavailable("The model broke off in the middle of its answer.")


def _show(turn: Turn, piece: Delta, conversation: Conversation) -> None:
    metadata = {"offset": piece.offset, "attempt": piece.attempt}
    item = live_item(turn.session_id, EventType.DELTA, piece.text, metadata, conversation.clock.now())
    conversation.broadcast.publish(turn.session_id, item | {"after": piece.after})
