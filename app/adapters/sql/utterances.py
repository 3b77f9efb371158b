"""What was said in conversations, found by its words."""

from typing import Any

from sqlalchemy import Connection, Engine, RowMapping

from app.adapters.sql.engine import transaction
from app.adapters.sql.word_search import Shelf, find_newest, search_on
from app.domain.utterances import SearchHit, UtteranceFilter, UtterancePlace

_TEXT = "(m.payload ->> 'message')"
_SAID = Shelf(
    table="session_events",
    columns=f"m.session_id, m.seq, m.created_at, m.tenant, m.type, m.role, {_TEXT} AS text,"  # noqa: S608
    " (SELECT subject FROM sessions s WHERE s.session_id = m.session_id) AS subject,"
    " (SELECT title FROM sessions s WHERE s.session_id = m.session_id) AS title",
    place=("created_at", "session_id", "seq"),
    key=("session_id", "seq"),
    said=_TEXT,
    indexed="session_events_worded",
)


class SqlUtterances:
    """Everything that was said."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def search(self, wanted: UtteranceFilter, before: UtterancePlace | None, limit: int) -> list[SearchHit]:
        """Newest first, from below `before` on."""
        with transaction(self._engine) as connection:
            return find_utterances(connection, wanted, before, limit)


def find_utterances(
    connection: Connection, wanted: UtteranceFilter, before: UtterancePlace | None, limit: int
) -> list[SearchHit]:
    """The newest `limit` below `before`."""
    plain, values = ["m.words IS NOT NULL", "NOT m.superseded"], dict[str, Any]()
    if wanted.tenant is not None:
        plain.append("m.tenant = :tenant")
        values["tenant"] = wanted.tenant
    if before is not None:
        plain.append("(m.created_at, m.session_id, m.seq) < (CAST(:time AS timestamptz), :session_id, :seq)")
        values |= {"time": before.created_at, "session_id": before.session_id, "seq": before.seq}
    return [
        _hit(row) for row in find_newest(connection, search_on(connection, _SAID, wanted.words, plain, values), limit)
    ]


def _hit(row: RowMapping) -> SearchHit:
    place = UtterancePlace(row["created_at"], row["session_id"], row["seq"])
    return SearchHit(place, row["tenant"], row["subject"], row["title"], row["type"], row["role"], row["text"])
