"""What went wrong with a model, in a sentence for people: the provider's own words among ours, cut, without secrets."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

from app.adapters.http.retry_after import wait_wished
from app.domain.errors import ModelRefused, ModelUnavailable
from app.domain.json_text import replace_unstorable
from app.domain.profiles import DEFAULT_PROFILE, Profile

# What reading an answer of the wrong shape raises: the client does not check what it was sent.
BROKEN = (
    ModelUnavailable, ModelRefused, APIError, httpx2.HTTPError, ValueError, TypeError, AttributeError, LookupError,
    ArithmeticError, RecursionError,
)  # fmt: skip
_LONGEST_PAUSE_SECONDS = 300.0
_LONGEST_QUOTE = 240
_REFUSED = {400, 401, 403, 404, 405, 413, 422}
_SECRETS = re.compile(
    r"\w+://\S+"  # addresses
    r"|\[[0-9a-fA-F:.]+\](?::\d+)?|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\b[\w.-]+:\d{2,5}\b"
    r"|(?<![\w.])/(?:[\w.-]+/)+[\w.-]*"  # paths
    r"|\b(?:sk|pk|rk)[-_][\w*.=+/-]{6,}|\bbearer +[\w.=+/-]{6,}"  # keys, whole or half hidden
    r"|\S*\*{2,}\S*|\b(?=[\w-]*\d)[\w-]{24,}\b",
    re.IGNORECASE,
)
_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]+")


def translated(error: Exception, profile: Profile) -> Exception:
    """The error of our own that this one means; its text is fit for people."""
    # The client takes whatever ends the opening of a connection for a trouble of the connection.
    found = error.__cause__ if isinstance(error, APIConnectionError) else error
    if isinstance(found, (ModelUnavailable, ModelRefused)):
        return found
    if isinstance(error, APIStatusError):
        return _status(error, profile)
    return ModelUnavailable(_sentence(error, profile))


def _sentence(error: Exception, profile: Profile) -> str:
    match error:
        case APITimeoutError():
            return "The model did not answer in time."
        case APIConnectionError():
            return "The model's endpoint could not be reached."
        case APIError():
            return f"The model's endpoint broke off{_quote(error.body, profile)}."
        case httpx2.TimeoutException():
            return "The model fell silent in the middle of its answer."
    return "The model's endpoint sent something that is not an answer."


def _status(error: APIStatusError, profile: Profile) -> Exception:
    status, says = error.status_code, _quote(_json(error.response), profile)
    if status in (401, 403):
        return ModelRefused(f"The model's endpoint refused the key{says}; check {_setting('api_key', profile)}.")
    if status in _REFUSED:
        return ModelRefused(f"The model's endpoint refused the request ({status}){says}; {_advice(status, profile)}.")
    pause = wait_wished(error.response.headers.get("Retry-After", ""), datetime.now(UTC), _LONGEST_PAUSE_SECONDS)
    return ModelUnavailable(f"The model's endpoint answered {status}{says}.", pause)


def _advice(status: int, profile: Profile) -> str:
    if status == 404:
        return f"check {_setting('base_url', profile)} and {_setting('model', profile)}"
    return f"check {_setting('model', profile)}"


def _setting(field: str, profile: Profile) -> str:
    if profile.name == DEFAULT_PROFILE:
        return f"LLM_{field.upper()}"
    return f"{field} of the model profile {profile.name}"


def _quote(body: object, profile: Profile) -> str:
    """The provider's words as a part of our sentence; empty where it has none."""
    text = _message(body)
    if profile.key:
        text = text.replace(profile.key, "…")
    shown = _UNSEEN.sub(" ", _SECRETS.sub("…", replace_unstorable(text))).strip(" .").replace('"', "'")
    return f' and says "{shown[:_LONGEST_QUOTE]}{"…" if len(shown) > _LONGEST_QUOTE else ""}"' if shown else ""


def _message(body: Any) -> str:
    """The sentence in an error, which every provider puts elsewhere."""
    found = body
    for name in ("error", "message", "detail"):
        if isinstance(found, Mapping) and found.get(name):
            found = found[name]
    return found[: _LONGEST_QUOTE * 4] if isinstance(found, str) else ""


def _json(response: httpx2.Response) -> object:
    """A refusal's body; a page of HTML says nothing to people."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None
