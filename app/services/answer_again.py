"""The last message of a session, asked once more: its new answer takes the place of the old one."""

import uuid

from app.domain.conversation import Receipt, RequestKey, UserMessage
from app.domain.errors import Conflict
from app.domain.terms import Terms, WhileBusy
from app.domain.transcript import Transcripts
from app.services.accept_message import Reception, accept_message

_LINES_OF_A_TURN = 2


def answer_again(
    session_id: str, key: RequestKey | None, transcripts: Transcripts, reception: Reception, traceparent: str | None
) -> Receipt:
    """The message is kept again, under a new id and as no new memory; `Conflict` where an answer is still owed, or
    where nothing was said.
    """
    turn = transcripts.latest(session_id)
    if turn is None:
        raise Conflict("there is no message to answer again")
    asked = next(line for line in transcripts.newest(session_id, turn.seq, _LINES_OF_A_TURN) if line.role == "user")
    message = UserMessage(
        event_id=str(uuid.uuid4()),
        session_id=session_id,
        text=asked.text,
        tenant=turn.tenant,
        persona_id=turn.persona_id,
        metadata={**turn.metadata, "regenerates": turn.event_id},
        traceparent=traceparent,
        terms=Terms(WhileBusy.REJECT, replaces=turn.event_id, remembered=False),
    )
    return accept_message(message, key, reception)
