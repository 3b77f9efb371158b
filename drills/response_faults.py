"""What can happen to who follows a response of the OpenAI interface: the gateway under its stream is killed."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final

import requests

from drills.gateway_faults import NAME
from drills.ground import QUICK_PAUSE
from drills.model_peer import answer_to
from drills.readers import PAUSE_SECONDS
from drills.trouble import Stage

FOLLOWERS, MARK = 4, "m9460"
LONG_PAUSE: Final = 0.6
"""Seconds between two words of an answer that a gateway dies under."""
END_SECONDS: Final = 60.0
ENDS: Final = frozenset({"response.completed", "response.failed", "response.incomplete"})
Event = Mapping[str, Any]


class Follower(threading.Thread):
    """Begins a response in the background, follows it, and resumes after its last event wherever the line breaks."""

    def __init__(self, gateway: str, tenant: str, text: str, begins: bool) -> None:
        super().__init__(name="response-follower", daemon=True)
        self._gateway, self._tenant, self._begins = gateway, tenant, begins
        self.text = text
        self.response_id = ""
        self.events: list[Event] = []
        self.resumes = 0

    def keep(self) -> None:
        """Begin the response, with a stream or without; once this returns it is kept."""
        body = {"input": self.text, "background": True, "metadata": {"tenant": self._tenant}}
        url = f"{self._gateway}/v1/responses"
        if self._begins:
            with requests.post(url, json=body | {"stream": True}, stream=True, timeout=15) as answer:
                answer.raise_for_status()
                self.events.append(next(events_of(answer)))
            self.response_id = self.events[0]["response"]["id"]
        else:
            answer = requests.post(url, json=body, timeout=15)
            answer.raise_for_status()
            self.response_id = answer.json()["id"]

    def run(self) -> None:
        """Read to the end."""
        deadline = time.monotonic() + END_SECONDS
        while not self.has_ended and time.monotonic() < deadline:
            with suppress(requests.RequestException, ValueError):
                for event in self._rest():
                    self.events.append(event)
            self.resumes += not self.has_ended
            time.sleep(PAUSE_SECONDS)

    def _rest(self) -> Iterator[Event]:
        with requests.get(self._url, params=self._after(), stream=True, timeout=10) as answer:
            answer.raise_for_status()
            for event in events_of(answer):
                yield event
                if event["type"] in ENDS:
                    return

    def _after(self, event: Event | None = None) -> dict[str, str]:
        last = event or (self.events[-1] if self.events else None)
        return {"stream": "true"} | ({"starting_after": str(last["sequence_number"])} if last else {})

    @property
    def _url(self) -> str:
        return f"{self._gateway}/v1/responses/{self.response_id}"

    @property
    def has_ended(self) -> bool:
        """Whether it was told the end."""
        return bool(self.events) and self.events[-1]["type"] in ENDS

    def problems(self) -> list[str]:
        """What is wrong with what it was told, now that all is quiet."""
        found = wrongly_told(self.events, answer_to(self.text))
        whole = requests.get(self._url, timeout=10).json()
        if text_of(whole) != answer_to(self.text):
            found.append(f"the response has the text {text_of(whole)!r}")
        for place in (0, len(self.events) // 2, len(self.events) - 2):
            found += self._replayed_from(place) if 0 <= place < len(self.events) else []
        return [f"{self.response_id}: {problem}" for problem in found]

    def _replayed_from(self, place: int) -> list[str]:
        """The rest after an event, asked for once more, says no more and no less."""
        parameters = self._after(self.events[place])
        with requests.get(self._url, params=parameters, stream=True, timeout=10) as answer:
            again = list(events_of(answer))
        last = _opened(self.events)
        same = said(again, last) == said(self.events[place + 1 :], last)
        return [] if same else [f"the rest after event {place} is another one when it is asked for again"]


def events_of(answer: requests.Response) -> Iterator[Event]:
    """Whole events only."""
    for line in answer.iter_lines():
        if line.startswith(b"data: ") and line != b"data: [DONE]":
            yield json.loads(line[6:])


def _opened(events: Sequence[Event]) -> str:
    """The item that was begun last: what came before it was taken back."""
    items = [event["item_id"] for event in events if event["type"] == "response.output_text.delta"]
    return items[-1] if items else ""


def said(events: Sequence[Event], item_id: str) -> str:
    """The words of this item, joined."""
    pieces = (event for event in events if event["type"] == "response.output_text.delta")
    return "".join(piece["delta"] for piece in pieces if piece["item_id"] == item_id)


def text_of(response: Mapping[str, Any]) -> str:
    """The whole answer of a response."""
    parts = [part for item in response.get("output", ()) for part in item.get("content", ())]
    return "".join(part["text"] for part in parts)


def wrongly_told(events: Sequence[Event], answer: str) -> list[str]:
    """What is wrong with the events that one follower was told, over all of its resumptions."""
    numbers = [event["sequence_number"] for event in events]
    found = [f"event {after} follows {before}" for before, after in pairwise(numbers)
             if after <= before]  # fmt: skip
    if not events or events[-1]["type"] != "response.completed":
        return [*found, "it was not told the end"]
    joined, final = said(events, _opened(events)), text_of(events[-1]["response"])
    if final != answer:
        found.append(f"the last event has the text {final!r}")
    return found if joined == final else [*found, f"its pieces join to {joined!r}"]


def end_under_followers(stage: Stage) -> None:
    """SIGKILL the gateway, then end and start it, while responses are followed that go on in the background."""
    for number, end in enumerate((stage.kill, stage.stack.restart)):
        with stage.model.at_pace(lambda text: LONG_PAUSE if text.startswith(MARK) else QUICK_PAUSE):
            _under_followers(stage, f"{MARK}{number}", end)


def _under_followers(stage: Stage, mark: str, end: Callable[[str], None]) -> None:
    tenant = f"{stage.target.tenant}-responses"
    followers = [
        Follower(stage.target.gateway, tenant, f"{mark}{number} tell it the long way", number % 2 == 0)
        for number in range(FOLLOWERS)
    ]
    for follower in followers:
        follower.keep()
        follower.start()
    stage.feel(lambda: all(_opened(follower.events) for follower in followers))
    end(NAME)
    stage.stack.wait_ready(NAME)
    for follower in followers:
        follower.join(END_SECONDS)
    stage.felt += sum(follower.resumes > 0 for follower in followers)
    stage.later += [follower.problems for follower in followers]
