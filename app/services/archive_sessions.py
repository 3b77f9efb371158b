"""Sessions given out as documents, brought back, and branched off from one of their moments."""

import uuid
from collections.abc import Iterator, Sequence

from app.domain.archive import Chat, branch, transplanted
from app.domain.archive_ports import Archives
from app.domain.conversation import Receipt, RequestKey
from app.domain.errors import NotFound


def export_session(session_id: str, archives: Archives) -> Chat:
    """`NotFound` where there is no such session."""
    chat = archives.read(session_id)
    if chat is None:
        raise NotFound("there is no such session")
    return chat


def import_sessions(chats: Sequence[Chat], key: RequestKey | None, archives: Archives) -> tuple[list[str], bool]:
    """The ids that the sessions have now, in order, and whether this was done before: each its own where that is free,
    else a new one.
    """
    receipt = Receipt("", str(uuid.uuid4()))
    placed = list(_placed(chats, set(archives.taken(chats)), receipt))
    receipt = Receipt(" ".join(chat.session_id for chat in placed), receipt.event_id)
    kept = archives.keep(placed, receipt, key)
    return kept.session_id.split(), kept.replayed


def _placed(chats: Sequence[Chat], taken: set[str], receipt: Receipt) -> Iterator[Chat]:
    for number, chat in enumerate(chats):
        yield chat if taken.isdisjoint(chat.ids) else transplanted(chat, _new_id(receipt, number))
        taken.update(chat.ids)


def _new_id(receipt: Receipt, number: int) -> str:
    return str(uuid.uuid5(uuid.UUID(receipt.event_id), str(number)))


def fork_session(session_id: str, seq: int, key: RequestKey | None, archives: Archives) -> Receipt:
    """A new session that begins with what was said in this one up to `seq`; `NotFound` where there is no such one."""
    chat = export_session(session_id, archives)
    new = branch(chat, seq, str(uuid.uuid4()))
    return archives.keep([new], Receipt(new.session_id, new.session_id), key)
