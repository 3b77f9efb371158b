"""Memories as callers write them: judged one by one, so that a wrong one spoils no other."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.domain.errors import Rejected
from app.domain.memory import Memory, Place, idempotency_key
from app.services.message_form import MAX_NAME_LENGTH
from app.services.wrong_fields import wrong_fields

MAX_MEMORY_BYTES = 786_432
"""Of one memory as JSON: with everything around it, it has to fit into a record of the log (1 MiB)."""

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]


class MemoryMetadata(BaseModel):
    """What a memory says about its place; everything else is the caller's own."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    tenant: Name | None = None
    universe_id: Name | None = None
    namespace: Name | None = None


class MemoryForm(BaseModel):
    """One memory. Fields beside these belong to it, too, and are kept."""

    model_config = ConfigDict(title="Memory", extra="allow", strict=True, frozen=True)

    id: Id
    type: Name = "conversation_event"
    role: Annotated[str, Field(pattern=r"^(user|assistant|system|tool)$")] = "user"
    content: str
    session_id: Id | None = None
    persona_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    namespace: Name | None = None
    metadata: Annotated[MemoryMetadata, Field(default_factory=MemoryMetadata)]
    attachments: Annotated[list[str], Field(max_length=32, default_factory=list)]
    idempotency_key: Annotated[str, Field(min_length=1, max_length=1024)] | None = None

    @model_validator(mode="after")
    def _fits_into_a_record(self) -> "MemoryForm":
        if len(json.dumps(self.model_dump(), ensure_ascii=False).encode()) > MAX_MEMORY_BYTES:
            raise ValueError(f"a memory must be at most {MAX_MEMORY_BYTES} bytes of JSON")
        return self


class WrongMemory(Rejected):
    """One memory of many is wrong; `event_id` is its id where it has one."""

    def __init__(self, event_id: str | None, message: str) -> None:
        super().__init__(message)
        self.event_id = event_id


def memory_in(item: Mapping[str, Any], defaults: Place, now: datetime, traceparent: str | None = None) -> Memory:
    """The memory that a caller wrote, with everything that it says; `WrongMemory` says what is wrong with it. It
    decides where it belongs, `defaults` where it says nothing.
    """
    form = _form_of(item)
    place = Place(
        form.metadata.tenant or defaults.tenant,
        form.namespace or form.metadata.namespace or defaults.namespace,
        form.metadata.universe_id or defaults.universe,
    )
    key = form.idempotency_key or idempotency_key(place, form.session_id, form.role, now, form.id)
    payload = {**_UNSAID, "type": form.type, "role": form.role, **item}
    return Memory(
        event_id=form.id,
        place=place,
        session_id=form.session_id,
        persona_id=form.persona_id,
        role=form.role,
        payload={**payload, "namespace": place.namespace, "idempotency_key": key},
        idempotency_key=key,
        traceparent=traceparent,
    )


_UNSAID: Mapping[str, Any] = {"session_id": None, "persona_id": None, "metadata": {}, "attachments": []}


def _form_of(item: Mapping[str, Any]) -> MemoryForm:
    try:
        return MemoryForm.model_validate(dict(item))
    except ValidationError as error:
        event_id = item.get("id")
        reason = str(wrong_fields(error, MemoryForm)[0])
        raise WrongMemory(event_id if isinstance(event_id, str) else None, reason) from None
