"""`soma send`: say something, and read the answer as it is written."""

import sys
from collections.abc import Iterable
from typing import Annotated, Any
from uuid import uuid4

import typer

from app.cli.answers import follow
from app.cli.client import Call, Client, Later, Refused
from app.cli.progress import Stopped
from app.cli.seat import AsJson, client_of, tell_json, wants_json, warn
from app.cli.tables import harmless
from app.domain.events import EventType

_KEPT = "the message is kept and will be answered; its session is {}"


def send(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="what to say; - reads it from the standard input")],
    session: Annotated[str | None, typer.Option(help="the conversation to go on with (a new one without)")] = None,
    persona: Annotated[str | None, typer.Option(help="who answers")] = None,
    following: Annotated[bool, typer.Option("--follow/--no-follow", help="wait for the answer, or not")] = True,
    as_json: AsJson = None,
) -> None:
    """Send a message and follow its answer to the end."""
    client, plain = client_of(context), not wants_json(as_json)
    said = {"message": sys.stdin.read() if text == "-" else text, "session_id": session, "persona_id": persona}
    body = {name: value for name, value in said.items() if value is not None}
    receipt = client.insist(Call("POST", "/v1/session/message", body=body, key=uuid4().hex))
    if not plain:
        tell_json(receipt)
    elif not following or session is None:
        warn(f"session {receipt['session_id']}")
    if following:
        _end(_followed(client, receipt, plain))


def _followed(client: Client, receipt: dict[str, Any], plain: bool) -> dict[str, Any]:
    kept = _KEPT.format(receipt["session_id"])
    try:
        return _show(follow(client, receipt["session_id"], receipt["event_id"]), plain)
    except Later as error:
        raise Refused(f"{error}; {kept}") from None
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {kept}") from None


def _show(items: Iterable[dict[str, Any]], plain: bool) -> dict[str, Any]:
    """The item that ended the turn, after everything was printed."""
    page, item = _Page(), dict[str, Any]()
    for item in items:
        if plain:
            page.add(item)
        else:
            tell_json(item)
    return item


class _Page:
    """The answer's text on a terminal, each part of it once."""

    def __init__(self) -> None:
        self._shown = ""

    def add(self, item: dict[str, Any]) -> None:
        """What this item adds; an attempt that begins again begins on a line of its own."""
        kind, text = item.get("type"), str(item.get("message") or "")
        if kind == EventType.DELTA:
            self._write(text)
        elif kind == EventType.RESET and self._shown:
            self._shown = ""
            sys.stdout.write("\n")
            warn("the answer begins again")
        elif kind == EventType.FINAL:
            self._write(text.removeprefix(self._shown) if text.startswith(self._shown) else f"\n{text}")
            sys.stdout.write("\n")
        sys.stdout.flush()

    def _write(self, text: str) -> None:
        self._shown += text
        sys.stdout.write(harmless(text))


def _end(last: dict[str, Any]) -> None:
    """An answer is a good end; every other one says why."""
    if last.get("type") == EventType.FINAL:
        return
    told = last.get("metadata") or {}
    reason = told.get("reason") or (told.get("policy") or {}).get("reason") or "the gateway gave no reason"
    raise Refused(f"there is no answer ({last.get('type')}): {reason}")
