"""The drills' judge must be able to say no: each way of breaking a promise makes it fail, and only there."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from drills.checker import figures, judge
from drills.faults import BrainDown
from drills.invariants import impolite
from drills.model_peer import answer_to
from drills.record import Event, Evidence, Kept, Record, Sample, Turn, Window
from drills.recorder import Message, Outcome

BROKEN_AT, HEALED_AT = 100.0, 140.0
Spoil = Callable[[Record], Record]


def a_sample(at: float, backlog: int = 0, **other: object) -> Sample:
    during = BROKEN_AT <= at < HEALED_AT
    usual = Sample(
        at=at,
        healthy=not during,
        backlog=backlog,
        metric_backlog=float(backlog),
        felt=during,
        shown=during,
        accepted=0,
        replica_rows=int(at),
        offsets=int(at),
    )
    return replace(usual, **other)  # type: ignore[arg-type]


def a_message(number: int) -> Message:
    sent = 90.0 + 10 * number
    told = Outcome("ok", at=sent + 0.02, seconds=0.02, status=200, event_id=f"u{number}")
    return Message(f"k{number}", "s1", f"m{number:06d} hello", [sent], [told])


def a_kept_promise() -> Record:
    """Six messages in one session, sent from before the fault until after it, all answered and all remembered."""
    numbers = range(6)
    messages = tuple(a_message(number) for number in numbers)
    events: list[Event] = []
    for number, message in zip(numbers, messages, strict=True):
        at = message.sent_at[0]
        events.append(Event("s1", 2 * number + 1, f"u{number}", "user", message.text, at))
        events.append(Event("s1", 2 * number + 2, f"a{number}", "assistant.final", answer_to(message.text), at + 1))
    kept = tuple(Kept(event.event_id, event.text) for event in events)
    return Record(
        messages=messages,
        events=tuple(events),
        turns=tuple(Turn(f"u{number}", "s1", 2 * number + 1, "done", 1) for number in numbers),
        brain=kept,
        wal=kept,
        replica=kept,
        dead_letters=0,
        samples=(a_sample(95), a_sample(105, 2), a_sample(125, 6), a_sample(139, 8), a_sample(145, 0)),
        window=Window(BROKEN_AT, HEALED_AT, drained_at=146.0, patience_seconds=60),
    )


def broken(record: Record) -> set[str]:
    return {verdict.id for verdict in judge(record, BrainDown()) if not verdict.kept}


def test_a_kept_promise_passes_with_its_figures() -> None:
    record = a_kept_promise()

    told = figures(record)

    assert broken(record) == set()
    assert (told["accepted"], told["answered"], told["lost"], told["doubled"]) == (6, 6, 0, 0)
    assert told["memories expected"] == 12
    assert told["seconds to drain the backlog"] == 5.0
    assert told["message to answer p99 during the fault, s"] == 1.0


def changed(record: Record, field: str, entries: tuple[Any, ...]) -> Record:
    """The record with other entries in one of its stores."""
    stores: dict[str, Any] = {field: entries}
    return replace(record, **stores)


def without(field: str, place: int) -> Spoil:
    """The record with one entry missing from a store."""

    def spoil(record: Record) -> Record:
        kept = getattr(record, field)
        return changed(record, field, kept[:place] + kept[place + 1 :])

    return spoil


def twice(field: str, place: int) -> Spoil:
    """The record with one entry there twice."""
    return lambda record: changed(record, field, (*getattr(record, field), getattr(record, field)[place]))


def swapped(first: int, second: int) -> Spoil:
    """The record with two events of the session in each other's place."""

    def spoil(record: Record) -> Record:
        events = list(record.events)
        one, other = events[first], events[second]
        events[first], events[second] = replace(other, seq=one.seq), replace(one, seq=other.seq)
        return replace(record, events=tuple(events))

    return spoil


def with_samples(**other: object) -> Spoil:
    """The record with every sample changed in the same way."""
    return lambda record: replace(
        record,
        samples=tuple(replace(sample, **other) for sample in record.samples),  # type: ignore[arg-type]
    )


def with_outcomes(*outcomes: Outcome) -> Spoil:
    """The record with the second message answered like this, all the rest being as it was."""

    def spoil(record: Record) -> Record:
        first, second, *rest = record.messages
        second = Message(second.key, second.session_id, second.text, second.sent_at * len(outcomes), list(outcomes))
        return replace(record, messages=(first, second, *rest))

    return spoil


def with_other_text(field: str) -> Spoil:
    """The record with a memory whose text is not what was said."""

    def spoil(record: Record) -> Record:
        first, *rest = getattr(record, field)
        return changed(record, field, (replace(first, text="other"), *rest))

    return spoil


def with_effects(record: Record) -> Record:
    return replace(record, brain=(replace(record.brain[0], writes=2), *record.brain[1:]))


def with_running_turn(record: Record) -> Record:
    return replace(record, turns=(replace(record.turns[0], state="running"), *record.turns[1:]))


def with_stranger(record: Record) -> Record:
    return replace(record, events=(*record.events, Event("s1", 13, "x", "user", "who am I", 145.0)))


def with_error_answer(record: Record) -> Record:
    ended = replace(record.events[1], type="assistant.error", text="the model is away")
    return replace(record, events=(record.events[0], ended, *record.events[2:]))


def with_cut_answer(record: Record) -> Record:
    cut = replace(record.events[1], text=record.events[1].text.removesuffix(" kept."))
    return replace(record, events=(record.events[0], cut, *record.events[2:]))


def with_shrunken_replica(record: Record) -> Record:
    return replace(record, samples=(*record.samples, a_sample(146, replica_rows=3)))


def without_answers_after_healing(record: Record) -> Record:
    return replace(record, events=tuple(event for event in record.events if event.at < HEALED_AT))


def never_drained(record: Record) -> Record:
    return replace(record, window=replace(record.window, drained_at=None))


OK = Outcome("ok", 100.1, 0.1, 200, "u1")
REFUSED = Outcome("fail", 100.1, 0.1, 503, None, retry_after=True)

CASES: dict[str, tuple[Spoil, str]] = {
    "a dropped row": (without("events", 0), "I1"),
    "a dropped turn": (without("turns", 2), "I1"),
    "a dropped answer": (without("events", 11), "I1"),
    "a turn that never ended": (with_running_turn, "I1"),
    "an answer that is an error": (with_error_answer, "I1"),
    "a row that nobody sent": (with_stranger, "I2"),
    "a refused message that exists": (with_outcomes(REFUSED), "I2"),
    "two swapped messages": (swapped(0, 2), "I3"),
    "two swapped answers": (swapped(1, 3), "I3"),
    "an answer before its message": (swapped(0, 1), "I3"),
    "a hole in seq": (without("events", 4), "I3"),
    "a doubled effect": (with_effects, "I4"),
    "a doubled memory": (twice("brain", 3), "I4"),
    "a doubled row of the replica": (twice("replica", 3), "I4"),
    "a doubled turn": (twice("turns", 3), "I4"),
    "a doubled answer": (twice("events", 3), "I4"),
    "two ids for one key": (with_outcomes(OK, replace(OK, event_id="u1b")), "I4"),
    "a memory missing from SomaBrain": (without("brain", 7), "I5"),
    "a memory missing from the log": (without("wal", 7), "I5"),
    "a memory missing from the replica": (without("replica", 7), "I5"),
    "other text in SomaBrain": (with_other_text("brain"), "I5"),
    "other text in the replica": (with_other_text("replica"), "I5"),
    "a message with other text": (with_other_text("events"), "I2"),
    "an answer with a word missing": (with_cut_answer, "I7"),
    "a replica that shrank": (with_shrunken_replica, "I6"),
    "a slow POST": (with_outcomes(replace(OK, at=106.0, seconds=6.0)), "I8"),
    "an internal error": (with_outcomes(Outcome("fail", 100.1, 0.1, 500), OK), "I8"),
    "a 503 that does not say when": (with_outcomes(replace(REFUSED, retry_after=False), OK), "I8"),
    "no answer after healing": (without_answers_after_healing, "I9"),
    "work that stays owed": (never_drained, "I9"),
    "a fault that health hides": (with_samples(shown=False), "I11"),
    "an unplanted dead letter": (lambda record: replace(record, dead_letters=1), "I11"),
    "a proof that finds something": (lambda record: replace(record, proof=("1 missing in brain",)), "P"),
    "a fault that was not felt": (with_samples(felt=False), "F"),
    "a fault that was there before": (with_samples(felt=True), "F"),
    "a fault that nobody looked at": (lambda record: replace(record, samples=()), "F"),
    "a backlog that did not rise": (with_samples(backlog=0), "M"),
}


@pytest.mark.parametrize(("spoil", "expected"), CASES.values(), ids=CASES.keys())
def test_a_broken_promise_fails_where_it_was_broken(spoil: Spoil, expected: str) -> None:
    assert expected in broken(spoil(a_kept_promise()))


def test_a_memory_missing_everywhere_is_lost_once() -> None:
    record = without("brain", 7)(without("wal", 7)(without("replica", 7)(a_kept_promise())))

    assert figures(record)["lost"] == 1


def test_a_polite_refusal_that_was_tried_again_is_no_fault() -> None:
    assert broken(with_outcomes(REFUSED, replace(OK, seconds=0.5))(a_kept_promise())) == set()


def test_a_message_without_an_answer_to_the_client_may_exist() -> None:
    unknown = Outcome("unknown", 100.1, 0.1)

    assert "I2" not in broken(with_outcomes(unknown)(a_kept_promise()))


def test_a_repeated_record_on_the_log_is_a_figure_and_no_fault() -> None:
    record = twice("wal", 3)(a_kept_promise())

    assert broken(record) == set()
    assert figures(record)["repeated records on the log (harmless)"] == 1


def with_posts(number: int, seconds: float) -> Record:
    """So many POSTs during a fault that does not lie on their way."""
    record = with_outcomes(*[replace(OK, at=101.0, seconds=seconds)] * number)(a_kept_promise())
    return replace(record, evidence=Evidence(1, 1, beside_posts=True))


@pytest.mark.parametrize(("seconds", "kept"), [(0.09, True), (0.11, False)])
def test_a_fault_beside_the_way_of_a_post_may_make_it_twice_as_slow_as_the_calm(seconds: float, kept: bool) -> None:
    record = with_posts(100, seconds)

    assert bool(impolite(record)) is not kept
    assert not impolite(replace(record, evidence=Evidence(1, 1, beside_posts=False)))


def test_a_handful_of_posts_has_no_ninety_ninth_percentile() -> None:
    assert not impolite(with_posts(90, 0.11))


def test_the_calm_of_the_whole_campaign_says_how_quick_a_post_is() -> None:
    record = with_posts(100, 0.11)

    assert impolite(record)
    assert not impolite(replace(record, calm_posts=(0.02,) * 90 + (0.06,) * 10))
