"""What a bench says to a gateway, or to what it is held against, and how it tells what it found."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

PATIENCE_SECONDS = 180.0


@contextmanager
def line(base: str) -> Iterator[HTTPConnection]:
    """A connection to this address, closed at the end."""
    address = urlsplit(base)
    opened = HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE_SECONDS)
    try:
        yield opened
    finally:
        opened.close()


def post(base: str, session_id: str) -> None:
    """A message on a connection of its own."""
    with line(base) as open_line:
        say_on(open_line, session_id)


def say_on(open_line: HTTPConnection, session_id: str) -> None:
    """A message; the bench ends when it is not taken."""
    body = json.dumps({"session_id": session_id, "message": "hello"})
    open_line.request("POST", "/v1/session/message", body, {"Content-Type": "application/json"})
    answer = open_line.getresponse()
    heard = answer.read()
    if answer.status != 200:
        sys.exit(f"a message was answered {answer.status}: {heard[:200].decode()}")


def say(found: str, goal: float) -> None:
    """One line: what was found, and what was hoped for."""
    sys.stdout.write(f"{found}  goal {goal:g}\n")
    sys.stdout.flush()
