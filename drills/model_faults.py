"""What can happen to the model: nobody listens, it is slow, it breaks off, it answers with what is no answer.

A fault of the load is short and ends: all of its messages are to be answered in the end. Beside the load, messages of
another tenant never get a good answer: they are to end, and to say why.
"""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from drills.model_manners import CUT, GARBAGE, SLOW
from drills.model_peer import Manner, answer_to
from drills.readers import KINDS, Reader
from drills.record import mark_of
from drills.transcripts import breaks
from drills.trouble import Stage

WORKER = "worker-conversation"
AWAY_SECONDS = 5.0
"""A turn is tried for at least 12 s before it fails: within them the model is back, and its breaker has noticed."""
ODD_SECONDS, END_SECONDS = 12.0, 90.0
BAD_ANSWERS, OF_ODD = 2, 2
"""How often a message of the load is answered badly before it is answered well, and each how many messages are."""
HOPELESS, FOLLOWED = 944_000, 945_000
_FAILING = "SELECT count(*) FROM turns WHERE tenant = %(tenant)s AND failures > 0 AND state <> 'done'"
_OPEN = "SELECT count(*) FROM turns WHERE tenant = %(tenant)s AND state IN ('queued', 'running')"
_ENDS = """
    SELECT u.payload ->> 'message', t.state, coalesce(e.payload -> 'metadata' ->> 'reason', '')
    FROM turns t
    JOIN session_events u ON u.event_id = t.event_id
    LEFT JOIN session_events e
      ON e.session_id = t.session_id AND e.turn_seq = t.seq AND e.type = 'assistant.error'
    WHERE t.tenant = %(tenant)s
"""


def down(stage: Stage) -> None:
    """Nobody listens on the model's port for a few seconds; turns have to feel it, and to come back."""
    with _unharmed(stage), stage.model.away():
        stage.felt += _is_refused(stage.model.port)
        until = time.monotonic() + AWAY_SECONDS
        stage.feel(lambda: stage.sql(_FAILING)[0][0] > 0, AWAY_SECONDS)
        time.sleep(max(0.0, until - time.monotonic()))


def slow(stage: Stage) -> None:
    """Answers come too late, too slowly, or stop coming."""
    _answer_badly(stage, SLOW)


def cut(stage: Stage) -> None:
    """Answers break off; readers of another session see the words taken back and the whole answer afterwards."""
    with _followed(stage):
        _answer_badly(stage, CUT)


def garbage(stage: Stage) -> None:
    """Answers that are no answers."""
    _answer_badly(stage, GARBAGE)


def _is_refused(port: int) -> bool:
    with socket.socket() as line:
        line.settimeout(1)
        return line.connect_ex(("127.0.0.1", port)) != 0


def _answer_badly(stage: Stage, manners: Sequence[Manner]) -> None:
    """Every second message of the load meets each of these for a while; a hopeless one meets one of them for ever."""
    tenant = f"{stage.target.tenant}-hopeless"
    chooser = Chooser(manners)
    with _unharmed(stage), stage.model.in_manner(chooser):
        for number, manner in enumerate(manners):
            stage.post(f"m{HOPELESS + number} is always answered by {manner.__name__}", tenant, f"{tenant}-{number}")
        time.sleep(ODD_SECONDS)  # backoff and breaker of the product are not scaled either
        chooser.relent()
        _await_no(stage, _OPEN, tenant)
    stage.felt += chooser.times
    stage.figures["answers that were no good"] = chooser.times
    stage.later.append(lambda: unexplained(stage.sql(_ENDS, tenant=tenant), len(manners)))


class Chooser:
    """Which manner an answer gets: the load's are bad a few times each until it relents, hopeless ones always."""

    def __init__(self, manners: Sequence[Manner]) -> None:
        self._manners = manners
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._relented = False
        self.times = 0

    def relent(self) -> None:
        """From now on only what is hopeless is answered badly."""
        self._relented = True

    def __call__(self, text: str) -> Manner | None:
        number = int(mark_of(text)[1:] or "0")
        with self._lock:
            manner = self._chosen(number, text)
            self._asked[text] += 1
            self.times += manner is not None
        return manner

    def _chosen(self, number: int, text: str) -> Manner | None:
        if HOPELESS <= number < FOLLOWED:
            return self._manners[(number - HOPELESS) % len(self._manners)]
        if number >= FOLLOWED:
            return self._manners[1] if self._asked[text] < BAD_ANSWERS else None
        if self._relented or number % OF_ODD or self._asked[text] >= BAD_ANSWERS:
            return None
        return self._manners[(number // OF_ODD + self._asked[text]) % len(self._manners)]


def unexplained(ends: Sequence[tuple[str, str, str]], expected: int) -> list[str]:
    """What is wrong with the ends of hopeless messages, each (message, state, reason)."""
    found = [f"{message!r} ended as {state} with the reason {reason!r}"
             for message, state, reason in ends if state != "failed" or not reason.strip()]  # fmt: skip
    return found if len(ends) == expected else [*found, f"{len(ends)} of {expected} hopeless messages are there"]


def _await_no(stage: Stage, question: str, tenant: str) -> None:
    deadline = time.monotonic() + END_SECONDS
    while stage.sql(question, tenant=tenant)[0][0] and time.monotonic() < deadline:
        time.sleep(0.5)


@contextmanager
def _unharmed(stage: Stage) -> Iterator[None]:
    """Whatever the model says costs turns, and no worker its life."""
    lives = stage.stack.status()[WORKER].restarts
    yield
    died = stage.stack.status()[WORKER].restarts - lives
    stage.later.append(lambda: [f"{WORKER} died {died} times over what the model said"] if died else [])


@contextmanager
def _followed(stage: Stage) -> Iterator[None]:
    """One message whose answer breaks off twice, and a reader of each kind who is told so."""
    tenant = f"{stage.target.tenant}-followed"
    text, session_id = f"m{FOLLOWED} is answered in the end", f"{tenant}-1"
    readers = [Reader(stage.target.gateway, session_id, kind, stage.dice.randrange(1000)) for kind in KINDS]

    def begin() -> None:
        stage.post(text, tenant, session_id)
        for reader in readers:
            reader.start()

    beginning = threading.Timer(1.0, begin)
    beginning.start()
    yield
    beginning.join()
    _await_no(stage, _OPEN, tenant)
    head = stage.sql("SELECT max(seq) FROM session_events WHERE session_id = %(id)s", id=session_id)[0][0]
    for reader in readers:
        reader.finish(head or 1)
    stage.later.append(lambda: [problem for reader in readers for problem in _ill_told(reader, text)])


def _ill_told(reader: Reader, text: str) -> list[str]:
    reader.join(20)
    reader.give_up()
    transcript = reader.transcript()
    items, kind = transcript.items, transcript.kind
    found = [f"a {kind} reader was told wrongly: {problem}" for problem in breaks(items)]
    if not any(item.type == "assistant.reset" for item in items):
        found.append(f"a {kind} reader was not told that the words before were taken back")
    if [item.text for item in items if item.type == "assistant.final"] != [answer_to(text)]:
        found.append(f"a {kind} reader was not told the answer once")
    return found
