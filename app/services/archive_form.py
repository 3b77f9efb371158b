"""Sessions as documents, as callers send and get them."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from app.domain.archive import ARCHIVE_VERSION, MOST_EVENTS, ArchivedEvent, Chat, flaw_in
from app.domain.events import EventType
from app.services.message_form import MAX_NAME_LENGTH, SessionId

_Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EnvelopeForm(_Form):
    """One event as a stream carries it; fields that only some types have come along."""

    model_config = ConfigDict(extra="allow", frozen=True)

    event_id: Annotated[str, Field(min_length=1, max_length=255)]
    session_id: SessionId
    persona_id: str | None = None
    role: Literal["user", "assistant", "system", "tool"]
    message: str
    metadata: dict[str, Any]
    version: str
    type: EventType
    seq: Annotated[int, Field(ge=1)]
    created_at: AwareDatetime

    @field_validator("type")
    @classmethod
    def _durable(cls, kind: EventType) -> EventType:
        if kind in (EventType.DELTA, EventType.RESET, EventType.MEMORY_STATUS, EventType.STREAM_RESET):
            raise ValueError("is shown live and is no part of a document")
        return kind


class EventForm(_Form):
    """One event with the number of its turn."""

    payload: EnvelopeForm
    turn_seq: Annotated[int, Field(ge=1)] | None = None
    superseded: bool = False


class ChatForm(_Form):
    """One session."""

    version: Literal["sa01-chat-1"] = ARCHIVE_VERSION
    session_id: SessionId
    tenant: _Name
    persona_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    subject: _Name = "anonymous"
    title: Annotated[str, Field(max_length=200)] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    analysis: dict[str, Any] = Field(default_factory=dict)
    created_at: AwareDatetime
    updated_at: AwareDatetime
    heard_after: Annotated[int, Field(ge=0)] = 0
    events: Annotated[list[EventForm], Field(max_length=MOST_EVENTS)]

    @model_validator(mode="after")
    def _is_a_session(self) -> "ChatForm":
        flaw = flaw_in(_events(self))
        if flaw is not None:
            raise ValueError(flaw)
        return self


class ChatsForm(_Form):
    """Sessions, as `POST /v1/sessions/export` gives them."""

    chats: Annotated[list[ChatForm], Field(min_length=1, max_length=100)]


def chat_in(form: ChatForm) -> Chat:
    """The session that the document is of."""
    told = {name: getattr(form, name) for name in ChatForm.model_fields if name not in ("version", "events")}
    return Chat(**told, events=_events(form))


def _events(form: ChatForm) -> tuple[ArchivedEvent, ...]:
    return tuple(ArchivedEvent(_envelope(event.payload), event.turn_seq, event.superseded) for event in form.events)


def _envelope(form: EnvelopeForm) -> dict[str, Any]:
    return form.model_dump() | {"type": form.type.value, "created_at": form.created_at.isoformat()}


def form_of(chat: Chat) -> dict[str, Any]:
    """The session as a document; what `chat_in` reads."""
    events = [
        {"payload": dict(event.payload), "turn_seq": event.turn_seq, "superseded": event.superseded}
        for event in chat.events
    ]
    told = {name: getattr(chat, name) for name in ChatForm.model_fields if name not in ("version", "events")}
    times = {name: told[name].isoformat() for name in ("created_at", "updated_at")}
    return {"version": ARCHIVE_VERSION, **told, **times, "events": events}
