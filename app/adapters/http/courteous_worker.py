"""gunicorn's thread worker, with one courtesy moved aside, waiting for a client to hang up, and one more: what is no
HTTP, which no application sees, is answered in the form in which every other error is.

gunicorn 27 closes a finished connection on its main thread and waits there for up to two seconds until the client has
closed its end (RFC 9112, 9.6). A few dozen clients that never do stop the whole worker for a minute.
"""

import json
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from socket import socket
from threading import BoundedSemaphore
from typing import Any
from uuid import uuid4

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from app.telemetry.logs import log_context

_log = logging.getLogger(__name__)
_HEADERS = {
    "Connection": "close",
    "Content-Type": "application/problem+json",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-API-Version": "v1",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_AT_ONCE = 8
_WAITING = 64
"""So many connections may wait for their clients' end; what comes beyond is closed at once."""


class CourteousWorker(ThreadWorker):  # type: ignore[misc]
    """Name it as `worker_class`."""

    def init_process(self) -> None:
        """Called in the worker, after the fork."""
        self._closers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="closing")
        self._room = BoundedSemaphore(_WAITING)
        util.write_error = write_problem
        super().init_process()

    def finish_request(self, conn: TConn, fs: "Future[Any]") -> None:
        """Runs on the main thread, for which nothing may be waited."""
        if not isinstance(conn.close, partial):
            conn.close = partial(self._close_aside, conn.close)
        super().finish_request(conn, fs)

    def _close_aside(self, close: Callable[..., None], graceful: bool = False) -> None:
        if not graceful or not self._room.acquire(blocking=False):
            close()
            return
        self._closers.submit(close, graceful=True).add_done_callback(lambda _: self._room.release())


def write_problem(sock: socket, status: int, _reason: str, _message: str) -> None:
    """In the place of gunicorn's page, which repeats what was sent; the status alone says what is wrong."""
    known, request_id = HTTPStatus(status), str(uuid4())
    with log_context(request_id=request_id):
        _log.warning("what is no request was answered with %d", status)
    problem = {
        "type": "about:blank",
        "title": known.phrase,
        "status": status,
        "detail": f"{known.description or 'The request failed'}.",
        "request_id": request_id,
    }
    body = json.dumps(problem)
    headers = {**_HEADERS, "X-Request-ID": request_id, "Content-Length": str(len(body))}
    lines = [f"HTTP/1.1 {status} {known.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    util.write_nonblock(sock, "\r\n".join([*lines, "", body]).encode())
