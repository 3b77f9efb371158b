"""Following one message's answer to its end, over as many connections as that takes."""

import json
from collections.abc import Iterator
from typing import Any

import requests

from app.cli.client import Client, Later, Refused, below
from app.domain.events import ENDS_A_TURN, EventType

_TRIES = 8


def follow(client: Client, session_id: str, event_id: str) -> Iterator[dict[str, Any]]:
    """The items of this message's turn as they come, its end last; what belongs to other turns is left out.

    A line that breaks is taken up again where it broke; `Later` when the gateway stays away.
    """
    turn = _Turn(event_id)
    while True:
        try:
            yield from _until_it_breaks(client, session_id, turn)
        except Later as error:
            turn.attempt += 1
            if turn.attempt == _TRIES:
                raise
            client.wait(error, turn.attempt)
        else:
            return


def _until_it_breaks(client: Client, session_id: str, turn: "_Turn") -> Iterator[dict[str, Any]]:
    for item in _items(client, session_id, turn.cursor):
        turn.attempt = 0
        if turn.owns(item):
            yield item
        if turn.ends_with(item):
            return
    raise Later("the gateway ended the stream before the answer's end")


class _Turn:
    """Which items of a session's line belong to one message: it, what happens in its turn, and its end."""

    def __init__(self, event_id: str) -> None:
        self.cursor = ""
        self.attempt = 0
        self._event_id = event_id
        self._runs = False

    def owns(self, item: dict[str, Any]) -> bool:
        """Turns of a session run one after the other, so whatever comes between its begin and its end is of this."""
        self.cursor = item.get("cursor") or self.cursor
        is_named = self._names(item)
        self._runs = self._runs or (is_named and item.get("type") == EventType.THINKING)
        return is_named or (self._runs and item.get("type") != EventType.USER)

    def ends_with(self, item: dict[str, Any]) -> bool:
        """Whether nothing of this turn comes after it."""
        return self._names(item) and item.get("type") in ENDS_A_TURN

    def _names(self, item: dict[str, Any]) -> bool:
        own = str(item.get("event_id") or "")
        return own == self._event_id or own.startswith(f"{self._event_id}:")


def _items(client: Client, session_id: str, cursor: str) -> Iterator[dict[str, Any]]:
    path = below("/v1/session", session_id, "events")
    resume = {"Last-Event-ID": cursor} if cursor else {}
    with client.stream(path, headers=resume) as answer:
        yield from _data(answer)


def _data(answer: requests.Response) -> Iterator[dict[str, Any]]:
    """The JSON of server-sent events, of which each is one line of data."""
    for line in answer.iter_lines(chunk_size=1):
        if line.startswith(b"data:"):
            try:
                found = json.loads(line.removeprefix(b"data:"))
            except ValueError:
                raise Refused("the stream holds something that is not JSON; what answers is not the gateway") from None
            if isinstance(found, dict):
                yield found
