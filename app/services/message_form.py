"""A message as callers write it: the one description that both doors parse with, and that documents them."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
)

from app.domain.conversation import RequestKey, UserMessage
from app.domain.terms import Terms, WhileBusy

MAX_KEY_LENGTH = 255
MAX_METADATA_BYTES = 262_144
MAX_NAME_LENGTH = 200
_PLACE_NAMES = ("tenant", "universe_id", "namespace")
HEADERS = {
    "X-Agent-Profile": "Fills metadata.agent_profile_id",
    "X-Universe-Id": "Fills metadata.universe_id",
    "X-Persona-Id": "Fills persona_id",
}
_METADATA_HEADERS = {"X-Agent-Profile": "agent_profile_id", "X-Universe-Id": "universe_id"}

Scalar = StrictStr | StrictBool | StrictInt | StrictFloat | None


def fits_into_a_memory(metadata: dict[str, Scalar]) -> dict[str, Scalar]:
    """The metadata as it came; `ValueError` where it is too large, or names a place that cannot be."""
    if len(json.dumps(metadata, ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
        raise ValueError(f"all of it together must be at most {MAX_METADATA_BYTES} bytes of JSON")
    for name in _PLACE_NAMES:
        value = metadata.get(name)
        if value is not None and not (isinstance(value, str) and 1 <= len(value) <= MAX_NAME_LENGTH):
            raise ValueError(f"{name} must be a text of 1 to {MAX_NAME_LENGTH} characters")
    return metadata


SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]


class SessionForm(BaseModel):
    """What everything that is sent to a session may say beside itself."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    persona_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    metadata: Annotated[dict[str, Scalar], Field(default_factory=dict)]

    @field_validator("metadata")
    @classmethod
    def _a_memory_can_hold_it(cls, metadata: dict[str, Scalar]) -> dict[str, Scalar]:
        return fits_into_a_memory(metadata)

    @property
    def tenant_named(self) -> str:
        """The tenant that the caller chose; empty where none was."""
        return str(self.metadata.get("tenant") or "")


class MessageForm(SessionForm):
    """A message to the agent."""

    model_config = ConfigDict(title="Message")

    session_id: SessionId | None = None
    message: Annotated[str, Field(min_length=1, max_length=32_000)]
    attachments: Annotated[list[str], Field(max_length=32, default_factory=list)]
    while_busy: Annotated[
        WhileBusy, Field(description="where an answer is owed: wait for it, stop it, or refuse this", strict=False)
    ] = WhileBusy.ENQUEUE
    deliver_before: Annotated[
        AwareDatetime | None, Field(description="nobody wants the answer after that", strict=False)
    ] = None


def fill_from_headers(body: dict[str, Any], headers: Mapping[str, str]) -> None:
    """Headers fill what the body leaves out; a body of the wrong shape is left to the model to refuse."""
    if body.get("persona_id") is None and headers.get("X-Persona-Id"):
        body["persona_id"] = headers["X-Persona-Id"]
    metadata = body.setdefault("metadata", {})
    if isinstance(metadata, dict):
        for header, name in _METADATA_HEADERS.items():
            if headers.get(header):
                metadata.setdefault(name, headers[header])


def message_in(form: MessageForm, default_tenant: str, traceparent: str | None = None) -> UserMessage:
    """The message, with new ids where the caller gave none."""
    return UserMessage(
        event_id=str(uuid.uuid4()),
        session_id=form.session_id or str(uuid.uuid4()),
        text=form.message,
        tenant=form.tenant_named or default_tenant,
        tenant_named=bool(form.tenant_named),
        persona_id=form.persona_id,
        metadata=form.metadata,
        traceparent=traceparent,
        terms=Terms(form.while_busy, form.deliver_before),
    )


def request_key(key: str, route: str, body: BaseModel, tenant: str) -> RequestKey:
    """The caller's key in its scope (`route`: method and path), with a digest that tells another body under it."""
    digest = hashlib.sha256(json.dumps(body.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
    return RequestKey(key, tenant, route, "anonymous", digest)
