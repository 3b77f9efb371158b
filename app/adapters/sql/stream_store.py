"""What a stream reads from Postgres: durable events, the running answer's text, how far memories are."""

from typing import Any

from sqlalchemy import Engine, text

from app.adapters.sql.engine import transaction
from app.domain.stream import Delta

_TENANT = text("SELECT tenant FROM sessions WHERE session_id = :session_id")
_HEAD = text("SELECT next_seq FROM sessions WHERE session_id = :session_id")
_EVENTS = text("""
    SELECT payload FROM session_events WHERE session_id = :session_id AND seq > :seq ORDER BY seq LIMIT :limit
""")
_PARTIAL = text("""
    SELECT t.attempts, t.partial_text, begun.seq AS after FROM turns t
    CROSS JOIN LATERAL (
        SELECT e.seq FROM session_events e
        WHERE e.session_id = t.session_id AND e.turn_seq = t.seq AND e.type = 'assistant.thinking'
        ORDER BY e.seq DESC LIMIT 1) begun
    WHERE t.session_id = :session_id AND t.state = 'running' AND t.partial_text <> '' ORDER BY t.seq LIMIT 1
""")
_MEMORY_STATES = text("""
    SELECT o.event_id, CASE WHEN r.event_id IS NOT NULL THEN 'replicated' WHEN o.state = 'synced' THEN 'remembered'
                            WHEN o.state = 'dead' THEN 'refused' ELSE 'accepted' END AS state
    FROM (SELECT event_id, state FROM memory_write_outbox WHERE session_id = :session_id
          ORDER BY created_at DESC LIMIT 100) o
    LEFT JOIN memory_replica r USING (event_id)
""")


class SqlStreamStore:
    """`StreamStore` on Postgres; each call is one short read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def tenant_of(self, session_id: str) -> str | None:
        """Whose session this is; None where nothing was ever said in it."""
        with transaction(self._engine) as connection:
            tenant: str | None = connection.execute(_TENANT, {"session_id": session_id}).scalar()
        return tenant

    def head(self, session_id: str) -> int:
        """The last number given out in this session; 0 where there is none."""
        with transaction(self._engine) as connection:
            return int(connection.execute(_HEAD, {"session_id": session_id}).scalar() or 0)

    def events_after(self, session_id: str, seq: int, limit: int) -> list[dict[str, Any]]:
        """Envelopes of durable events above `seq`, oldest first."""
        parameters = {"session_id": session_id, "seq": seq, "limit": limit}
        with transaction(self._engine) as connection:
            return list(connection.execute(_EVENTS, parameters).scalars())

    def partial(self, session_id: str) -> Delta | None:
        """The running answer from its first character, as far as it is durable."""
        with transaction(self._engine) as connection:
            row = connection.execute(_PARTIAL, {"session_id": session_id}).mappings().one_or_none()
        return None if row is None else Delta(row["after"], row["attempts"], 0, row["partial_text"])

    def memory_states(self, session_id: str) -> dict[str, str]:
        """accepted, remembered or replicated (refused, if SomaBrain said so) for the session's last 100 memories."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_MEMORY_STATES, {"session_id": session_id}).mappings()
            return {row["event_id"]: row["state"] for row in rows}
