"""A few threads beside those of the worker, for jobs that wait for strangers."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_log = logging.getLogger(__name__)


class ThreadCrew:
    """`Crew`: at most `width` jobs at once; an error that leaves a job is logged, and ends that job alone."""

    def __init__(self, name: str, width: int) -> None:
        self._threads = ThreadPoolExecutor(width, thread_name_prefix=name)
        self._width = width
        self._busy = 0
        self._lock = threading.Lock()

    @property
    def free(self) -> int:
        """How many jobs would begin at once."""
        with self._lock:
            return self._width - self._busy

    def hand(self, job: Callable[[], None]) -> bool:
        """Begin this job, where a thread is free."""
        with self._lock:
            if self._busy == self._width:
                return False
            self._busy += 1
        self._threads.submit(job).add_done_callback(self._done)
        return True

    def _done(self, job: "Future[None]") -> None:
        with self._lock:
            self._busy -= 1
        if (error := job.exception()) is not None:
            _log.warning("a job ended early: %s", error, exc_info=error)
