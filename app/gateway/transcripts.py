"""What was said in a session, as people read it and as the model would be told it."""

import json
from typing import Annotated

from pydantic import Field

from app.gateway.api import Answer, Area, Query
from app.gateway.conversation import known_session
from app.gateway.room import room
from app.services.show_context import show_context
from app.services.show_history import show_history

transcripts = Area("transcripts")


class HistoryQuery(Query):
    """How much."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class History(Answer):
    """The conversation as Markdown; `tokens` is an estimate."""

    history: str
    tokens: int


@transcripts.route(
    "GET",
    "/v1/sessions/<session_id>/history",
    "What was said, as Markdown; the last messages and answers, oldest first",
    query=HistoryQuery,
    answer=History,
    errors=(404, 422, 503),
)
def get_history(session_id: str, query: HistoryQuery) -> History:
    """As the model hears it: without answers that were given again."""
    known_session(session_id)
    found = show_history(session_id, query.limit, room().serving.transcripts)
    return History(history=found.text, tokens=found.tokens)


class ContextLine(Answer):
    """One message."""

    role: str
    content: str


class ContextWindow(Answer):
    """What the model would be told next: `messages` one by one, `content` all of them as one JSON text; `tokens` is an
    estimate.
    """

    content: str
    tokens: int
    messages: list[ContextLine]


@transcripts.route(
    "GET",
    "/v1/sessions/<session_id>/context-window",
    "Exactly what the model would be told next",
    answer=ContextWindow,
    errors=(404, 503),
)
def show_context_window(session_id: str) -> ContextWindow:
    """As the worker would make it, recall included."""
    known_session(session_id)
    window = show_context(session_id, room().serving.preparation)
    messages = [ContextLine(role=line.role, content=line.content) for line in window.lines]
    content = json.dumps([message.model_dump() for message in messages], ensure_ascii=False, indent=2)
    return ContextWindow(content=content, tokens=window.tokens, messages=messages)
