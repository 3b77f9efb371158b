"""What people do to a session: quick actions, another answer, hold, name, begin anew, be rid of it."""

from typing import Annotated

from flask import Response, g, jsonify
from pydantic import BaseModel, ConfigDict, Field

from app.domain.actions import Action
from app.domain.conversation import Receipt
from app.gateway.api import Answer, Area
from app.gateway.conversation import Accepted, known_session
from app.gateway.problems import BadRequest
from app.gateway.request_keys import REPEATABLE, key_of, repeatable
from app.gateway.room import room
from app.services.accept_message import accept_message
from app.services.action_form import ActionForm, action_in, request_in
from app.services.answer_again import answer_again
from app.services.tend_session import delete_session, pause_session, rename_session, reset_session

session_control = Area("sessions")
_CHANGES = (400, 404, 413, 415, 422, 503)


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NothingToSay(_Form):
    """No fields."""


class PauseForm(_Form):
    """Whether the session's turns are held."""

    paused: bool = True


class TitleForm(_Form):
    """What the session is called."""

    title: Annotated[str, Field(min_length=1, max_length=200)]


class SessionState(Answer):
    """What became of the session: paused, released, renamed, reset or deleted."""

    status: str
    session_id: str


@session_control.route(
    "POST",
    "/v1/session/action",
    "A quick action: summarize, next_steps, status_report, nudge; pause and resume hold and release the session",
    body=ActionForm,
    answer=Accepted,
    errors=(400, 404, 409, 413, 415, 422, 503),
    headers=REPEATABLE,
)
def post_action(body: ActionForm) -> Response:
    """An action is a message like any other, but for the two that change the session."""
    action = action_in(body)
    if action is None:
        raise BadRequest(400, "Unknown action: use one of " + ", ".join(Action))
    known_session(body.session_id)
    serving = room().serving
    if action in (Action.PAUSE, Action.RESUME):
        pause_session(body.session_id, action is Action.PAUSE, serving.session_desk)
        return jsonify(accepted=True, session_id=body.session_id, event_id="")
    tenant = serving.settings.soma_tenant_id
    message = request_in(body, action, tenant, g.traceparent)
    return _accepted(accept_message(message, key_of(body, body.tenant_named or tenant), serving.reception))


@session_control.route(
    "POST",
    "/v1/session/<session_id>/regenerate",
    "Have the last message answered again; the new answer takes the place of the old one",
    body=NothingToSay,
    body_optional=True,
    answer=Accepted,
    errors=(400, 404, 409, 413, 415, 422, 503),
    headers=REPEATABLE,
)
def post_regenerate(session_id: str, body: NothingToSay) -> Response:
    """The message is kept again."""
    known_session(session_id)
    serving = room().serving
    key = key_of(body, serving.settings.soma_tenant_id)
    return _accepted(answer_again(session_id, key, serving.transcripts, serving.reception, g.traceparent))


def _accepted(receipt: Receipt) -> Response:
    kept = {"accepted": True, "session_id": receipt.session_id, "event_id": receipt.event_id}
    return repeatable(kept, receipt.replayed)


@session_control.route(
    "POST",
    "/v1/sessions/<session_id>/pause",
    "Hold the session's turns, or release them; messages are taken all the same",
    body=PauseForm,
    body_optional=True,
    answer=SessionState,
    errors=_CHANGES,
)
def post_pause(session_id: str, body: PauseForm) -> SessionState:
    """A turn that is answered now goes on."""
    pause_session(session_id, body.paused, room().serving.session_desk)
    return SessionState(status="paused" if body.paused else "released", session_id=session_id)


@session_control.route(
    "POST",
    "/v1/sessions/<session_id>/reset",
    "Begin anew: what is owed is stopped, no later turn hears of what was said; people still see it",
    body=NothingToSay,
    body_optional=True,
    answer=SessionState,
    errors=_CHANGES,
)
def post_reset(session_id: str, body: NothingToSay) -> SessionState:
    """Memories stay what they are."""
    del body
    reset_session(session_id, room().serving.session_desk)
    return SessionState(status="reset", session_id=session_id)


@session_control.route(
    "PATCH", "/v1/sessions/<session_id>", "Name the session", body=TitleForm, answer=SessionState, errors=_CHANGES
)
def patch_session(session_id: str, body: TitleForm) -> SessionState:
    """Over the name that it had."""
    rename_session(session_id, body.title, room().serving.session_desk)
    return SessionState(status="renamed", session_id=session_id)


@session_control.route(
    "DELETE",
    "/v1/sessions/<session_id>",
    "Be rid of the session, its events and what it still owes; its memories stay",
    answer=SessionState,
    errors=(404, 503),
)
def remove_session(session_id: str) -> SessionState:
    """For good."""
    delete_session(session_id, room().serving.session_desk)
    return SessionState(status="deleted", session_id=session_id)
