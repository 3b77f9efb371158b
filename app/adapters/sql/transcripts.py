"""What was said in sessions, as a model and a person read it again, and the summaries of what was said long ago."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, RowMapping, text

from app.adapters.sql.engine import transaction
from app.domain.conversation import Turn
from app.domain.transcript import Line, Summary

_SAID = """type IN ('user', 'assistant.final', 'assistant.cancelled') AND NOT superseded
      AND turn_seq > (SELECT heard_after FROM sessions WHERE session_id = :session_id)"""
_COLUMNS = "event_id, turn_seq, role, payload ->> 'message' AS message"
_NEWEST = text(f"""
    SELECT {_COLUMNS} FROM session_events
    WHERE session_id = :session_id AND turn_seq <= :up_to AND {_SAID}
    ORDER BY turn_seq DESC, seq DESC LIMIT :limit
""")  # noqa: S608
_FOLLOWING = text(f"""
    SELECT {_COLUMNS} FROM session_events
    WHERE session_id = :session_id AND turn_seq > :after AND {_SAID}
    ORDER BY turn_seq, seq LIMIT :limit
""")  # noqa: S608
_LATEST = text("""
    SELECT e.event_id, e.session_id, e.seq, e.tenant, s.persona_id, s.subject, e.payload -> 'metadata' AS metadata
    FROM session_events e JOIN sessions s USING (session_id)
    WHERE e.session_id = :session_id AND e.type = 'user' AND NOT e.superseded AND e.turn_seq > s.heard_after
    ORDER BY e.turn_seq DESC, e.seq DESC LIMIT 1
""")
_SUMMARY = text("""
    SELECT summary, to_turn, event_ids, source FROM session_summaries
    WHERE session_id = :session_id AND to_turn < :before ORDER BY to_turn DESC LIMIT 1
""")
_KEEP_SUMMARY = text("""
    INSERT INTO session_summaries (session_id, to_turn, tenant, summary, event_ids, source)
    SELECT session_id, :to_turn, tenant, :summary, CAST(:event_ids AS text[]), :source
    FROM sessions WHERE session_id = :session_id
    ON CONFLICT (session_id, to_turn) DO NOTHING
""")
_REPLACED = text("""
    SELECT event_id FROM session_events WHERE event_id = ANY(CAST(:event_ids AS text[])) AND superseded
""")
_BROUGHT = text("""
    SELECT payload -> 'metadata' FROM session_events
    WHERE session_id = :session_id AND turn_seq = :turn_seq AND type = 'context.update' ORDER BY seq DESC LIMIT 1
""")


class SqlTranscripts:
    """`Transcripts` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def newest(self, session_id: str, up_to_turn: int, limit: int) -> list[Line]:
        """From the end of that turn backwards, and given forwards."""
        values = {"session_id": session_id, "up_to": up_to_turn, "limit": limit}
        with transaction(self._engine) as connection:
            rows = connection.execute(_NEWEST, values).mappings().all()
        return _lines(rows[::-1])

    def following(self, session_id: str, after_turn: int, limit: int) -> list[Line]:
        """From the beginning of the next turn on."""
        values = {"session_id": session_id, "after": after_turn, "limit": limit}
        with transaction(self._engine) as connection:
            return _lines(connection.execute(_FOLLOWING, values).mappings().all())

    def latest(self, session_id: str) -> Turn | None:
        """From its message, which outlives its row."""
        with transaction(self._engine) as connection:
            row = connection.execute(_LATEST, {"session_id": session_id}).mappings().one_or_none()
        return None if row is None else Turn(**row, attempts=0, lease_owner="")

    def summary(self, session_id: str, before_turn: int) -> Summary | None:
        """The newest that ends before that turn."""
        values = {"session_id": session_id, "before": before_turn}
        with transaction(self._engine) as connection:
            row = connection.execute(_SUMMARY, values).mappings().one_or_none()
        return None if row is None else Summary(row["summary"], row["to_turn"], tuple(row["event_ids"]), row["source"])

    def keep_summary(self, session_id: str, summary: Summary) -> bool:
        """One of two that were made at once stays."""
        values = {
            "session_id": session_id,
            "to_turn": summary.to_turn,
            "summary": summary.text,
            "event_ids": list(summary.event_ids),
            "source": summary.source,
        }
        with transaction(self._engine) as connection:
            return bool(connection.execute(_KEEP_SUMMARY, values).rowcount)

    def replaced(self, event_ids: Collection[str]) -> Collection[str]:
        """Whatever session they are of."""
        with transaction(self._engine) as connection:
            return list(connection.execute(_REPLACED, {"event_ids": list(event_ids)}).scalars())

    def brought(self, session_id: str, turn_seq: int) -> Mapping[str, Any] | None:
        """The metadata of that event."""
        values = {"session_id": session_id, "turn_seq": turn_seq}
        with transaction(self._engine) as connection:
            return connection.execute(_BROUGHT, values).scalar_one_or_none()


def _lines(rows: Sequence[RowMapping]) -> list[Line]:
    lines = [Line(row["event_id"], row["turn_seq"], row["role"], row["message"]) for row in rows]
    return [line for line in lines if line.text]
