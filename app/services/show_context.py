"""What a model would be told next, for people who want to see it."""

from app.domain.context import Window
from app.domain.errors import NotFound
from app.domain.events import NewEvent
from app.services.prepare_turn import Preparation, prepare_turn


def show_context(session_id: str, preparation: Preparation) -> Window:
    """The window as it is now, but for the message that is to come; `NotFound` where nothing was said yet."""
    turn = preparation.transcripts.latest(session_id)
    if turn is None:
        raise NotFound("nothing was said in this session yet")
    return prepare_turn(turn, preparation, _to_nobody).window


def _to_nobody(_event: NewEvent) -> None:
    """What recall brings is shown, not kept."""
