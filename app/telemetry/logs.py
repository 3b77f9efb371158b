"""JSON log lines with the context of a request or task; one line an event, whatever the text holds."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_context: ContextVar[dict[str, str] | None] = ContextVar("log_context", default=None)
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "data"}


@contextmanager
def log_context(**values: str | None) -> Iterator[None]:
    """Every line logged inside the block carries these values."""
    given = {name: value for name, value in values.items() if value}
    token = _context.set({**(_context.get() or {}), **given})
    try:
        yield
    finally:
        _context.reset(token)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, process, logger, message, context, extras."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; line breaks in any text are escaped by JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **(_context.get() or {}),
            **{name: value for name, value in record.__dict__.items() if name not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def configure_logging(level: str, process: str) -> None:
    """Send every logger's lines to standard error as JSON; libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process))
    logging.basicConfig(level="WARNING", handlers=[handler], force=True)
    for ours in ("app", "tasks", "webui"):
        logging.getLogger(ours).setLevel(level)
    # These two tell of every reconnection attempt; what an outage means is logged by ourselves.
    logging.getLogger("kafka").setLevel("ERROR")
    logging.getLogger("celery.beat").setLevel("ERROR")
    # Its warnings show whole addresses, and some versions of SomaBrain want a question in the address.
    logging.getLogger("urllib3").setLevel("ERROR")
