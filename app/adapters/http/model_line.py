"""The official client's connections to model endpoints, one client for each address and key."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx2
from openai import Omit, OpenAI, Stream

from app.adapters.http.deadline import Deadline
from app.domain.errors import ModelRefused, ModelUnavailable
from app.domain.profiles import Profile

_CONNECT_SECONDS = 3.0
_MOST_BYTES = 64 * 1024 * 1024
_USUAL_PATH = "chat/completions"


class Events(Stream[object]):
    """An answer's pieces as they came over the line; `ended` tells whether the endpoint said that this was all."""

    ended = False

    def chunks(self) -> Iterator[object]:
        """Each piece; one only where the endpoint does not stream."""
        if self.response.headers.get("Content-Type", "").startswith("application/json"):
            self.response.read()
            yield self.response.json()
        else:
            yield from self

    def _iter_events(self) -> Iterator[Any]:
        for event in super()._iter_events():
            self.ended = self.ended or event.data.startswith("[DONE]")
            yield event


class ModelLines:
    """Clients, made once; safe for many threads."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._clients: dict[tuple[str, str], OpenAI] = {}
        self._names: dict[str, str] = {}
        self._calls = threading.local()

    def open(self, profile: Profile, body: dict[str, Any], deadline: Deadline, *, traceparent: str | None) -> Events:
        """Begin an answer; everything on this line ends at the deadline."""
        return self._client(profile, deadline).post(
            # A path with a host of its own would take the key there.
            f"/{(profile.path or _USUAL_PATH).lstrip('/')}",
            cast_to=object,
            body=body,
            options={"headers": _headers(profile, traceparent)},
            stream=True,
            stream_cls=Events,
        )

    def model_name(self, profile: Profile, deadline: Deadline) -> str:
        """The model to ask for: the profile's, or the first one that its endpoint lists. A path of a provider's own
        names the model itself.
        """
        if profile.model or profile.path:
            return profile.model
        if profile.base_url not in self._names:
            models = self._client(profile, deadline).models.list().data
            if not models:
                raise ModelRefused("The model's endpoint lists no model; set LLM_MODEL.")
            self._names[profile.base_url] = str(models[0].id)
        return self._names[profile.base_url]

    def _client(self, profile: Profile, deadline: Deadline) -> OpenAI:
        """The client of this endpoint and key; what this thread asks it next ends at the deadline."""
        self._calls.deadline = deadline
        place = (profile.base_url, profile.key)
        if place not in self._clients:
            self._clients[place] = self._new_client(*place)
        return self._clients[place]

    def _new_client(self, base_url: str, key: str) -> OpenAI:
        return OpenAI(
            base_url=base_url,
            api_key=key or "none",
            max_retries=0,
            timeout=httpx2.Timeout(self._idle_seconds, connect=_CONNECT_SECONDS),
            http_client=httpx2.Client(
                trust_env=False,
                follow_redirects=False,
                headers={"Accept-Encoding": "identity"},
                # Every call has a connection of its own: only one that is seen opening can be cut off in time.
                limits=httpx2.Limits(max_keepalive_connections=0),
                event_hooks={"request": [self._watch], "response": [_bound]},
            ),
        )

    def _watch(self, request: httpx2.Request) -> None:
        request.extensions["trace"] = self._calls.deadline.watch


def _headers(profile: Profile, traceparent: str | None) -> dict[str, str | Omit]:
    """An address with an `api-version` is one of Azure's kind, which takes keys in a header of their own."""
    headers: dict[str, str | Omit] = {}
    if traceparent:
        headers["traceparent"] = traceparent
    if "api-version=" in profile.path:
        headers |= {"api-key": profile.key, "Authorization": Omit()}
    return headers


class _Bounded(httpx2.SyncByteStream):
    """A body that ends before it fills the memory."""

    def __init__(self, body: httpx2.SyncByteStream) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        left = _MOST_BYTES
        for piece in self._body:
            left -= len(piece)
            if left < 0:
                raise ModelUnavailable("The model's endpoint sent more than an answer can be.")
            yield piece

    def close(self) -> None:
        """Let go of the connection."""
        self._body.close()


def _bound(response: httpx2.Response) -> None:
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _Bounded(response.stream)
