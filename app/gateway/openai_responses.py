"""`/v1/responses`: durable turns that can be begun, left, found again, resumed at any event, and stopped."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated, Any

from flask import Response, jsonify
from pydantic import ConfigDict, Field

from app.domain.answer_parts import Ended, Silence
from app.domain.conversation import UserMessage
from app.domain.kept_turns import KeptTurn
from app.domain.response_place import LARGEST
from app.gateway import openai_door as door
from app.gateway.api import Answer, Area, Query
from app.gateway.room import room
from app.services.cancel_turn import cancel_turn
from app.services.follow_answer import AnswerRoom, Left, follow_answer
from app.services.openai_form import message_of, profile_of
from app.services.openai_refusal import Refused
from app.services.openai_response_events import ResponseStream
from app.services.openai_response_form import ResponseForm, previous_turn, response_request, response_told, turn_id
from app.services.openai_responses import response_of

openai_responses = Area("openai responses")
_KEPT_SECONDS = 5.0
_STOPPED_SECONDS = 3.0


class ResponseObject(Answer):
    """A turn as it stands; with `stream` it comes as server-sent events."""

    id: str
    object: str
    created_at: int
    status: str
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None
    error: dict[str, str] | None
    metadata: dict[str, Any]
    previous_response_id: str | None
    background: bool


class ResponseQuery(Query):
    """How to get it. What else the clients send means nothing here."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stream: bool = False
    starting_after: Annotated[int, Field(ge=0, le=LARGEST)] | None = None


@openai_responses.route(
    "POST",
    "/v1/responses",
    "Begin a response as the OpenAI interface does; with `background` this answers once it is kept",
    body=ResponseForm,
    answer=ResponseObject,
    errors=(400, 404, 409, 413, 415, 503, 504),
    headers=door.HEADERS,
    fill=door.fill,
    openai_errors=True,
)
def post_response(body: ResponseForm) -> Response:
    """Parse, keep; wait, stream, or neither."""
    message = _message(body)
    if body.background and not body.stream:
        receipt = door.keep(message, body)
        return door.answer(response_of(door.kept(receipt.event_id, door.patience(_KEPT_SECONDS))), body, receipt)
    with ExitStack() as stack:
        slot = room().slots.take()
        stack.callback(slot.release)
        receipt = door.keep(message, body)
        left = door.patience()
        turn = door.kept(receipt.event_id, left)
        if not body.stream:
            return door.answer(response_of(door.end_of(turn, left)), body, receipt)
        stack.pop_all()
        events = _events(ResponseStream(turn), room().serving.answer_room, left)
        return door.streamed(events, slot, body, receipt)


def _message(body: ResponseForm) -> UserMessage:
    serving, tenant = room().serving, door.default_tenant()
    profile = profile_of(body, door.models_known(body.tenant_named or tenant))
    previous = previous_turn(body, serving.answer_room.book)
    told = response_told(body, previous, serving.transcripts)
    session_id = previous.session_id if previous is not None else body.session()
    return message_of(body, told, response_request(body, told), session_id, profile, tenant)


@openai_responses.route(
    "GET",
    "/v1/responses/<response_id>",
    "A response as it stands; ?stream=true&starting_after= resumes its events at any age",
    query=ResponseQuery,
    answer=ResponseObject,
    errors=(400, 404, 503),
    openai_errors=True,
)
def get_response(response_id: str, query: ResponseQuery) -> Response:
    """Look, or follow."""
    turn = _known(response_id)
    if not query.stream:
        return jsonify(response_of(turn))
    slot = room().slots.take()
    stream = ResponseStream(turn, -1 if query.starting_after is None else query.starting_after)
    return door.stream(_events(stream, room().serving.answer_room, door.patience()), slot)


@openai_responses.route(
    "POST",
    "/v1/responses/<response_id>/cancel",
    "Stop a response; what was said so far is kept",
    answer=ResponseObject,
    errors=(404, 503),
    openai_errors=True,
)
def cancel_response(response_id: str) -> Response:
    """Keep the wish, and wait a moment for it to come true."""
    turn = _known(response_id)
    if turn.end is None and cancel_turn(turn.session_id, turn.event_id, room().serving.control_room):
        turn = _soon_ended(turn)
    return jsonify(response_of(_known(response_id) if turn.end is None else turn))


def _soon_ended(turn: KeptTurn) -> KeptTurn:
    try:
        return door.end_of(turn, door.patience(_STOPPED_SECONDS))
    except Refused:
        return turn


def _known(response_id: str) -> KeptTurn:
    turn = room().serving.answer_room.book.find(turn_id(response_id))
    if turn is None:
        raise Refused(f"There is no response {response_id!r}.", "response_id", status=404)
    return turn


def _events(stream: ResponseStream, answers: AnswerRoom, left: Left) -> Iterator[str]:
    yield from map(_named, stream.begin())
    for part in follow_answer(stream.turn, answers, left, stream.seen):
        if isinstance(part, Silence):
            yield door.KEEP_ALIVE
        yield from map(_named, stream.take(part))
        if isinstance(part, Ended):
            return


def _named(event: dict[str, Any]) -> str:
    return f"event: {event['type']}\n{door.as_data(event)}"
