"""The process of one tool call: reads the call from standard input, runs it, writes the answer to standard output.

It ends when its parent does: standard input stays open for as long as the parent lives. What a tool prints goes to
standard error, so that it cannot be taken for an answer.
"""

import json
import os
import sys
import threading
from types import TracebackType
from typing import Any

from app.tools.loading import load_tools

PARENT_GONE = 87
_MOST_WORDS = 500


def main() -> int:
    """One call. Whatever a tool raises becomes the answer, in words."""
    answer = os.dup(1)
    os.dup2(2, 1)
    sys.excepthook = lambda kind, error, trace: _fail(answer, kind, error, trace)
    asked = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    _say(answer, {"value": _run(asked)})
    return 0


def _run(asked: dict[str, Any]) -> Any:
    tool = load_tools(asked["modules"])[asked["tool"]]
    return tool.run(tool.arguments.model_validate(asked["args"]))


def _fail(answer: int, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.__excepthook__(kind, error, trace)
    _say(answer, {"error": f"{kind.__name__}: {error}"[:_MOST_WORDS]})


def _say(answer: int, what: dict[str, Any]) -> None:
    raw = json.dumps(what).encode()
    with os.fdopen(answer, "wb") as out:
        out.write(raw)


def _end_with_parent() -> None:
    # Not `sys.stdin`: a daemon thread that holds its lock would abort the interpreter at its end.
    while os.read(0, 1):
        continue
    os._exit(PARENT_GONE)


if __name__ == "__main__":
    sys.exit(main())
