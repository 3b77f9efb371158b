"""A model profile as callers write it: parsed once, at the door."""

import hashlib
import json
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer, field_validator, model_validator

from app.domain.profile_shelf import KeptProfile
from app.domain.profiles import DEFAULT_PROFILE, Profile, ProfileRole

_RESERVED = frozenset({"messages", "model", "stream", "tools", "tool_choice", "n"})
_MAX_EXTRA_BYTES = 8192
_HOST = re.compile(r"[A-Za-z0-9._:-]+")


class ProfileForm(BaseModel):
    """A model on an endpoint. `api_key` left out keeps the one that is there, empty removes it."""

    model_config = ConfigDict(title="ModelProfile", extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    role: Literal["dialogue", "escalation", "utility"] = "dialogue"
    deployment_mode: Literal["", "DEV", "TEST", "PROD"] = ""
    base_url: Annotated[str, Field(min_length=8, max_length=500)]
    path: Annotated[str, Field(max_length=500, pattern=r"^[A-Za-z0-9/?&=._~%:@+-]*$")] = ""
    model: Annotated[str, Field(max_length=200)] = ""
    temperature: Annotated[float, Field(ge=0, le=2, strict=False)] = 0.2
    context_tokens: Annotated[int, Field(ge=256, le=100_000_000)] = 4096
    output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 1024
    extra: Annotated[dict[str, Any], Field(default_factory=dict)]
    input_price: Annotated[float, Field(ge=0, le=1_000_000_000, strict=False)] = 0.0
    output_price: Annotated[float, Field(ge=0, le=1_000_000_000, strict=False)] = 0.0
    position: Annotated[int, Field(ge=-1000, le=1000)] = 10
    enabled: bool = True
    api_key: Annotated[SecretStr, Field(max_length=2000, strict=False)] | None = None

    @field_validator("base_url")
    @classmethod
    def _an_address_of_a_server(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not _HOST.fullmatch(parts.hostname or ""):
            raise ValueError("it must be an address such as https://api.example.com/v1")
        if parts.username is not None or parts.query or parts.fragment or parts.port == 0:
            raise ValueError("it must hold nothing but scheme, host, port and path; keys go into api_key")
        return value.rstrip("/")

    @field_validator("extra")
    @classmethod
    def _arguments_that_are_the_profiles_to_say(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(_RESERVED & value.keys())
        if taken:
            raise ValueError(f"{taken[0]} is said by every call itself; leave it out")
        if len(json.dumps(value)) > _MAX_EXTRA_BYTES:
            raise ValueError(f"all of it together must be at most {_MAX_EXTRA_BYTES} bytes of JSON")
        return value

    @field_validator("api_key")
    @classmethod
    def _a_key_fits_into_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[\x21-\x7e]*", value.get_secret_value()):
            raise ValueError("it must be printable ASCII without spaces")
        return value

    @field_serializer("api_key")
    def _never_the_key_itself(self, value: SecretStr | None) -> str | None:
        """What is made of this form (the digest of a repeated request) tells keys apart without holding them."""
        return None if value is None else hashlib.sha256(value.get_secret_value().encode()).hexdigest()

    @model_validator(mode="after")
    def _room_for_a_question(self) -> "ProfileForm":
        if self.output_tokens >= self.context_tokens:
            raise ValueError("output_tokens must be less than context_tokens, which is prompt and answer together")
        return self


class NewProfileForm(ProfileForm):
    """A new profile."""

    model_config = ConfigDict(title="NewModelProfile")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]

    @field_validator("name")
    @classmethod
    def _not_that_of_the_settings(cls, value: str) -> str:
        if value == DEFAULT_PROFILE:
            raise ValueError(f"{DEFAULT_PROFILE} is the profile of the settings LLM_*; choose another name")
        return value


def profile_in(name: str, form: ProfileForm) -> KeptProfile:
    """The profile, without a key."""
    profile = Profile(
        name=name,
        base_url=form.base_url,
        model=form.model,
        role=ProfileRole(form.role),
        path=form.path,
        temperature=form.temperature,
        context_tokens=form.context_tokens,
        output_tokens=form.output_tokens,
        extra=form.extra,
        input_price=form.input_price,
        output_price=form.output_price,
    )
    return KeptProfile(profile, form.deployment_mode, form.position, form.enabled)
