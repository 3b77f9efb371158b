"""HTTP with an end: one total deadline and one byte cap per call, whatever the other side does.

`requests` bounds each read, not the sum: a server that drips a byte a second holds a caller for ever. Here a timer
cuts the connection at the deadline, in the middle of headers, a chunk size or a body, and the answer is read in pieces
against the cap. Nothing is retried, no redirect is followed, no proxy or netrc of the environment is used.
"""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from app.adapters.http.kept_sessions import KeptSessions

_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; `headers` are found by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(Exception):
    """The call ended without a complete answer; `kind` is `timeout`, `unreachable`, `too_big` or `forbidden`."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"no answer: {kind}")
        self.kind = kind


class BoundedHttp:
    """Calls that end in time; one instance serves many threads, and forks of its process.

    `may_reach` is asked of the addresses that a host's name stands for, and of the one that was reached in the end.
    Without `reads_bodies` an answer is its status and headers.
    """

    def __init__(
        self, max_bytes: int, may_reach: Callable[[str], bool] | None = None, reads_bodies: bool = True
    ) -> None:
        self._max_bytes = max_bytes
        self._may_reach = may_reach
        self._reads_bodies = reads_bodies
        self._sessions = KeptSessions(_new_session)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline_seconds: float
    ) -> Answer:
        """The answer, whatever its status, within the deadline; else `NoAnswer`."""
        _thread.may_reach = self._may_reach
        # The session is given back last: nobody else may have it while the cutoff could still cut its connection.
        with self._sessions.lent() as session, _Cutoff(deadline_seconds) as cutoff:
            try:
                response = session.request(
                    method, url, headers=dict(headers), data=body, timeout=deadline_seconds, allow_redirects=False,
                    stream=True,
                )  # fmt: skip
                answer = self._whole(response)
            except (requests.RequestException, HTTPError, OSError) as error:
                timed_out = cutoff.reached or isinstance(error, requests.Timeout)
                # Its own text holds the whole address, and an address may hold what somebody asked.
                raise NoAnswer("timeout" if timed_out else "unreachable") from None
            # A connection cut within the headers looks like an answer that ends there.
            if cutoff.reached:
                raise NoAnswer("timeout")
            return answer

    def _whole(self, response: requests.Response) -> Answer:
        with response:
            content = self._read(response) if self._reads_bodies else b""
            return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, content)

    def _read(self, response: requests.Response) -> bytes:
        pieces = bytearray()
        while piece := response.raw.read(_PIECE_BYTES, decode_content=False):
            pieces += piece
            if len(pieces) > self._max_bytes:
                raise NoAnswer("too_big")
        return bytes(pieces)


_thread = threading.local()


class _Cutoff:
    """Shuts this thread's connection down when its time is over."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    @property
    def reached(self) -> bool:
        return time.monotonic() >= self._ends_at

    def watch(self, connected: socket.socket | None) -> None:
        with self._lock:
            self._socket = connected
        if self.reached:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "_Cutoff":
        _thread.cutoff = self
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._socket = None
        _thread.cutoff = None


def _addresses(host: str, port: int) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except UnicodeError:
        raise NoAnswer("unreachable") from None


class _Watched(HTTPConnection):
    """A connection that hands its socket to the cutoff of the call that uses it."""

    def _new_conn(self) -> socket.socket:
        # A name may stand for something else by the time of the connection, so that one is asked, too; before anything
        # is said on it, its TLS included.
        may_reach = getattr(_thread, "may_reach", None)
        if may_reach is None:
            return super()._new_conn()
        if not all(map(may_reach, _addresses(self._dns_host, self.port))):
            raise NoAnswer("forbidden")
        connected = super()._new_conn()
        if not may_reach(connected.getpeername()[0]):
            connected.close()
            raise NoAnswer("forbidden")
        return connected

    def connect(self) -> None:
        super().connect()
        self._hand_over()

    def putrequest(self, *request: Any, **options: Any) -> None:
        self._hand_over()
        super().putrequest(*request, **options)

    def _hand_over(self) -> None:
        cutoff: _Cutoff | None = getattr(_thread, "cutoff", None)
        if cutoff is not None:
            cutoff.watch(self.sock)


class _WatchedTls(_Watched, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


def _new_session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.headers["Accept-Encoding"] = "identity"
    session.mount("http://", _CuttableAdapter())
    session.mount("https://", _CuttableAdapter())
    return session


class _CuttableAdapter(HTTPAdapter):
    """The transport whose connections can be cut."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool: Any) -> None:
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **pool)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
