"""Sessions as documents: export, import, and branches."""

from typing import Annotated, Any

from flask import Response, jsonify
from pydantic import BaseModel, ConfigDict, Field

from app.gateway.api import Answer, Area
from app.gateway.conversation import known_session
from app.gateway.request_keys import REPEATABLE, key_of, repeatable
from app.gateway.room import room
from app.services.archive_form import ChatsForm, chat_in, form_of
from app.services.archive_sessions import export_session, fork_session, import_sessions
from app.services.message_form import SessionId

archives = Area("archives")


class ExportForm(BaseModel):
    """Which session."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    session_id: SessionId


class Chats(Answer):
    """Sessions as documents; what `POST /v1/sessions/import` takes."""

    chats: list[dict[str, Any]]


class Imported(Answer):
    """The sessions' ids, in the order in which they came: their own where that was free, else a new one."""

    status: str
    session_ids: list[str]


class ForkForm(BaseModel):
    """From which event on the new session goes its own way."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    seq: Annotated[int, Field(ge=0, le=2**62)]


class Forked(Answer):
    """The new session."""

    status: str
    session_id: str


@archives.route(
    "POST",
    "/v1/sessions/export",
    "A session as a document",
    body=ExportForm,
    answer=Chats,
    errors=(400, 404, 413, 415, 422, 503),
)
def post_export(body: ExportForm) -> Response:
    """All of it, from one moment."""
    return jsonify(chats=[form_of(export_session(body.session_id, room().serving.archives))])


@archives.route(
    "POST",
    "/v1/sessions/import",
    "Bring sessions back from their documents; nothing of them is answered or remembered again",
    body=ChatsForm,
    answer=Imported,
    errors=(400, 409, 413, 415, 422, 503),
    headers=REPEATABLE,
    limit="SESSION_IMPORT_MAX_BYTES",
)
def post_import(body: ChatsForm) -> Response:
    """All of them, or none."""
    serving = room().serving
    chats = [chat_in(chat) for chat in body.chats]
    session_ids, replayed = import_sessions(chats, key_of(body, serving.settings.soma_tenant_id), serving.archives)
    return repeatable({"status": "imported", "session_ids": session_ids}, replayed)


@archives.route(
    "POST",
    "/v1/sessions/<session_id>/fork",
    "A new session that begins with this one's turns up to `seq`; to ask differently, send the message there",
    body=ForkForm,
    answer=Forked,
    errors=(400, 404, 409, 413, 415, 422, 503),
    headers=REPEATABLE,
)
def post_fork(session_id: str, body: ForkForm) -> Response:
    """The old session goes on as it is."""
    known_session(session_id)
    serving = room().serving
    receipt = fork_session(session_id, body.seq, key_of(body, serving.settings.soma_tenant_id), serving.archives)
    return repeatable({"status": "forked", "session_id": receipt.session_id}, receipt.replayed)
