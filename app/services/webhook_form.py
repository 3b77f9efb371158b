"""Webhooks as callers write them: parsed once, the address looked at as far as that goes without asking anybody."""

import secrets
import uuid
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.domain.addresses import complaint_about_host
from app.domain.errors import Rejected
from app.domain.webhooks import SECRET_BYTES, NewWebhook, WebhookChange, WebhookEvent, new_secret
from app.services.message_form import MAX_NAME_LENGTH

MAX_URL_LENGTH = 2048
_MAX_LABEL = 63


def _a_url(url: str) -> str:
    """The address as it came; `ValueError` says what is wrong with it."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("write the address in plain ASCII without spaces")
    parts = _parts(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write an address like https://example.org/hook")
    if parts.username is not None or parts.fragment:
        raise ValueError("leave out user, password and fragment; every delivery is signed instead")
    if any(len(label) > _MAX_LABEL for label in parts.hostname.split(".")):
        raise ValueError("no host can have such a name")
    return url


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        raise ValueError("write an address like https://example.org/hook") from None
    return parts


def _once_each(events: list[WebhookEvent]) -> list[WebhookEvent]:
    return list(dict.fromkeys(events))


_Url = Annotated[str, Field(min_length=1, max_length=MAX_URL_LENGTH), AfterValidator(_a_url)]
# In strict mode JSON's text is no choice.
_Event = Annotated[WebhookEvent, Field(strict=False)]
_Events = Annotated[list[_Event], Field(min_length=1, max_length=len(WebhookEvent) * 2), AfterValidator(_once_each)]
_LEFT_OUT: Any = Field(default=None)
"""A default that nobody can say."""
_BY_DEFAULT = [WebhookEvent.FINAL, WebhookEvent.DEAD]


class WebhookForm(BaseModel):
    """Whom to tell of what."""

    model_config = ConfigDict(title="WebhookRequest", extra="forbid", strict=True, frozen=True)

    url: _Url
    events: _Events = Field(default_factory=_BY_DEFAULT.copy)
    enabled: bool = True
    tenant: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)] | None = None


class WebhookChangeForm(BaseModel):
    """What is to be different; what is left out stays. With `rotate_secret` the answer shows a new secret, and the one
    before stays valid for a day.
    """

    model_config = ConfigDict(title="WebhookChange", extra="forbid", strict=True, frozen=True)

    url: _Url = _LEFT_OUT
    events: _Events = _LEFT_OUT
    enabled: bool = _LEFT_OUT
    rotate_secret: bool = False


def webhook_in(form: WebhookForm, default_tenant: str, allow_private: bool) -> NewWebhook:
    """The webhook under a new id with a new secret; `Rejected` where its address names an inner place outright."""
    _check_place(form.url, allow_private)
    tenant = form.tenant or default_tenant
    return NewWebhook(str(uuid.uuid4()), tenant, form.url, tuple(form.events), _a_secret(), form.enabled)


def change_in(form: WebhookChangeForm, allow_private: bool) -> WebhookChange:
    """The change, with a new secret where one is wished for."""
    if form.url is not None:
        _check_place(form.url, allow_private)
    events = None if form.events is None else tuple(form.events)
    return WebhookChange(form.url, events, form.enabled, _a_secret() if form.rotate_secret else None)


def _a_secret() -> str:
    return new_secret(secrets.token_bytes(SECRET_BYTES))


def _check_place(url: str, allow_private: bool) -> None:
    """What a name stands for is asked at each delivery; an address that is written out can be judged now."""
    complaint = complaint_about_host(urlsplit(url).hostname or "", allow_private, "WEBHOOK_ALLOW_PRIVATE")
    if complaint is not None:
        raise Rejected(f"url cannot be used: {complaint}")
