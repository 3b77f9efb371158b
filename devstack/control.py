"""Speaking to a running launcher from another terminal: one line of JSON each way over a socket in the data folder."""

import contextlib
import hashlib
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devstack.faults import CannotStart

Answer = dict[str, Any]
Handler = Callable[[str, str], Answer]
_LONGEST_PATH = 100
_PATIENCE_SECONDS = 150.0


def socket_path(data_dir: Path) -> Path:
    """Where the launcher of this folder listens; a path that is too long for a socket moves to the temporary folder."""
    path = data_dir.resolve() / "run" / "control.sock"
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"somaagent01-{os.getuid()}-{name}.sock"


class ControlServer:
    """Serves commands until it is closed; the handler gets (command, name) and may raise `CannotStart`."""

    def __init__(self, data_dir: Path, handler: Handler) -> None:
        self._path = socket_path(data_dir)
        self._handler = handler
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(self._path))
        finally:
            os.umask(before)
        self._socket.listen(8)
        threading.Thread(target=self._serve, name="control", daemon=True).start()

    def close(self) -> None:
        """Take no further commands."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link: socket.socket) -> None:
        with contextlib.suppress(OSError), link:
            link.settimeout(10)
            link.sendall(json.dumps(self._reply(_read_line(link))).encode() + b"\n")

    def _reply(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
            return {"ok": True, **self._handler(str(request["command"]), str(request.get("name", "")))}
        except CannotStart as error:
            return {"ok": False, "error": str(error)}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {"ok": False, "error": "not a command"}


def ask(data_dir: Path, command: str, name: str = "") -> Answer:
    """One command to the launcher of this folder; `CannotStart` when there is none, or when it says no."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(_PATIENCE_SECONDS)
            link.connect(str(socket_path(data_dir)))
            link.sendall(json.dumps({"command": command, "name": name}).encode() + b"\n")
            answer: Answer = json.loads(_read_line(link) or b"{}")
    except (OSError, ValueError):
        raise CannotStart(f"no stack runs on {data_dir}; start one with `make run`") from None
    if not answer.get("ok"):
        raise CannotStart(answer.get("error", "the launcher ended before it answered"))
    return answer


def _read_line(link: socket.socket) -> bytes:
    heard = b""
    while not heard.endswith(b"\n") and len(heard) < 1_000_000 and (more := link.recv(65536)):
        heard += more
    return heard
