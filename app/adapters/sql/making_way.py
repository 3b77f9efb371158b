"""What a message does to those before it, in the transaction that keeps it: wait, interrupt, refuse, replace."""

from sqlalchemy import Connection, text

from app.domain.conversation import UserMessage
from app.domain.errors import Conflict
from app.domain.terms import WhileBusy

_IS_BUSY = text("""
    SELECT 1 FROM turns
    WHERE session_id = :session_id AND state IN ('queued', 'running') AND event_id <> :event_id LIMIT 1
""")
# Those that wait are ended by whoever would begin them, in their order.
_INTERRUPT = text("""
    UPDATE turns SET cancel_requested = true
    WHERE session_id = :session_id AND state IN ('queued', 'running') AND event_id <> :event_id
""")
_REPLACE = text("""
    UPDATE session_events SET superseded = true
    WHERE session_id = :session_id AND NOT superseded
      AND type IN ('user', 'assistant.final', 'assistant.cancelled', 'assistant.error', 'policy.denied')
      AND turn_seq = (SELECT turn_seq FROM session_events
                      WHERE session_id = :session_id AND type = 'user' AND NOT superseded AND turn_seq < :seq
                      ORDER BY turn_seq DESC LIMIT 1)
      AND EXISTS (SELECT 1 FROM session_events asked
                  WHERE asked.event_id = :replaces AND asked.turn_seq = session_events.turn_seq)
""")


def make_way(connection: Connection, message: UserMessage, seq: int) -> None:
    """Under the session's row lock, with the message in its place `seq`; `Conflict` where it does not want to be."""
    terms = message.terms
    values = {"session_id": message.session_id, "event_id": message.event_id, "seq": seq, "replaces": terms.replaces}
    if terms.while_busy is WhileBusy.REJECT and connection.execute(_IS_BUSY, values).scalar() is not None:
        raise Conflict(
            "an answer is still owed in this session: wait for it, stop it, or send this with while_busy enqueue or"
            " interrupt"
        )
    if terms.while_busy is WhileBusy.INTERRUPT:
        connection.execute(_INTERRUPT, values)
    if terms.replaces is not None and not connection.execute(_REPLACE, values).rowcount:
        raise Conflict("the conversation has gone on meanwhile; only its last answer can be given again")
