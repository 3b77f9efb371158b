"""Keeping what a caller sends: one transaction, an answer within two seconds, the first answer for a repeated key.

Messages, tool calls and exports are kept alike; they differ in what they put into the transaction.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import psycopg2.errors
from sqlalchemy import Connection, Engine, RowMapping, text
from sqlalchemy.exc import IntegrityError

from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.patience import Patience, within
from app.adapters.sql.request_keys import answer_key, take_key
from app.adapters.sql.rows import as_json
from app.domain.conversation import Receipt, RequestKey, Scalar
from app.domain.errors import NotFound
from app.domain.events import SessionEvent

Kept = tuple[Receipt, Sequence[SessionEvent]]
Keep = Callable[[Connection], Sequence[SessionEvent]]

# Most of the two seconds are for keeping, the rest for finding out.
_BUDGET = Patience(greeting_seconds=1.2, seconds=1.85)
_FIRST_TRY = Patience(greeting_seconds=1.2, seconds=1.3)

_TAKE_PLACES = text("""
    INSERT INTO sessions AS s (session_id, tenant, persona_id, subject, metadata, title, analysis, next_seq)
    VALUES (:session_id, :tenant, :persona_id, :subject, CAST(:metadata AS jsonb), :title, CAST(:analysis AS jsonb),
            :number)
    ON CONFLICT (session_id) DO UPDATE
        SET next_seq = s.next_seq + :number, updated_at = now(),
            persona_id = coalesce(excluded.persona_id, s.persona_id), title = coalesce(s.title, excluded.title),
            analysis = s.analysis || excluded.analysis
        WHERE s.tenant = excluded.tenant OR NOT :tenant_named
    RETURNING next_seq - :number + 1 AS seq, tenant, persona_id, clock_timestamp() AS now
""")


class Addressed(Protocol):
    """What a message and a tool call say of their session."""

    @property
    def session_id(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def tenant_named(self) -> bool: ...
    @property
    def persona_id(self) -> str | None: ...
    @property
    def subject(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, Scalar]: ...
    @property
    def title(self) -> str | None: ...
    @property
    def analysis(self) -> Mapping[str, Any]: ...


def accept(engine: Engine, receipt: Receipt, key: RequestKey | None, keep: Keep) -> Kept:
    """Keep it under the ids of `receipt`; a repeated key gives the first receipt again and keeps nothing. When the
    answer to the COMMIT was lost, what became of it is read within the two seconds that a caller is kept waiting.
    """

    def attempt() -> Kept:
        return _accept(engine, receipt, key, keep)

    with within(_BUDGET):
        return resolved(lambda unheard: _find_out(attempt, receipt) if unheard else _first_try(attempt))


def _first_try(attempt: Callable[[], Kept]) -> Kept:
    with within(_FIRST_TRY):
        return attempt()


def _find_out(attempt: Callable[[], Kept], receipt: Receipt) -> Kept:
    """Try again under the same ids: that waits for a COMMIT still under way, and meets what it kept."""
    try:
        found, events = attempt()
    except IntegrityError as error:
        if not isinstance(error.orig, psycopg2.errors.UniqueViolation):
            raise
        return receipt, ()
    return replace(found, replayed=found.event_id != receipt.event_id), events


def _accept(engine: Engine, receipt: Receipt, key: RequestKey | None, keep: Keep) -> Kept:
    with transaction(engine) as connection:
        first = take_key(connection, key) if key is not None else None
        if first is not None:
            return first, ()
        events = keep(connection)
        if key is not None:
            answer_key(connection, key, receipt)
        return receipt, events


def take_places(connection: Connection, sent: Addressed, number: int) -> RowMapping:
    """The first of so many numbers in the session's line (row lock: gap-free, in commit order), with its tenant,
    persona and the time; `NotFound` where the session is another tenant's.
    """
    values = {
        "session_id": sent.session_id,
        "tenant": sent.tenant,
        "tenant_named": sent.tenant_named,
        "persona_id": sent.persona_id,
        "subject": sent.subject,
        "metadata": as_json(dict(sent.metadata)),
        "title": sent.title,
        "analysis": as_json(dict(sent.analysis)),
        "number": number,
    }
    place = connection.execute(_TAKE_PLACES, values).mappings().one_or_none()
    if place is None:
        raise NotFound("there is no such session")
    return place
