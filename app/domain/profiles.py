"""Model profiles: which endpoints there are, what each is for, and how it wants to be asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.domain.conversation import Scalar

DEFAULT_PROFILE = "default"
"""The profile of those who name none, and that of the settings LLM_*."""


class ProfileRole(StrEnum):
    """What a profile is for."""

    DIALOGUE = "dialogue"
    ESCALATION = "escalation"
    UTILITY = "utility"


@dataclass(frozen=True, slots=True)
class Profile:
    """One model on one endpoint. `base_url` and `path` make its address; `model` empty means the first that it lists.

    `context_tokens` is the whole window, prompt and answer together; prices are per million tokens, in any currency.
    A toy shows that the system runs: it answers where no other model can, and is offered none of our tools.
    """

    name: str
    base_url: str
    model: str = ""
    role: ProfileRole = ProfileRole.DIALOGUE
    key: str = field(default="", repr=False)
    path: str = ""
    temperature: float = 0.2
    context_tokens: int = 4096
    output_tokens: int = 1024
    extra: Mapping[str, Any] = field(default_factory=dict)
    input_price: float = 0.0
    output_price: float = 0.0
    is_toy: bool = False


@dataclass(frozen=True, slots=True)
class ProfileWish:
    """For whom a model is looked for: `name` is a profile that the caller asked for by its name."""

    role: ProfileRole
    tenant: str
    name: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came back. `tools` is `used`, `taken` (offered and not used) or `refused`; `detail` says it all in words."""

    ok: bool
    detail: str
    model: str | None = None
    said: str | None = None
    first_token_ms: int | None = None
    total_ms: int | None = None
    reports_usage: bool | None = None
    tools: str | None = None
