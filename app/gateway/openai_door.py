"""What the routes of the OpenAI interface do alike: keep the message, wait for its answer, send it."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from flask import Response, g, jsonify, request

from app.adapters.http.open_streams import STOPPING, Slot, bound_sending, client_left, client_socket
from app.domain.answer_parts import Ended
from app.domain.conversation import Receipt, UserMessage
from app.domain.errors import NotFound
from app.domain.kept_turns import KeptTurn
from app.gateway.openai_errors import error_of
from app.gateway.request_keys import key_of, marked
from app.gateway.room import room
from app.gateway.write_through import keep_message
from app.services.follow_answer import Left, follow_answer, turn_kept
from app.services.message_form import fill_from_headers
from app.services.openai_form import OpenAIForm
from app.services.openai_refusal import Refused
from app.telemetry.metrics import STREAMS_OPEN

HEADERS = {
    "Idempotency-Key": "Send the same key again to get the same answer and no second turn (24 h)",
    "X-Agent-Profile": "Fills metadata.agent_profile_id, which is asked instead of `model`",
}
KEEP_ALIVE = ": ping\n\n"
_MOST_NAMES, _LONGEST_NAME = 32, 64


def fill(body: dict[str, Any]) -> None:
    """Headers complete the body."""
    if body.get("metadata") is None:
        body["metadata"] = {}
    fill_from_headers(body, dict(request.headers))


def models_known(tenant: str) -> dict[str, str]:
    """The models that this tenant may ask for."""
    return dict(room().serving.roster.known(tenant))


def default_tenant() -> str:
    """The tenant of those who name none."""
    return room().serving.settings.soma_tenant_id


def keep(message: UserMessage, form: OpenAIForm) -> Receipt:
    """Accept the message; once this returns it will be answered."""
    key = key_of(form, form.tenant_named or default_tenant())
    return keep_message(replace(message, traceparent=g.traceparent), key, request.path)


def patience(seconds: float | None = None) -> Left:
    """Until when this request waits: not longer than its caller does, than this process runs, than is set."""
    sock = client_socket(request.environ)
    longest = room().serving.settings.openai_wait_seconds if seconds is None else seconds
    until = time.monotonic() + longest

    def is_over() -> bool:
        return STOPPING.is_set() or time.monotonic() > until or (sock is not None and client_left(sock))

    return is_over


def kept(event_id: str, left: Left) -> KeptTurn:
    """The turn of a message that was accepted."""
    turn = turn_kept(event_id, room().serving.answer_room, left)
    if turn is None:
        raise still_pending(event_id)
    return turn


def end_of(turn: KeptTurn, left: Left) -> KeptTurn:
    """The turn once it has ended; `Refused` when it has not within the time."""
    if turn.end is not None:
        return turn
    for part in follow_answer(turn, room().serving.answer_room, left):
        if isinstance(part, Ended):
            return replace(turn, end=part.event)
    raise still_pending(turn.event_id)


def still_pending(event_id: str) -> Refused:
    """Nobody waits any longer for an answer that will come."""
    message = f"The answer takes longer and is still being given; GET /v1/responses/resp_{event_id} brings it."
    return Refused(message, code="answer_pending", status=504)


def answer(body: dict[str, Any], form: OpenAIForm, receipt: Receipt) -> Response:
    """A whole answer."""
    return _marked(jsonify(body), form, receipt)


def stream(events: Iterator[str], slot: Slot) -> Response:
    """A stream of server-sent events; it holds its slot until it ends."""
    sock = client_socket(request.environ)
    if sock is not None:
        bound_sending(sock)
    response = Response(_counted(events), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
    response.call_on_close(slot.release)
    return response


def streamed(events: Iterator[str], slot: Slot, form: OpenAIForm, receipt: Receipt) -> Response:
    """The stream that a request of its own began."""
    return _marked(stream(events, slot), form, receipt)


def _counted(events: Iterator[str]) -> Iterator[str]:
    with STREAMS_OPEN.labels("openai").track_inprogress():
        try:
            yield from events
        except NotFound:
            yield as_data(error_of(Refused("The session of this answer is not there any more.", status=404)))


def _marked(response: Response, form: OpenAIForm, receipt: Receipt) -> Response:
    ignored = [quote(name[:_LONGEST_NAME]) for name in form.ignored[:_MOST_NAMES]]
    if ignored:
        response.headers["X-Ignored-Fields"] = ", ".join(ignored)
    return marked(response, receipt.replayed)


def as_data(value: dict[str, Any]) -> str:
    """One event without a name."""
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"
