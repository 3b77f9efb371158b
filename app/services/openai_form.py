"""What requests of the OpenAI interface have in common: who asks, in which session, which model, with which tools."""

import hashlib
import re
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.domain.conversation import UserMessage
from app.domain.dialogue import ToolOffer
from app.domain.profiles import DEFAULT_PROFILE
from app.domain.turn_request import TurnRequest
from app.services.message_form import MAX_NAME_LENGTH, Scalar, fits_into_a_memory
from app.services.openai_lines import Told
from app.services.openai_refusal import Refused

LONGEST_MESSAGE = 32_000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SESSION = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CHOICES = frozenset({"none", "auto", "required"})
Tools = Annotated[list[Any], Field(max_length=128)]
Tokens = Annotated[int, Field(ge=1, le=10_000_000)]


class OpenAIForm(BaseModel):
    """The fields that every request has. Unknown ones are taken and left alone, as that interface does."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    model: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)] | None = None
    stream: bool | None = None
    user: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    persona_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    metadata: dict[str, Scalar] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    tools: Tools | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None

    @field_validator("metadata")
    @classmethod
    def _a_memory_can_hold_it(cls, metadata: dict[str, Scalar] | None) -> dict[str, Scalar] | None:
        return fits_into_a_memory(metadata or {})

    @property
    def told(self) -> dict[str, Scalar]:
        """The metadata; empty where there is none."""
        return self.metadata or {}

    @property
    def tenant_named(self) -> str:
        """The tenant that the caller chose; empty where none was."""
        return str(self.told.get("tenant") or "")

    @property
    def ignored(self) -> list[str]:
        """The fields that mean nothing here."""
        return sorted(self.model_extra or {})

    def session_named(self) -> str | None:
        """The session whose conversation the caller wants to go on."""
        named = self.told.get("session_id")
        if named is None:
            return None
        if not isinstance(named, str) or not _SESSION.fullmatch(named):
            raise Refused(
                "`metadata.session_id` must be 1 to 128 of the characters A-Z a-z 0-9 . _ : -", "metadata.session_id"
            )
        return named

    def session(self) -> str:
        """The session to keep this turn in: the one that is named, the user's own, or a new one."""
        named = self.session_named()
        if named is not None:
            return named
        if self.user is None:
            return str(uuid.uuid4())
        if _SESSION.fullmatch(self.user):
            return self.user
        return f"user-{hashlib.sha256(self.user.encode()).hexdigest()[:32]}"


def message_of(
    form: OpenAIForm, told: Told, request: TurnRequest, session_id: str, profile: str, default_tenant: str
) -> UserMessage:
    """The message that this request becomes. What of its words is too long for an event is in the request alone."""
    metadata = {name: value for name, value in form.told.items() if name not in ("session_id", "agent_profile_id")}
    if profile != DEFAULT_PROFILE:
        metadata["agent_profile_id"] = profile
    return UserMessage(
        event_id=str(uuid.uuid4()),
        session_id=session_id,
        text=told.question[:LONGEST_MESSAGE] or "(nothing)",
        tenant=form.tenant_named or default_tenant,
        tenant_named=bool(form.tenant_named),
        persona_id=form.persona_id,
        metadata=metadata,
        request=request,
    )


def profile_of(form: OpenAIForm, models: Mapping[str, str]) -> str:
    """The profile that is asked for, by `models`, names with the profile that each stands for."""
    field, named = "metadata.agent_profile_id", form.told.get("agent_profile_id")
    if named is None:
        field, named = "model", form.model or DEFAULT_PROFILE
    if not isinstance(named, str) or named not in models:
        message = f"The model {str(named)[:MAX_NAME_LENGTH]!r} does not exist; GET /v1/models lists what there is."
        raise Refused(message, field, "model_not_found", 404)
    return models[named]


def offers_in(tools: list[Any] | None, nested: bool) -> tuple[ToolOffer, ...]:
    """The caller's functions; `nested` where each is described in an object of its own (chat), not beside its type."""
    return tuple(_offer(tool, nested, f"tools[{number}]") for number, tool in enumerate(tools or ()))


def _offer(tool: Any, nested: bool, place: str) -> ToolOffer:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise Refused(f"`{place}` must be of type function; no others can be called here.", f"{place}.type")
    function = tool.get("function") if nested else tool
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Refused(f"`{place}` needs a name of 1 to 64 of the characters A-Z a-z 0-9 _ -", f"{place}.name")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise Refused(f"`{place}.parameters` must be a JSON schema.", f"{place}.parameters")
    return ToolOffer(name, str(function.get("description") or ""), parameters)


def choice_of(choice: Any, offers: tuple[ToolOffer, ...], nested: bool) -> Any:
    """Which tool the model has to call, as a chat completion says it."""
    if choice is None or (isinstance(choice, str) and choice in _CHOICES):
        return choice
    function = choice.get("function") if nested and isinstance(choice, dict) else choice
    name = function.get("name") if isinstance(function, dict) else None
    if name not in [offer.name for offer in offers]:
        raise Refused("`tool_choice` must be none, auto, required, or one function of `tools`.", "tool_choice")
    return {"type": "function", "function": {"name": name}}
