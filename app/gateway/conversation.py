"""Messages in, sessions and their events out."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from flask import Response, g, request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.domain.errors import NotFound
from app.gateway.api import Answer, Area, Query
from app.gateway.paging import cut, decode_place
from app.gateway.problems import BadRequest
from app.gateway.request_keys import REPEATABLE, key_of, repeatable
from app.gateway.room import room
from app.gateway.write_through import keep_message
from app.services.cancel_turn import cancel_turn
from app.services.message_form import HEADERS, MAX_NAME_LENGTH, MessageForm, fill_from_headers, message_in

SESSION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_SEQ = re.compile(r"[1-9][0-9]{0,17}")
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
    headers=REPEATABLE | HEADERS,
    fill=lambda body: fill_from_headers(body, dict(request.headers)),
)
def post_message(body: MessageForm) -> Response:
    """Parse, keep, answer."""
    if body.attachments:
        where = [{"loc": ["body", "attachments", "0"], "msg": "there is no such attachment"}]
        raise BadRequest(422, f"there is no attachment {body.attachments[0]}", where)
    tenant = room().serving.settings.soma_tenant_id
    message, key = message_in(body, tenant, g.traceparent), key_of(body, body.tenant_named or tenant)
    receipt = keep_message(message, key, _PATH)
    kept = {"accepted": True, "session_id": receipt.session_id, "event_id": receipt.event_id}
    return repeatable(kept, receipt.replayed)


class CancelForm(BaseModel):
    """Which answer to stop; by default the one that is given now, or the next one to be given."""

    model_config = ConfigDict(title="Cancel", extra="forbid", strict=True, frozen=True)

    event_id: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)] | None = None


class Cancelled(Answer):
    """Whether there was something to stop; the stream says `assistant.cancelled` when it has stopped."""

    cancelled: bool


@conversation.route(
    "POST",
    "/v1/session/<session_id>/cancel",
    "Stop an answer; what was said so far is kept",
    body=CancelForm,
    body_optional=True,
    answer=Cancelled,
    errors=(400, 404, 413, 415, 422, 503),
)
def post_cancel(session_id: str, body: CancelForm) -> Cancelled:
    """Keep the wish, answer."""
    known_session(session_id)
    return Cancelled(cancelled=cancel_turn(session_id, body.event_id, room().serving.control_room))


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
    title: str | None
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
    rows = room().serving.browser.sessions(query.tenant, decode_place(query.after), query.limit + 1)
    page, cursor = cut(rows, query.limit, lambda row: (row["created_at"].isoformat(), row["session_id"]))
    return Sessions(items=[Session(**row) for row in page], next_cursor=cursor)


@conversation.route(
    "GET",
    "/v1/sessions/<session_id>",
    "One session: what it is called, whether it is held, what it was branched off from",
    answer=Session,
    errors=(404, 503),
)
def get_session(session_id: str) -> Session:
    """Without its events."""
    row = room().serving.browser.session(session_id)
    if row is None:
        raise NotFound("there is no such session")
    return Session(**row)


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
    events = [_event(row) for row in rows[: query.limit]]
    return Events(session_id=session_id, events=events, next_cursor=events[-1].id if len(rows) > query.limit else None)


def _event(row: Mapping[Any, Any]) -> Event:
    return Event(id=row["seq"], occurred_at=row["created_at"], payload=row["payload"])


@conversation.route(
    "GET",
    "/v1/sessions/<session_id>/events/<seq>",
    "One durable event, whole: what `metadata.truncated.href` in a stream refers to",
    answer=Event,
    errors=(404, 503),
)
def get_event(session_id: str, seq: str) -> Event:
    """However long it is."""
    known_session(session_id)
    number = int(seq) if _SEQ.fullmatch(seq) else 0
    for row in room().serving.browser.session_events(session_id, number - 1, 1):
        if row["seq"] == number:
            return _event(row)
    raise NotFound("there is no such event")


def known_session(session_id: str) -> str:
    """The tenant of this session; `NotFound` unless there is one."""
    tenant = room().serving.stream_room.store.tenant_of(session_id) if SESSION_ID.fullmatch(session_id) else None
    if tenant is None:
        raise NotFound("there is no such session")
    return tenant
