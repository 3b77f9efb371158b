"""The turns that were ever accepted, for those who come back for an answer."""

from typing import Any

from sqlalchemy import Engine, text

from app.adapters.sql.engine import transaction
from app.domain.kept_turns import KeptTurn
from app.domain.turn_request import request_of

_FIND = text("""
    SELECT t.event_id, t.session_id, t.seq, t.tenant, t.state, t.metadata, t.request, t.created_at,
           e.payload AS "end"
    FROM turns t
    LEFT JOIN session_events e ON e.session_id = t.session_id AND e.turn_seq = t.seq
        AND e.type IN ('assistant.final', 'assistant.error', 'assistant.cancelled', 'policy.denied')
    WHERE t.event_id = :event_id
""")


class SqlTurnBook:
    """`TurnBook` on Postgres; each call is one short read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, event_id: str, /) -> KeptTurn | None:
        """The turn, and its end where it has one."""
        with transaction(self._engine) as connection:
            row: Any = connection.execute(_FIND, {"event_id": event_id}).mappings().one_or_none()
        return None if row is None else KeptTurn(**{**row, "request": request_of(row["request"])})
