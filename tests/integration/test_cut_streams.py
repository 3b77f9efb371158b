"""A stream that is cut at every byte of it, on both doors, tells the same as one that never broke.

Over lines that carry a whole session or the rest of one, finished or running: the joined transcript is what was said,
without a gap and without a repeat. 5,000 cuts and more.
"""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.adapters.redis.connection import connect
from app.domain.errors import ModelUnavailable
from devstack.stack import Stack
from tests.conftest import eventually
from tests.fakes_parts import Step
from tests.integration.cut_line import CutAt, CutReader, after_item, at_byte, never
from tests.integration.gateway_process import Answerer, Gateway
from tests.unit.session_history import Reader

DOORS = ("sse", "websocket")
CUTS = 5_000
# Readers that come again a hundred times a second: each line is seen to be left within a second.
CROWD = {
    "GATEWAY_THREADS": "700",
    "GATEWAY_MAX_STREAMS": "512",
    "GATEWAY_MAX_SESSION_STREAMS": "5000",
    "GATEWAY_MAX_TENANT_STREAMS": "5000",
}
WORDS = ("Once ", "upon é\U0001f600\n", "a time.")
PAUSE_SECONDS = 0.25
tally: Counter[str] = Counter()


@pytest.fixture(scope="module")
def gateway(servers: Stack) -> Iterator[Gateway]:
    running = Gateway(servers.environment, **CROWD).start()
    yield running
    running.stop()


def ever(condition: Callable[[], bool], reader: CutReader, cut_at: Sequence[CutAt]) -> None:
    """Take up the line until it is so; each time it is cut at the next place, and from the last place on there."""
    for place in itertools.chain(cut_at, itertools.repeat(cut_at[-1])):
        try:
            reader.follow(place, condition)
        except ConnectionError:
            # Refused, because the machine is busy: come again.
            slowly()
        if condition():
            return
        assert len(reader.cuts) < 1000, "it does not get on"


@dataclass(frozen=True)
class Stand:
    """A session that stands still, where a reader of it begins, and when that reader has heard all there is."""

    session_id: str
    heard_all: Callable[[Reader], bool]
    cursor: str = ""
    reader: Reader = field(default_factory=Reader)

    def reader_on(self, gateway: Gateway, door: str) -> CutReader:
        return CutReader(gateway, self.session_id, door, self.reader.copy(), self.cursor)


def cut_at_every_byte(gateway: Gateway, door: str, stand: Stand) -> Counter[tuple[str, int]]:
    """One reader who is cut at every byte of the head, and one for each number of bytes, who is cut so far into every
    item that is long enough. They all hear what an unbroken one hears.
    """
    unbroken = stand.reader_on(gateway, door)
    unbroken.follow(never, lambda: stand.heard_all(unbroken.reader))
    head, *items = unbroken.spans
    ways = [[after_item(0, count), after_item(1, count)] for count in range(max(items))]
    ways.append([*(at_byte(count) for count in range(head)), never])

    def follow(cut_at: Sequence[CutAt]) -> list[tuple[str, int]]:
        cut = stand.reader_on(gateway, door)
        ever(lambda: stand.heard_all(cut.reader), cut, cut_at)
        assert vars(cut.reader) == vars(unbroken.reader)
        return cut.cuts

    with ThreadPoolExecutor(4) as crowd:
        cuts = Counter(itertools.chain.from_iterable(crowd.map(follow, ways)))
    assert {count for cursor, count in cuts if cursor == stand.cursor} == set(range(max(head, items[0])))
    tally[door] += cuts.total()
    assert cuts.total() >= head + sum(items), "a byte was left out"
    return cuts


@pytest.mark.parametrize("door", DOORS)
def test_a_finished_session_is_the_same_wherever_its_line_is_cut(
    gateway: Gateway, answerer: Answerer, door: str
) -> None:
    receipt = gateway.say("tell me \U0001f600")
    assert answerer.answer(receipt["event_id"], *WORDS) == "done"
    stand = Stand(receipt["session_id"], lambda reader: bool(reader.ends))

    cut_at_every_byte(gateway, door, stand)

    whole = CutReader(gateway, stand.session_id, door)
    whole.follow(never, lambda: bool(whole.reader.ends))
    assert whole.reader.seqs == [1, 2, 3, 4]
    assert whole.reader.ends[0]["message"] == "".join(WORDS)


class Pause:
    """A place in an answer: who gives it waits there until it may go on."""

    def __init__(self) -> None:
        self.reached, self._on = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self._on.wait(240), "nobody let it go on"

    @contextmanager
    def held(self) -> Iterator[None]:
        """While the block runs, the answer stands still here."""
        assert self.reached.wait(60), "the answer did not get so far"
        try:
            yield
        finally:
            self._on.set()


def slowly() -> None:
    """A moment later."""
    threading.Event().wait(PAUSE_SECONDS)


def breaking_off() -> ModelUnavailable:
    """The model fails; the next attempt is due at once."""
    return ModelUnavailable("the model went away", 0.01)


@pytest.mark.parametrize("door", DOORS)
def test_a_running_answer_is_the_same_wherever_its_line_is_cut(gateway: Gateway, answerer: Answerer, door: str) -> None:
    """Its reader left in the middle of an attempt that is over."""
    receipt = gateway.say("tell me")
    event_id, begun, pause = receipt["event_id"], Reader(), Pause()
    assert answerer.answer(event_id, "Once", breaking_off()) == "postponed"
    begun.seqs, begun.text, begun.running = [1, 2, 3], "Once", True
    said = "".join(WORDS)
    stand = Stand(receipt["session_id"], lambda reader: reader.text == said, "3.1.4", begun)

    def kept() -> None:
        eventually(lambda: answerer.kept_text(stand.session_id) == said)

    with ThreadPoolExecutor(1) as worker:
        answer = worker.submit(attempts, answerer, event_id, [*WORDS, kept, pause])
        with pause.held():
            cut_at_every_byte(gateway, door, stand)
            for seen in range(1, len(said)):
                resume_inside(gateway, door, stand.session_id, said, seen)
        assert answer.result() == "done"


def resume_inside(gateway: Gateway, door: str, session_id: str, said: str, seen: int) -> None:
    """A reader who knows so many characters of the running answer hears exactly the others."""
    known = Reader()
    known.seqs, known.text, known.running = [1, 2, 3, 4], said[:seen], True
    reader = CutReader(gateway, session_id, door, known, f"4.2.{seen}")
    ever(lambda: known.text == said, reader, [after_item(0, seen), never])


def attempts(answerer: Answerer, event_id: str, *scripts: Sequence[Step]) -> str:
    """Answer this message once for each script, as soon as it is due; what became of it in the end."""
    return [eventually(partial(attempt, answerer, event_id, script)) for script in scripts][-1]


def attempt(answerer: Answerer, event_id: str, script: Sequence[Step]) -> str:
    outcome = answerer.answer(event_id, *script)
    return "" if outcome == "nothing to do" else outcome


@contextmanager
def audience(gateway: Gateway, session_id: str, lengths: Sequence[int]) -> Iterator[list[CutReader]]:
    """Readers on both doors whose lines are cut all the time, until the answer has ended for each of them."""
    readers, over = [CutReader(gateway, session_id, door) for door in DOORS * 2], threading.Event()
    with ThreadPoolExecutor(len(readers)) as crowd:
        reading = [crowd.submit(read_on, reader, lengths[n:] + lengths[:n], over) for n, reader in enumerate(readers)]
        try:
            yield readers
            assert [each.result(60) for each in reading]
        finally:
            over.set()


def read_on(reader: CutReader, lengths: Sequence[int], over: threading.Event) -> None:
    """The last way to cut lets enough through to get on with."""
    ways = [*(at_byte(length) if length % 5 == 0 else after_item(0, length) for length in lengths), after_item(1, 99)]
    for way in itertools.cycle(ways):
        if reader.reader.ends or over.is_set():
            return
        try:
            reader.follow(way, lambda: bool(reader.reader.ends))
        except OSError:
            over.wait(0.05)


def heard_by(readers: list[CutReader], text: str) -> Callable[[], object]:
    """A step of an answer: it goes on when the joined text of every reader is exactly this."""
    return lambda: eventually(lambda: all(reader.reader.text == text for reader in readers), 60)


def assert_heard(readers: list[CutReader], answer: str) -> None:
    for reader in readers:
        tally["live"] += len(reader.cuts)
        assert [end["message"] for end in reader.reader.ends] == [answer]
        assert reader.reader.seqs == list(range(1, len(reader.reader.seqs) + 1))


_pieces = st.lists(st.text("ab é\U0001f600\n", min_size=1, max_size=6), min_size=2, max_size=5)


@given(
    tries=st.lists(_pieces, min_size=1, max_size=3),
    lengths=st.lists(st.integers(0, 900), min_size=4, max_size=12),
    flushed_after=st.integers(0, 4),
)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_live_answer_joins_to_what_was_said(
    gateway: Gateway, answerer: Answerer, servers: Stack, tries: list[list[str]], lengths: list[int], flushed_after: int
) -> None:
    receipt = gateway.say("tell me")
    *earlier, last = tries
    with audience(gateway, receipt["session_id"], lengths) as readers:
        script: list[Step] = [*last[:-1], slowly, last[-1], heard_by(readers, "".join(last))]
        script.insert(min(flushed_after, len(last) - 1), connect(servers.environment["REDIS_URL"]).flushall)
        broken = [[*pieces, breaking_off()] for pieces in earlier]
        assert attempts(answerer, receipt["event_id"], *broken, script) == "done"

    assert_heard(readers, "".join(last))


def test_a_live_answer_outlives_gateways_that_are_killed(gateway: Gateway, answerer: Answerer, servers: Stack) -> None:
    receipt = gateway.say("tell me")
    flush = connect(servers.environment["REDIS_URL"]).flushall
    said = ["One ", "é", "\U0001f600 ", "two ", "three"]
    with audience(gateway, receipt["session_id"], [450, 800, 30, 1200, 5, 611]) as readers:
        first = [*said, gateway.kill_and_start, "lost", breaking_off()]
        second = [said[0], gateway.kill_and_start, *said[1:3], flush, said[3], slowly, said[4]]
        second.append(heard_by(readers, "".join(said)))
        assert attempts(answerer, receipt["event_id"], first, second) == "done"

    assert_heard(readers, "".join(said))


def test_the_lines_were_cut_five_thousand_times_and_more(record_property: Callable[[str, object], None]) -> None:
    record_property("cuts", dict(tally))
    assert tally.total() >= CUTS, tally
