"""The one base task: log context, metrics, and what an error of each family means. Bodies have no `try`."""

import logging
import time
from typing import Any

from celery import Task

from app.domain.errors import Rejected, Retryable
from app.telemetry.logs import log_context
from app.telemetry.metrics import TASK_FAILURES

_log = logging.getLogger(__name__)


class ServiceTask(Task):  # type: ignore[misc]
    """Runs a service. `Retryable` and `Rejected` end the ring quietly: the row says what happens next."""

    abstract = True
    ignore_result = True
    typing = True
    Request = "tasks.hearing:SteadyRequest"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body within its log context."""
        began = time.monotonic()
        with log_context(task=self.name, ids=" ".join(map(str, args)) or None):
            try:
                return self.run(*args, **kwargs)
            except Retryable as error:
                self._note("retryable", error, began)
            except Rejected as error:
                self._note("rejected", error, began)
            except Exception as error:
                self._note("defect", error, began)
                raise
        return None

    def _note(self, family: str, error: Exception, began: float) -> None:
        TASK_FAILURES.labels(self.name, family).inc()
        seconds = round(time.monotonic() - began, 3)
        _log.warning("%s after %s s: %s", family, seconds, error, exc_info=family == "defect")
