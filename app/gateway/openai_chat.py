"""`POST /v1/chat/completions`: a durable turn behind the interface that every client speaks."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from flask import Response

from app.domain.answer_parts import Ended, Silence
from app.domain.conversation import UserMessage
from app.domain.kept_turns import KeptTurn
from app.gateway import openai_door as door
from app.gateway.api import Answer, Area
from app.gateway.openai_errors import error_of
from app.gateway.room import room
from app.services.follow_answer import AnswerRoom, Left, follow_answer
from app.services.openai_chat import ChatStream, completion
from app.services.openai_chat_form import ChatForm, chat_request, chat_told
from app.services.openai_form import message_of, profile_of
from app.services.openai_refusal import Refused

openai_chat = Area("openai chat")
_DONE = "data: [DONE]\n\n"


class ChatCompletion(Answer):
    """A whole answer; with `stream` it comes as server-sent `chat.completion.chunk` objects."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, int]


@openai_chat.route(
    "POST",
    "/v1/chat/completions",
    "Answer a conversation as the OpenAI interface does; once it was accepted it is answered, whoever waits",
    body=ChatForm,
    answer=ChatCompletion,
    errors=(400, 403, 404, 409, 413, 415, 502, 503, 504),
    headers=door.HEADERS,
    fill=door.fill,
    openai_errors=True,
)
def post_chat_completion(body: ChatForm) -> Response:
    """Parse, keep, wait or stream. The room to wait is taken first: what is kept is never answered with 503."""
    message = _message(body)
    with ExitStack() as stack:
        slot = room().slots.take()
        stack.callback(slot.release)
        receipt = door.keep(message, body)
        left = door.patience()
        turn = door.kept(receipt.event_id, left)
        if not body.stream:
            return door.answer(_whole(turn, left), body, receipt)
        stack.pop_all()
        events = _events(ChatStream(turn, body.wants_usage), room().serving.answer_room, left)
        return door.streamed(events, slot, body, receipt)


def _message(body: ChatForm) -> UserMessage:
    tenant = door.default_tenant()
    profile = profile_of(body, door.models_known(body.tenant_named or tenant))
    told = chat_told(body)
    return message_of(body, told, chat_request(body, told), body.session(), profile, tenant)


def _whole(turn: KeptTurn, left: Left) -> dict[str, Any]:
    ended = door.end_of(turn, left)
    return completion(ended, ended.end or {})


def _events(chunks: ChatStream, answers: AnswerRoom, left: Left) -> Iterator[str]:
    yield door.as_data(chunks.begin())
    try:
        for part in follow_answer(chunks.turn, answers, left):
            if isinstance(part, Silence):
                yield door.KEEP_ALIVE
            yield from map(door.as_data, chunks.take(part))
            if isinstance(part, Ended):
                yield _DONE
                return
        raise door.still_pending(chunks.turn.event_id)
    except Refused as error:
        yield door.as_data(error_of(error))
