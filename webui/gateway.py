"""The gateway as the page's server calls it: plain calls and the long stream of one session.

Nothing is retried here: the browser keeps what it could not send and comes again.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import requests
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from app.domain.errors import Retryable
from webui.sse import BadStream, Parser, ServerEvent

_CONNECT_SECONDS = 2.0
_SILENCE_SECONDS = 20.0
"""The gateway says something every 15 s; a longer silence means that it is gone."""


class GatewayAway(Retryable):
    """The gateway did not answer: refused, too slow, or broken off."""

    def __init__(self) -> None:
        super().__init__("the gateway does not answer at the moment", 2.0)


@dataclass(frozen=True, slots=True)
class Call:
    """One request for the gateway; `path` begins with a slash and is already encoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any = None

    def with_header(self, name: str, value: str) -> "Call":
        return replace(self, headers={**self.headers, name: value})


class Answer:
    """The gateway's answer, its body still on the line; `hang_up` may be called from any thread and ends a read."""

    def __init__(self, session: requests.Session, response: requests.Response) -> None:
        self._session = session
        self._response = response
        self._line = _second_handle(response)
        self.status = response.status_code
        self.headers: list[tuple[str, str]] = list(response.raw.headers.iteritems())
        self.content_type = response.headers.get("Content-Type", "")

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes, encoded as the gateway encoded it; `GatewayAway` when it breaks off."""
        try:
            while piece := self._response.raw.read1(65_536, decode_content=False):
                yield piece
        except (HTTPError, OSError, ValueError):
            raise GatewayAway from None
        finally:
            self.close()

    def events(self) -> Iterator[ServerEvent]:
        """The body as server-sent events, until the stream ends or breaks."""
        parser = Parser()
        with suppress(GatewayAway, BadStream):
            for piece in self.pieces():
                yield from parser.feed(piece)

    def hang_up(self) -> None:
        """Break the line, so that whoever reads it stops at once."""
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Done with this answer, read or not."""
        self.hang_up()
        if self._line is not None:
            self._line.close()
        self._response.close()
        self._session.close()


def _second_handle(response: requests.Response) -> socket.socket | None:
    """The answer's connection under a handle of its own; None when the body is over already."""
    try:
        return socket.socket(fileno=os.dup(response.raw.fileno()))
    except (OSError, ValueError):
        return None


class Gateway:
    """The gateway behind one base address."""

    def __init__(self, base: str) -> None:
        self._base = base

    def send(self, call: Call, seconds: float = 30.0) -> Answer:
        """Pass on one call; `seconds` bounds each silence. `GatewayAway` when no answer begins."""
        session = requests.Session()
        session.trust_env = False
        request = requests.Request(call.method, self._base + call.path, headers=dict(call.headers), data=call.body)
        try:
            prepared = session.prepare_request(request)
            response = session.send(prepared, stream=True, allow_redirects=False, timeout=(_CONNECT_SECONDS, seconds))
        except (RequestException, HTTPError, OSError):
            session.close()
            raise GatewayAway from None
        return Answer(session, response)

    def follow(self, call: Call) -> Answer:
        """Begin to read a stream; silence longer than the gateway's heartbeat ends it."""
        return self.send(call, _SILENCE_SECONDS)
