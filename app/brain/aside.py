"""The model in a process of its own, for the texts that nobody waits for: `python -m app.brain.aside`.

It runs when nobody else wants the processor. In a thread of the service it could not: while such a thread waits for
its turn, it may hold the lock that every thread of the interpreter needs. It begins with the first text and ends when
there was nothing to do for a minute, or when whoever asks it has ended. A text on which the engine dies ends nothing
else.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading

from app.brain.embeddings import E5, NoModel, NoVector, Vector

_NICENESS = 10
_IDLE_SECONDS = 60.0
_TRIES = 2


class Aside:
    """Vectors of passages, one after another, from a process that is there only while there is work."""

    def __init__(self, idle_seconds: float = _IDLE_SECONDS) -> None:
        self.trouble = ""
        self._idle_seconds = idle_seconds
        self._child: subprocess.Popen[str] | None = None
        self._ending = threading.Timer(0, self.close)
        self._lock = threading.Lock()

    def passage(self, text: str) -> Vector:
        """Raises `NoVector` for a text that ends the process time and again, `NoModel` where it does not begin."""
        self._ending.cancel()
        try:
            for _ in range(_TRIES):
                if answer := self._ask(text):
                    return self._understood(answer)
        finally:
            self._end_later()
        raise NoVector("the model's process ended on this text")

    def close(self) -> None:
        """End the process; the next text begins a new one."""
        self._ending.cancel()
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            _end(child)

    def _ask(self, text: str) -> str:
        """The answer's line; empty where the process ended."""
        with self._lock:
            child = self._child = self._child or _begin()
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(json.dumps(text) + "\n")
            child.stdin.flush()
            answer = child.stdout.readline()
        except (OSError, ValueError):
            answer = ""
        if not answer:
            self._forget(child)
        return answer

    def _forget(self, child: "subprocess.Popen[str]") -> None:
        with self._lock:
            self._child = None
        _end(child)

    def _understood(self, answer: str) -> Vector:
        said = json.loads(answer)
        if "vector" in said:
            self.trouble = ""
            vector: Vector = said["vector"]
            return vector
        if said["fault"] == NoModel.__name__:
            self.trouble = said["reason"]
            raise NoModel(said["reason"])
        raise NoVector(said["reason"])

    def _end_later(self) -> None:
        self._ending = threading.Timer(self._idle_seconds, self.close)
        self._ending.daemon = True
        self._ending.start()


def _begin() -> "subprocess.Popen[str]":
    try:
        return subprocess.Popen(
            (sys.executable, "-m", __name__), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
    except OSError as error:
        raise NoModel(f"the model's process cannot be started: {error}") from error


def _end(child: "subprocess.Popen[str]") -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(OSError):  # what was not written yet has nowhere to go
            if pipe is not None:
                pipe.close()


def main() -> int:
    """A text a line as JSON, an answer a line as JSON, until the end of the input."""
    _step_back()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the service, which ends us
    model = E5()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_answer(model, json.loads(line))) + "\n")
        sys.stdout.flush()
    return 0


def _step_back() -> None:
    """Let everybody go first. On Linux, whoever wakes takes the processor from us at once; being nice alone, we would
    keep it for some milliseconds, in the middle of somebody's answer.
    """
    os.nice(_NICENESS)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _answer(model: E5, text: str) -> dict[str, object]:
    try:
        return {"vector": model.passage(text)}
    except NoVector as error:
        return {"fault": type(error).__name__, "reason": str(error)}


if __name__ == "__main__":
    sys.exit(main())
