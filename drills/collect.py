"""Reading everything that exists after a drill into one `Record`; each store through its own door."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from drills import observe
from drills.faults import StackControl
from drills.load import Target
from drills.observe import Database
from drills.record import Record, Sample, Window
from drills.recorder import Message, read_journal
from drills.report import Timeline
from drills.system_proof import wrong_by_its_own_proof

T = TypeVar("T")

UNIVERSE = "drill"
NAMESPACE = "wm"


class Collector:
    """Reads for one tenant of one stack, and says how much it found."""

    def __init__(self, stack: StackControl, target: Target, database: Database, timeline: Timeline) -> None:
        self._stack = stack
        self._target = target
        self._database = database
        self._timeline = timeline

    def collect(self, journal: Path, samples: tuple[Sample, ...], window: Window) -> Record:
        """The evidence; what only some drills have is added by them."""
        messages = _messages(journal)
        tenant, gateway = self._target.tenant, self._target.gateway
        topic = self._stack.environment.get("MEMORY_WAL_TOPIC", "memory.wal")
        kafka = self._stack.environment["KAFKA_BOOTSTRAP_SERVERS"]
        read = self._reading
        return Record(
            messages=messages,
            events=read("events", lambda: observe.session_events(gateway, {m.session_id for m in messages})),
            turns=read("turns", self._database.turns),
            brain=read("brain", lambda: observe.brain_memories(self._stack.url("brain"), tenant, NAMESPACE, UNIVERSE)),
            wal=read("wal", lambda: observe.wal_records(kafka, topic, tenant)),
            replica=read("replica", lambda: observe.replica_memories(gateway, tenant)),
            dead_letters=self._database.dead_letters(),
            samples=samples,
            window=window,
            proof=read(
                "the system's own proof", lambda: wrong_by_its_own_proof(gateway, tenant, window.patience_seconds)
            ),
        )

    def _reading(self, store: str, read: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
        found = read()
        self._timeline.say("read", f"{len(found)} from {store}")
        return found


def _messages(journal: Path) -> tuple[Message, ...]:
    with journal.open(encoding="utf-8") as lines:
        return tuple(read_journal(lines))
