"""The judge: every promise over one `Record`, and the figures that people ask for.

Independent by construction: it reads what clients wrote down and what the stores hold, and imports nothing of the
product. It has tests of its own; a checker that cannot fail proves nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drills.faults import Fault
from drills.invariants import INVARIANTS, doubled, percentile, post_seconds, unanswered
from drills.record import Record, mark_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise and the places where it was broken."""

    id: str
    title: str
    problems: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether the promise was kept everywhere."""
        return not self.problems


def judge(record: Record, fault: Fault) -> list[Verdict]:
    """Every verdict over this record; the drill passes when all are kept."""
    verdicts = [Verdict(name, title, tuple(rule(record))) for name, title, rule in INVARIANTS]
    return [*verdicts, Verdict("M", f"marks of the fault: {fault.title}", tuple(fault.marks(record)))]


def figures(record: Record) -> Mapping[str, float | int | None]:
    """The numbers of a drill; seconds are rounded to milliseconds, percentiles are over the fault's duration."""
    window = record.window
    shown = [sample.at for sample in record.during if sample.shown]
    return {
        "messages sent": len(record.messages),
        "attempts": sum(len(message.sent_at) for message in record.messages),
        "accepted": len(record.accepted),
        "accepted during the fault": sum(window.covers(message.sent_at[0]) for message in record.accepted),
        "answered": len({mark_of(event.text) for event in record.finals}),
        "memories expected": len(record.expected_memories()),
        "lost": len(unanswered(record)) + len(missing_memories(record)),
        "doubled": len(doubled(record)),
        "repeated records on the log (harmless)": _repeated(record),
        **_speed("before the fault", post_seconds(record, window.before), answer_seconds(record, window.before)),
        **_speed("during the fault", post_seconds(record, window.covers), answer_seconds(record, window.covers)),
        "backlog at its highest": max((sample.backlog or 0 for sample in record.samples), default=0),
        "fault shown in /v1/health after, s": _since(window.broken_at, min(shown, default=None)),
        "seconds to drain the backlog": drain_seconds(record),
        "seconds until nothing was owed (load went on)": _since(window.healed_at, window.drained_at),
    }


def _speed(when: str, posts: list[float], answers: list[float]) -> dict[str, float]:
    """Acceptance as the client waited for it; answers from sending until they were durable."""
    return {
        f"POST p99 {when}, s": round(percentile(posts, 99), 3),
        f"message to answer p50 {when}, s": round(percentile(answers, 50), 3),
        f"message to answer p99 {when}, s": round(percentile(answers, 99), 3),
    }


def drain_seconds(record: Record) -> float | None:
    """From the healing until `memory_sync_backlog` was back where it had been before the fault; None: never."""
    window = record.window
    known = [(sample.at, sample.backlog) for sample in record.samples if sample.backlog is not None]
    calm = max((backlog for at, backlog in known if at < window.broken_at), default=0)
    back = [at for at, backlog in known if at >= window.healed_at and backlog <= calm]
    return _since(window.healed_at, min([*back, *filter(None, [window.drained_at])], default=None))


def _since(begin: float, end: float | None) -> float | None:
    return None if end is None else round(end - begin, 1)


def answer_seconds(record: Record, when: Callable[[float], bool]) -> list[float]:
    """From first sending to the durable answer, for the messages sent at these times."""
    answered = {mark_of(event.text): event.at for event in record.finals}
    asked = {mark_of(message.text): message.sent_at[0] for message in record.messages if when(message.sent_at[0])}
    return [answered[mark] - at for mark, at in asked.items() if mark in answered]


def missing_memories(record: Record) -> set[str]:
    """The memories that at least one of the three stores does not hold."""
    expected = set(record.expected_memories())
    return {name for kept in record.stores().values() for name in expected - {memory.event_id for memory in kept}}


def _repeated(record: Record) -> int:
    return sum(times - 1 for times in Counter((kept.event_id, kept.version) for kept in record.wal).values())
