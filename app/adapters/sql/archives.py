"""Sessions as documents: read at one moment, kept in one transaction."""

from collections.abc import Sequence, Set

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from app.adapters.sql.acceptance import accept
from app.adapters.sql.engine import transaction
from app.adapters.sql.rows import as_json
from app.domain.archive import MOST_EVENTS, ArchivedEvent, Chat
from app.domain.conversation import Receipt, RequestKey
from app.domain.errors import Conflict, Rejected
from app.domain.events import SessionEvent

_ONE_MOMENT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
_SESSION = text("""
    SELECT session_id, tenant, persona_id, subject, title, metadata, analysis, created_at, updated_at, heard_after
    FROM sessions WHERE session_id = :session_id
""")
_EVENTS = text("""
    SELECT payload, turn_seq, superseded FROM session_events WHERE session_id = :session_id ORDER BY seq LIMIT :limit
""")
_TAKEN = text("""
    SELECT session_id FROM sessions WHERE session_id = ANY(CAST(:ids AS text[]))
    UNION ALL SELECT event_id FROM session_events WHERE event_id = ANY(CAST(:ids AS text[]))
""")
# Nobody is told of what happened long ago (migration 0017).
_OF_OLD = text("SET LOCAL soma.of_old = 'on'")
_KEEP_SESSION = text("""
    INSERT INTO sessions (session_id, tenant, persona_id, subject, title, metadata, analysis, created_at, updated_at,
                          heard_after, next_seq)
    VALUES (:session_id, :tenant, :persona_id, :subject, :title, CAST(:metadata AS jsonb), CAST(:analysis AS jsonb),
            :created_at, :updated_at, :heard_after, :next_seq)
""")
_KEEP_EVENTS = text("""
    INSERT INTO session_events (session_id, seq, event_id, tenant, type, role, turn_seq, payload, created_at,
                                superseded)
    SELECT :session_id, seq, event_id, :tenant, type, role, turn_seq, payload, created_at, superseded
    FROM json_to_recordset(CAST(:events AS json))
        AS event (seq bigint, event_id text, type text, role text, turn_seq bigint, payload jsonb,
                  created_at timestamptz, superseded boolean)
""")


class SqlArchives:
    """`Archives` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, session_id: str) -> Chat | None:
        """From one snapshot."""
        with transaction(self._engine) as connection:
            connection.execute(_ONE_MOMENT)
            row = connection.execute(_SESSION, {"session_id": session_id}).mappings().one_or_none()
            if row is None:
                return None
            values = {"session_id": session_id, "limit": MOST_EVENTS + 1}
            events = [ArchivedEvent(*each) for each in connection.execute(_EVENTS, values)]
        if len(events) > MOST_EVENTS:
            raise Rejected(f"this session has more than {MOST_EVENTS} events, too many for one document")
        return Chat(**row, events=tuple(events))

    def taken(self, chats: Sequence[Chat]) -> Set[str]:
        """As far as can be known before they are kept."""
        with transaction(self._engine) as connection:
            values = {"ids": [each for chat in chats for each in chat.ids]}
            return set(connection.execute(_TAKEN, values).scalars())

    def keep(self, chats: Sequence[Chat], receipt: Receipt, key: RequestKey | None) -> Receipt:
        """One COMMIT for all."""

        def keep_all(connection: Connection) -> Sequence[SessionEvent]:
            connection.execute(_OF_OLD)
            for chat in chats:
                _keep(connection, chat)
            return ()

        try:
            kept, _ = accept(self._engine, receipt, key, keep_all)
        except IntegrityError:
            raise Conflict("somebody has just begun a session under one of these ids; send it again") from None
        return kept


def _keep(connection: Connection, chat: Chat) -> None:
    connection.execute(
        _KEEP_SESSION,
        {
            "session_id": chat.session_id,
            "tenant": chat.tenant,
            "persona_id": chat.persona_id,
            "subject": chat.subject,
            "title": chat.title,
            "metadata": as_json(dict(chat.metadata)),
            "analysis": as_json(dict(chat.analysis)),
            "created_at": chat.created_at,
            "updated_at": chat.updated_at,
            "heard_after": chat.heard_after,
            "next_seq": len(chat.events),
        },
    )
    values = {"session_id": chat.session_id, "tenant": chat.tenant, "events": as_json(list(map(_row, chat.events)))}
    connection.execute(_KEEP_EVENTS, values)


def _row(event: ArchivedEvent) -> dict[str, object]:
    return {
        "seq": event.seq,
        "event_id": event.payload["event_id"],
        "type": event.type.value,
        "role": event.payload["role"],
        "turn_seq": event.turn_seq,
        "payload": event.payload,
        "created_at": event.payload["created_at"],
        "superseded": event.superseded,
    }
