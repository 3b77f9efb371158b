"""Local mode: what the gateway does for the page, done in this process.

It is the same service on the same Postgres. So a message that the gateway took before it fell silent is recognised by
its key and answered with the first receipt.
"""

import importlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from app.domain.errors import Rejected
from app.settings import Settings
from webui.sse import ServerEvent


@dataclass(frozen=True, slots=True)
class LocalMessage:
    """A message as the browser sent it, with the key that makes sending it twice harmless."""

    body: bytes
    idempotency_key: str
    headers: Mapping[str, str]


class BadMessage(Rejected):
    """The message is JSON, but not as the contract has it: 422."""


class Upstream(Protocol):
    """A stream on its way to a browser, from wherever it comes."""

    status: int

    def events(self) -> Iterator[ServerEvent]:
        """Its events, until it ends."""

    def hang_up(self) -> None:
        """End it soon, from any thread."""

    def close(self) -> None:
        """Done with it, read or not."""


class LocalService(Protocol):
    """The part of the application that the page needs, in this process."""

    def accept(self, message: LocalMessage) -> Mapping[str, Any]:
        """`{accepted, session_id, event_id}` once committed; `Rejected` or `Retryable` otherwise."""

    def follow(self, session_id: str, after: str) -> Upstream:
        """The session's stream from the cursor `after` on."""


class OnDemand:
    """The service, loaded when the gateway is first found away: a page that never needs it does not pay for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: LocalService | None = None
        self._lock = threading.Lock()

    def _service(self) -> LocalService:
        with self._lock:
            if self._loaded is None:
                module = importlib.import_module("webui.local_service")
                self._loaded = cast(LocalService, module.WiredService(self._settings))
            return self._loaded

    def accept(self, message: LocalMessage) -> Mapping[str, Any]:
        """Keep the message."""
        return self._service().accept(message)

    def follow(self, session_id: str, after: str) -> Upstream:
        """Open the stream."""
        return self._service().follow(session_id, after)


def local_service(settings: Settings) -> LocalService | None:
    """The service of this process; None where it has no Postgres to keep a message in."""
    configured = settings.postgres_dsn.get_secret_value() and settings.redis_url.get_secret_value()
    return OnDemand(settings) if configured else None
