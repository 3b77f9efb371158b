"""Messages in, sessions and their events out."""

import re
from typing import Annotated, Any

from flask import Response, g, jsonify, request
from pydantic import AwareDatetime, Field

from app.domain.conversation import Receipt, RequestKey, UserMessage
from app.domain.errors import NotFound
from app.gateway.api import Answer, Area, Query
from app.gateway.paging import decode, encode
from app.gateway.problems import BadRequest
from app.gateway.request_keys import key_of
from app.gateway.room import room
from app.gateway.write_through import counted_memories
from app.services.accept_message import accept_message
from app.services.keep_memories import attempt
from app.services.message_form import HEADERS, MessageForm, fill_from_headers, message_in

SESSION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_PATH = "/v1/session/message"
conversation = Area("conversation")


class Accepted(Answer):
    """The message is kept."""

    accepted: bool
    session_id: str
    event_id: str


@conversation.route(
    "POST",
    _PATH,
    "Send a message; it is kept before this answers",
    body=MessageForm,
    answer=Accepted,
    errors=(400, 404, 409, 413, 415, 422, 503),
    headers={"Idempotency-Key": "Send the same key again to get the first answer again (24 h)", **HEADERS},
    fill=lambda body: fill_from_headers(body, dict(request.headers)),
)
def post_message(body: MessageForm) -> Response:
    """Parse, keep, answer."""
    if body.attachments:
        where = [{"loc": ["body", "attachments", "0"], "msg": "there is no such attachment"}]
        raise BadRequest(422, f"there is no attachment {body.attachments[0]}", where)
    tenant = room().serving.settings.soma_tenant_id
    receipt = _keep(message_in(body, tenant, g.traceparent), key_of(body, body.tenant_named or tenant))
    answer = jsonify(accepted=True, session_id=receipt.session_id, event_id=receipt.event_id)
    if receipt.replayed:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


def _keep(message: UserMessage, key: RequestKey | None) -> Receipt:
    serving = room().serving
    if serving.memory_defaults is None:
        return accept_message(message, key, serving.reception)
    with counted_memories(_PATH) as outcome:
        receipt = accept_message(message, key, serving.reception)
        if receipt.replayed:
            outcome.memories = 0
        elif not serving.settings.gateway_write_through_async:
            outcome.remembered = attempt([receipt.event_id], serving.memory_door.plane).ok
    return receipt


class SessionsQuery(Query):
    """Which sessions."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    after: str = ""
    tenant: Annotated[str, Field(min_length=1, max_length=255)] | None = None


class Session(Answer):
    """One session."""

    session_id: str
    persona_id: str | None
    tenant: str
    subject: str
    metadata: dict[str, Any]
    analysis: dict[str, Any]
    paused: bool
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Sessions(Answer):
    """A page of sessions, newest first."""

    items: list[Session]
    next_cursor: str | None


@conversation.route(
    "GET", "/v1/sessions", "Sessions, newest first", query=SessionsQuery, answer=Sessions, errors=(422, 503)
)
def list_sessions(query: SessionsQuery) -> Sessions:
    """One page."""
    before = decode(query.after, str, str)
    rows = room().serving.browser.sessions(query.tenant, before, query.limit + 1)
    items = [Session(**row) for row in rows[: query.limit]]
    more = len(rows) > query.limit
    return Sessions(
        items=items, next_cursor=encode(items[-1].created_at.isoformat(), items[-1].session_id) if more else None
    )


class EventsQuery(Query):
    """Which events."""

    after: Annotated[int, Field(ge=0, le=2**62)] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class Event(Answer):
    """One durable event."""

    id: int
    occurred_at: AwareDatetime
    payload: dict[str, Any]


class Events(Answer):
    """A page of a session's events, oldest first."""

    session_id: str
    events: list[Event]
    next_cursor: int | None


@conversation.route(
    "GET",
    "/v1/sessions/<session_id>/events",
    "A session's durable events, oldest first",
    query=EventsQuery,
    answer=Events,
    errors=(404, 422, 503),
)
def list_events(session_id: str, query: EventsQuery) -> Events:
    """One page."""
    known_session(session_id)
    rows = room().serving.browser.session_events(session_id, query.after, query.limit + 1)
    events = [
        Event(id=row["seq"], occurred_at=row["created_at"], payload=row["payload"]) for row in rows[: query.limit]
    ]
    return Events(session_id=session_id, events=events, next_cursor=events[-1].id if len(rows) > query.limit else None)


def known_session(session_id: str) -> None:
    """`NotFound` unless this session exists."""
    if not SESSION_ID.fullmatch(session_id) or not room().serving.stream_room.store.session_exists(session_id):
        raise NotFound("there is no such session")
