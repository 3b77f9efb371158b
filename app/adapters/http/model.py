"""The model: any OpenAI-compatible endpoint, through the official client, with every wait bounded by ourselves.

The client's own retries are off: a turn is retried by its row, in one place. Asking once more within a call is another
way of asking, for an endpoint that does not know a field, and shares the call's deadline.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from openai import APIStatusError

from app.adapters.http.breaker import Breaker, BreakerOpen
from app.adapters.http.deadline import Deadline
from app.adapters.http.model_answer import Heard
from app.adapters.http.model_errors import BROKEN, translated
from app.adapters.http.model_line import Events, ModelLines
from app.adapters.http.model_request import Body, body_of, refused_field, without
from app.domain.addresses import complaint_about
from app.domain.conversation_control import Stop
from app.domain.dialogue import ModelCall, Piece
from app.domain.errors import ModelRefused, ModelUnavailable
from app.domain.profiles import Profile
from app.settings import Settings

_FAILURES_TO_OPEN = 5
_OPEN_SECONDS = 5.0
_MISUNDERSTOOD = {400, 422, 500, 501}
_MOST_WAYS = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an answer may take in all, to begin, and between two of its pieces."""

    total_seconds: float
    first_seconds: float
    idle_seconds: float


class OpenAIModel:
    """`Model` over HTTP; the connection closes when the caller stops reading."""

    def __init__(self, limits: Limits, private_allowed: bool = True) -> None:
        self._limits = limits
        self._private_allowed = private_allowed
        self._lines = ModelLines(limits.idle_seconds)
        self._breakers: dict[tuple[str, str], Breaker] = {}
        self._refused: dict[tuple[str, str, str], frozenset[str]] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> "OpenAIModel":
        """With the deadlines and the policy of `LLM_*`."""
        total = settings.llm_timeout_seconds
        limits = Limits(total, min(settings.llm_first_token_seconds, total), settings.llm_idle_seconds)
        return cls(limits, settings.llm_allow_private)

    def stream(self, profile: Profile, call: ModelCall, stop: Stop) -> Iterator[Piece]:
        """Pieces as they come; the last one carries the whole answer."""
        with Deadline(self._limits.first_seconds, self._admit) as deadline:
            stop.then(deadline.hang_up)
            try:
                pieces = self._pieces(profile, call, deadline)
                with self._beginning(profile, stop):
                    first = next(pieces)
                yield first
                yield from pieces
            except BROKEN as error:
                if deadline.is_over:
                    raise ModelUnavailable("The model took too long and was cut off.") from error
                raise translated(error, profile) from error

    def takes_tools(self, profile: Profile) -> bool:
        """Whether this endpoint took the tools that it was last offered."""
        return "tools" not in self._refused.get(_place(profile), frozenset())

    def _pieces(self, profile: Profile, call: ModelCall, deadline: Deadline) -> Iterator[Piece]:
        name = self._lines.model_name(profile, deadline)
        heard, waits = Heard(), True
        with self._open(profile, name, call, deadline) as events:
            for chunk in events.chunks():
                text = heard.absorb(chunk)
                if waits and heard.begun:
                    waits = False
                    deadline.prolong(self._limits.total_seconds)
                if text:
                    yield Piece(text)
        yield Piece("", heard.answer(name, events.ended))

    def _open(self, profile: Profile, name: str, call: ModelCall, deadline: Deadline) -> Events:
        """The stream that an endpoint begins, asked without the fields that it does not know."""
        body = body_of(profile, name, call)
        refused = self._refused.get(_place(profile), frozenset())
        for _ in range(_MOST_WAYS):
            try:
                sent = without(body, refused)
                events = self._lines.open(profile, sent, deadline, traceparent=call.traceparent)
            except APIStatusError as error:
                refused |= {_unknown_field(sent, error)}
            else:
                self._refused[_place(profile)] = refused
                return events
        raise ModelRefused("The model's endpoint refused every way of asking it.")

    @contextmanager
    def _beginning(self, profile: Profile, stop: Stop) -> Iterator[None]:
        """Let it begin to answer unless this endpoint failed too often a moment ago; how it went is counted."""
        breaker = self._breakers.setdefault((profile.base_url, profile.path), _breaker())
        try:
            with breaker.attempt() as attempt:
                try:
                    yield
                except BROKEN as error:
                    attempt.inconclusive = stop.why() is not None
                    attempt.blameless = _is_blameless(translated(error, profile))
                    raise
        except BreakerOpen as error:
            words = "The model's endpoint failed several times in a row and is left alone for a moment."
            raise ModelUnavailable(words, max(error.retry_after or 0, _OPEN_SECONDS)) from error

    def _admit(self, connection: socket.socket) -> None:
        complaint = complaint_about(connection.getpeername()[0], self._private_allowed, "LLM_ALLOW_PRIVATE")
        if complaint is not None:
            raise ModelRefused(f"The model's endpoint is not called: {complaint}.")


def _place(profile: Profile) -> tuple[str, str, str]:
    return profile.base_url, profile.path, profile.model


def _breaker() -> Breaker:
    return Breaker(_FAILURES_TO_OPEN, _OPEN_SECONDS, float("inf"))


def _unknown_field(sent: Body, error: APIStatusError) -> str:
    """The field that this refusal is about; the refusal itself where it is about none that we can do without."""
    field = refused_field(sent, error.response.text) if error.status_code in _MISUNDERSTOOD else None
    if field is None:
        raise error
    return field


def _is_blameless(error: Exception) -> bool:
    """Whether the endpoint is there and had a reason: nobody has to be spared from it."""
    return isinstance(error, ModelRefused) or (isinstance(error, ModelUnavailable) and error.retry_after is not None)
