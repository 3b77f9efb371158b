"""Writers: clients that send messages over HTTP at a steady pace and insist, as a careful program would.

Every message carries an `Idempotency-Key`. A lost or busy answer (no answer, 409, 429, 503) is tried again with the
same key; a share of the messages is sent twice on purpose, half of those side by side. Everything is recorded.
"""

import random
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Final

import requests

from drills.recorder import Recorder

TRY_AGAIN: Final = frozenset({409, 429, 503})
TIMEOUT: Final = (2.0, 8.0)
PAUSE_SECONDS: Final = 0.25
WORDS: Final = ("river", "lamp", "seven", "Ärger", "orange", "north", "café", "window", "雪", "paper", "🙂", "quiet")


@dataclass(frozen=True, slots=True)
class Shape:
    """How much load: `rate` is messages per second of all writers together; `doubles` is the share sent twice."""

    rate: float = 10.0
    writers: int = 6
    sessions: int = 10
    doubles: float = 0.05
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load goes and whose it is."""

    gateway: str
    tenant: str
    universe: str


class Load:
    """All writers together. They pause between `start` and `stop` only to keep the pace."""

    def __init__(self, target: Target, recorder: Recorder, shape: Shape) -> None:
        self._stop = threading.Event()
        self._numbers = _Numbers()
        self._writers = [_Writer(place, self, target, recorder, shape) for place in range(shape.writers)]

    @property
    def accepted(self) -> int:
        """How many messages have been accepted so far."""
        return sum(writer.accepted for writer in self._writers)

    @property
    def sessions(self) -> list[str]:
        """The sessions of all writers, the first of each writer first."""
        return [
            session_id for row in zip(*(writer.sessions for writer in self._writers), strict=True) for session_id in row
        ]

    @property
    def stopping(self) -> threading.Event:
        """Set when no new message is to be started."""
        return self._stop

    def next_number(self) -> int:
        """A number that no other message of this load has."""
        return self._numbers.take()

    def start(self) -> None:
        """Let the writers begin."""
        for writer in self._writers:
            writer.start()

    def stop(self, patience_seconds: float = 20.0) -> None:
        """No new messages; waits for the messages under way to be answered, at most this long."""
        self._stop.set()
        deadline = time.monotonic() + patience_seconds
        for writer in self._writers:
            writer.join(max(0.0, deadline - time.monotonic()))


class _Numbers:
    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def take(self) -> int:
        with self._lock:
            self._last += 1
            return self._last


class _Writer(threading.Thread):
    """One client with its sessions; within a session it sends one message after the other."""

    def __init__(self, place: int, load: Load, target: Target, recorder: Recorder, shape: Shape) -> None:
        super().__init__(name=f"writer-{place}", daemon=True)
        self.accepted = 0
        self._load = load
        self._shape = shape
        self._client = _Client(target, recorder)
        self._random = random.Random(f"{shape.seed}/{place}")  # a drill repeats by its seed
        self.sessions = [f"drill-w{place}-s{number}-{uuid.uuid4().hex[:8]}" for number in range(shape.sessions)]

    def run(self) -> None:
        pause = self._shape.writers / self._shape.rate
        due = time.monotonic() + self._random.uniform(0, pause)
        turn = 0
        while not self._load.stopping.wait(max(0.0, due - time.monotonic())):
            self._say(self.sessions[turn % len(self.sessions)])
            turn += 1
            due = max(due + pause, time.monotonic() - pause)  # after a stall, no burst to catch up
        self._client.close()

    def _say(self, session_id: str) -> None:
        key = uuid.uuid4().hex
        words = " ".join(self._random.choices(WORDS, k=self._random.randint(2, 12)))
        text = f"m{self._load.next_number():06d} {words}"
        double = self._random.random() < self._shape.doubles
        twin = threading.Thread(target=self._client.attempt, args=(key, session_id, text), daemon=True)
        beside = double and self._random.random() < 0.5
        if beside:
            twin.start()
        self.accepted += self._client.insist(key, session_id, text, self._load.stopping)
        if double and not beside:
            twin.start()
        if double:
            twin.join()


class _Client:
    """One HTTP client; it records every attempt before it is made and after it ended."""

    def __init__(self, target: Target, recorder: Recorder) -> None:
        self._target = target
        self._recorder = recorder
        self._http = requests.Session()
        self._http.trust_env = False

    def insist(self, key: str, session_id: str, text: str, stopping: threading.Event) -> bool:
        """Try until the answer is final; gives up a while after the load was asked to stop."""
        give_up = float("inf")
        while time.monotonic() < give_up:
            status = self.attempt(key, session_id, text)
            if status is not None and status not in TRY_AGAIN:
                return 200 <= status < 300
            if stopping.is_set():
                give_up = min(give_up, time.monotonic() + 15.0)
            time.sleep(PAUSE_SECONDS)
        return False

    def attempt(self, key: str, session_id: str, text: str) -> int | None:
        """Send once; the status, or None when no answer came."""
        self._recorder.write("invoke", key, session_id=session_id, text=text)
        began = time.monotonic()
        try:
            answer = self._post(key, session_id, text)
        except (requests.RequestException, OSError) as error:
            self._recorder.write("unknown", key, seconds=time.monotonic() - began, error=type(error).__name__)
            return None
        self._settle(key, answer, time.monotonic() - began)
        return answer.status_code

    def _post(self, key: str, session_id: str, text: str) -> requests.Response:
        metadata = {"tenant": self._target.tenant, "universe_id": self._target.universe}
        return self._http.post(
            f"{self._target.gateway}/v1/session/message",
            json={"session_id": session_id, "message": text, "metadata": metadata},
            headers={"Idempotency-Key": key},
            timeout=TIMEOUT,
        )

    def _settle(self, key: str, answer: requests.Response, seconds: float) -> None:
        fields = {"status": answer.status_code, "seconds": seconds}
        receipt = _receipt(answer)
        if answer.ok and receipt is None:
            self._recorder.write("unknown", key, seconds=seconds, error="an answer that is no receipt")
        elif answer.ok:
            self._recorder.write("ok", key, event_id=receipt, **fields)
        else:
            self._recorder.write("fail", key, retry_after="Retry-After" in answer.headers, **fields)

    def close(self) -> None:
        self._http.close()


def _receipt(answer: requests.Response) -> str | None:
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return None
    taken = isinstance(body, dict) and body.get("accepted") is True
    return str(body["event_id"]) if taken and body.get("event_id") else None
