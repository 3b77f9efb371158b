"""What people do to a session as a whole: hold it, release it, name it, begin it anew, be rid of it."""

from dataclasses import dataclass

from app.domain.errors import NotFound
from app.domain.events import LOOK
from app.domain.ports import Broadcast, Doorbell
from app.domain.session_ports import Sessions
from app.routing import TaskName


@dataclass(frozen=True, slots=True)
class SessionDesk:
    """What tending sessions needs."""

    sessions: Sessions
    doorbell: Doorbell
    broadcast: Broadcast


def pause_session(session_id: str, paused: bool, desk: SessionDesk) -> None:
    """Hold its turns, or release them and begin with the next; `NotFound` where there is no such session."""
    _known(desk.sessions.pause(session_id, paused))
    if not paused:
        _ring(session_id, desk)


def rename_session(session_id: str, title: str, desk: SessionDesk) -> None:
    """`NotFound` where there is no such session."""
    _known(desk.sessions.rename(session_id, title))


def reset_session(session_id: str, desk: SessionDesk) -> None:
    """What is owed is stopped, and no later turn hears of what was said; `NotFound` where there is no such session."""
    _known(desk.sessions.reset(session_id))
    _ring(session_id, desk)


def delete_session(session_id: str, desk: SessionDesk) -> None:
    """Its memories stay; `NotFound` where there is no such session."""
    _known(desk.sessions.delete(session_id))
    desk.broadcast.publish(session_id, LOOK)


def _ring(session_id: str, desk: SessionDesk) -> None:
    following = desk.sessions.next_due(session_id)
    if following is not None:
        desk.doorbell.ring(TaskName.RESPOND, following)


def _known(found: bool) -> None:
    if not found:
        raise NotFound("there is no such session")
