"""Every run of a tool is a process of its own: it can be ended at any moment, and takes nothing along but itself.

It gets the call on its standard input and nothing of our settings: no address, no secret. Its session is its own too,
so that whatever it starts can be ended with it.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from app.domain.tool_ports import How, ToolRun
from app.domain.tools import ToolCall
from app.settings import Settings

_GLANCE_SECONDS = 0.1
_PIECE = 65_536
_MOST_BYTES = 1_048_576
_FAREWELL_SECONDS = 1.0


class ToolProcesses:
    """`ToolRunner`; `modules` is the setting that names an installation's own tools."""

    def __init__(self, modules: str, timeout_seconds: float) -> None:
        self._modules = modules
        self._timeout = timeout_seconds

    def run(self, call: ToolCall, stopping: Callable[[], bool], grace_seconds: float) -> ToolRun:
        """One process from its start to its end."""
        began = time.monotonic()
        asked = {"modules": self._modules, "tool": call.tool, "args": dict(call.args)}
        process = _start(asked)
        try:
            how, reason, answer = self._listen(process, began, stopping, grace_seconds)
        finally:
            _end(process)
        seconds = time.monotonic() - began
        if how is not How.ANSWERED:
            return ToolRun(how, seconds, reason=reason)
        return _read(answer, process.returncode, seconds)

    def _listen(
        self, process: "subprocess.Popen[bytes]", began: float, stopping: Callable[[], bool], grace_seconds: float
    ) -> tuple[How, str, bytes]:
        """What it says until it says no more; or why nobody listened to the end."""
        heard, asked_at = b"", 0.0
        while len(heard) <= _MOST_BYTES:
            now = time.monotonic()
            if now - began > self._timeout:
                return (
                    How.TIMED_OUT,
                    f"It was stopped after {self._timeout:g} s, the longest that a tool may take.",
                    b"",
                )
            if stopping():
                asked_at = asked_at or now
                if now - asked_at >= grace_seconds:
                    return How.INTERRUPTED, "Its worker was stopped in the middle", b""
            piece = _next_piece(process)
            if piece == b"":
                return How.ANSWERED, "", heard
            heard += piece or b""
        return How.FAILED, f"It answered more than {_MOST_BYTES} bytes.", b""


def _start(asked: Mapping[str, Any]) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        (sys.executable, "-m", "app.tools.child"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it is gone already, and its silence says so
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
    return process


def _environment() -> dict[str, str]:
    """Ours without our settings."""
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in ours}


def _next_piece(process: "subprocess.Popen[bytes]") -> bytes | None:
    """What has come by now; nothing at all (`b""`) is its end, None is silence."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _GLANCE_SECONDS)
    return os.read(process.stdout.fileno(), _PIECE) if ready else None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """It has a moment to end by itself when it has answered; then nothing of it is left."""
    answered = process.stdout is not None and select.select([process.stdout], [], [], 0)[0]
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_FAREWELL_SECONDS if answered else 0)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()
    process.wait()


def _read(answer: bytes, status: int, seconds: float) -> ToolRun:
    try:
        told = json.loads(answer)
    except ValueError:
        cause = f"signal {-status}" if status < 0 else f"status {status}"
        return ToolRun(How.BROKEN, seconds, reason=f"Its process ended with {cause} and without an answer")
    if "error" in told:
        return ToolRun(How.FAILED, seconds, reason=told["error"])
    return ToolRun(How.ANSWERED, seconds, told["value"])
