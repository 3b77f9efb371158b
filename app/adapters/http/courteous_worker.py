"""gunicorn's thread worker, with one courtesy moved aside: waiting for a client to hang up.

gunicorn 27 closes a finished connection on its main thread and waits there for up to two seconds until the client has
closed its end (RFC 9112, 9.6). A few dozen clients that never do stop the whole worker for a minute.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import BoundedSemaphore
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

_AT_ONCE = 8
_WAITING = 64
"""So many connections may wait for their clients' end; what comes beyond is closed at once."""


class CourteousWorker(ThreadWorker):  # type: ignore[misc]
    """Name it as `worker_class`."""

    def init_process(self) -> None:
        """Called in the worker, after the fork."""
        self._closers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="closing")
        self._room = BoundedSemaphore(_WAITING)
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
