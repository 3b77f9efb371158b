"""Dead letters on their way back: a person has removed the cause, or corrects the records, and sends them again.

A request takes a bounded batch and is all or nothing: if one of its letters would be poison again, none is replayed.
What is replayed is owed to the log in the same transaction, so no kill loses it and no second request repeats it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.domain.audit import Actor, AuditEntry
from app.domain.dead_letters import Choice, DeadLetter, Replay, StillPoison, Unfit, against_replica, examine
from app.domain.desk_ports import DeadLetters
from app.domain.errors import Conflict, NotFound
from app.domain.merge_patch import touched
from app.domain.ports import Clock, Doorbell
from app.routing import TaskName

BATCH = 500
_DISCARD_BATCH = 2_000
_DISCARD_SECONDS = 5.0
_BATCH_BYTES = 8 * 1_048_576


@dataclass(frozen=True, slots=True)
class LetterDesk:
    """What dealing with dead letters needs. `own_topic` is known before its first letter comes."""

    letters: DeadLetters
    doorbell: Doorbell
    clock: Clock
    own_topic: str
    batch: int = BATCH
    batch_bytes: int = _BATCH_BYTES


@dataclass(frozen=True, slots=True)
class Wish:
    """How to replay: after which correction, only to see what would happen, how many in a second."""

    patch: Mapping[str, Any] | None = None
    dry_run: bool = False
    per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was replayed, or would be. `skipped` were settled already; `remaining` open ones come after `last_id`."""

    replayed: tuple[Replay, ...]
    unfit: tuple[Unfit, ...]
    skipped: tuple[int, ...]
    remaining: int
    last_id: int


def check_topic(topic: str, desk: LetterDesk) -> None:
    """Raise `NotFound` for a topic that never had a letter and is not ours."""
    if topic != desk.own_topic and not desk.letters.knows(topic):
        raise NotFound("there is no such topic; GET /v1/admin/dlq lists those with dead letters")


def replay_letter(topic: str, letter_id: int, wish: Wish, desk: LetterDesk, actor: Actor) -> Outcome:
    """Replay one letter; `Conflict` when somebody dealt with it already."""
    choice = Choice(topic, ids=(letter_id,))
    outcome = replay_letters(choice, wish, desk, actor)
    if outcome.skipped:
        state = desk.letters.states(topic, [letter_id]).get(letter_id, "gone")
        raise Conflict(f"this letter is {state} already")
    return outcome


def replay_letters(choice: Choice, wish: Wish, desk: LetterDesk, actor: Actor) -> Outcome:
    """Replay the first batch of the chosen letters; `StillPoison` says which of them hinder it, and where."""
    check_topic(choice.topic, desk)
    letters = desk.letters.take_open(choice, desk.batch, desk.batch_bytes)
    settled = _settled(choice, {letter.id for letter in letters}, desk)
    fit, unfit = _judge(letters, wish, desk)
    done, late = (fit, []) if wish.dry_run else _send(choice, fit, unfit, wish, desk, actor)
    last_id = letters[-1].id if letters else choice.after
    remaining = desk.letters.count_open(replace(choice, after=last_id)) if letters else 0
    return Outcome(tuple(done), tuple(unfit), (*settled, *late), remaining, last_id)


def _settled(choice: Choice, taken: set[int], desk: LetterDesk) -> list[int]:
    # Asked after the letters were taken: whatever was settled in between is among these, or comes too late below.
    if choice.ids is None:
        return []
    states = desk.letters.states(choice.topic, choice.ids)
    unknown = [str(letter_id) for letter_id in choice.ids if letter_id not in states]
    if unknown:
        raise NotFound(f"there is no letter {', '.join(unknown[:10])} in this topic; nothing was replayed")
    return sorted(letter_id for letter_id, state in states.items() if state != "open" and letter_id not in taken)


def _judge(letters: list[DeadLetter], wish: Wish, desk: LetterDesk) -> tuple[list[Replay], list[Unfit]]:
    readable, unreadable = examine(letters, wish.patch, desk.clock.now().timestamp())
    stored = desk.letters.versions([replay.row.event_id for replay in readable])
    fit, refused = against_replica(readable, stored)
    return fit, sorted([*unreadable, *refused], key=lambda unfit: unfit.letter_id)


def _send(
    choice: Choice, fit: list[Replay], unfit: list[Unfit], wish: Wish, desk: LetterDesk, actor: Actor
) -> tuple[list[Replay], list[int]]:
    if unfit:
        raise StillPoison(unfit)
    if not fit:
        return [], []
    ours = set(desk.letters.replay(fit, wish.per_second, _entry("dlq.replay", choice, wish, actor)))
    if ours:
        desk.doorbell.ring(TaskName.DRAIN_OUTBOX)
    done = [replay for replay in fit if replay.letter_id in ours]
    return done, [replay.letter_id for replay in fit if replay.letter_id not in ours]


def _entry(action: str, choice: Choice, wish: Wish, actor: Actor) -> AuditEntry:
    detail: dict[str, Any] = {"fingerprint": choice.fingerprint, "per_second": wish.per_second}
    if wish.patch is not None:
        detail["patched"] = sorted(touched(wish.patch))
    return AuditEntry(actor, action, choice.topic, {name: value for name, value in detail.items() if value is not None})


def discard_letters(choice: Choice, desk: LetterDesk, actor: Actor) -> tuple[int, int]:
    """Discard what is chosen and was there when this began; how many that were, and how many are left to ask for."""
    check_topic(choice.topic, desk)
    there = replace(choice, upto=desk.letters.newest_open(choice.topic))
    entry = _entry("dlq.discard", choice, Wish(), actor)
    discarded, until = 0, desk.clock.monotonic() + _DISCARD_SECONDS
    while desk.clock.monotonic() <= until:
        count = desk.letters.discard(there, _DISCARD_BATCH, entry)
        discarded += count
        if count < _DISCARD_BATCH:
            return discarded, 0
    return discarded, desk.letters.count_open(there)
