"""The promises, each as a function from a `Record` to the list of places where it was broken.

The numbers are those of the campaign's table (I1 to I11), F and P are ours. A list that is empty means that the promise
was kept; the entries are sentences with the ids to look for.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise

from drills.attempts import revenants
from drills.growth import growth
from drills.model_peer import answer_to
from drills.record import TERMINAL_STATES, TERMINAL_TYPES, Event, Kept, Record, mark_of
from drills.transcripts import broken_streams

POST_P99_SECONDS = 2.5
POST_MAX_SECONDS = 5.0
CALM_FACTOR = 2.0
ENOUGH_POSTS = 100
"""The 99th percentile of fewer is one POST, and says nothing about the others."""
LEAST_CALM_SECONDS = 0.05
"""A calm p99 below this counts as this: one turn of another process on a busy processor is as long."""
FIRST_ANSWER_SECONDS = 15.0
SHOWN_WITHIN_SECONDS = 10.0
Problems = list[str]


def unanswered(record: Record) -> Problems:
    """I1: accepted messages without a row, or without a turn that ended."""
    rows = {event.event_id for event in record.events if event.type == "user"}
    ended = {turn.event_id for turn in record.turns if turn.state in TERMINAL_STATES}
    answered = {mark_of(event.text) for event in record.finals}
    missing: Problems = []
    for message in record.accepted:
        ids = message.event_ids
        if not ids & rows:
            missing.append(f"accepted message {message.key} has no event")
        elif not ids & ended:
            missing.append(f"accepted message {message.key} has no turn that ended")
        elif mark_of(message.text) not in answered:
            missing.append(f"accepted message {message.key} has no complete answer")
    return missing


def strangers(record: Record) -> Problems:
    """I2: rows that no client sent, and messages that were refused and exist all the same."""
    sent = {message.text: message for message in record.messages}
    problems: Problems = []
    for event in record.events:
        if event.type != "user":
            continue
        message = sent.get(event.text)
        if message is None or message.session_id != event.session_id:
            problems.append(f"event {event.event_id} was sent by no client")
        elif message.refused:
            problems.append(f"message {message.key} was refused and exists as {event.event_id}")
    return problems


def disorder(record: Record) -> Problems:
    """I3: gaps in a session's `seq`; messages, answers or the attempts of a turn not in their order."""
    order = {message.text: place for place, message in enumerate(record.messages)}
    problems: Problems = []
    for session_id, events in record.sessions().items():
        problems += _gaps(session_id, events)
        asked = [event for event in events if event.type == "user"]
        places = [order.get(event.text, -1) for event in asked]
        problems += _inversions(f"messages of session {session_id}", places)
        rank = {mark_of(event.text): place for place, event in enumerate(asked)}
        answers = [rank.get(mark_of(event.text), -1) for event in events if event.type == "assistant.final"]
        problems += _inversions(f"answers of session {session_id}", answers) + _premature(events) + revenants(events)
    beside = sum(sample.side_by_side for sample in record.samples)
    return problems + ([f"two turns of one session ran side by side in {beside} samples"] if beside else [])


def _premature(events: list[Event]) -> Problems:
    asked: set[str] = set()
    problems: Problems = []
    for event in events:
        if event.type == "user":
            asked.add(mark_of(event.text))
        elif event.type == "assistant.final" and mark_of(event.text) not in asked:
            problems.append(f"answer {event.event_id} stands before its message")
    return problems


def _gaps(session_id: str, events: list[Event]) -> Problems:
    expected = range(1, len(events) + 1)
    wrong = [(want, event.seq) for want, event in zip(expected, events, strict=True) if event.seq != want]
    return [f"session {session_id}: seq {got} where {want} belongs" for want, got in wrong[:1]]


def _inversions(what: str, places: list[int]) -> Problems:
    return [f"{what}: number {after} comes after {before}" for before, after in pairwise(places) if after < before]


def doubled(record: Record) -> Problems:
    """I4: more than one effect of one thing: ids per key, rows, turns, answers, memories, replica rows."""
    problems = [f"key {m.key} was given the ids {sorted(m.event_ids)}" for m in record.messages if len(m.event_ids) > 1]
    users = [event for event in record.events if event.type == "user"]
    problems += _repeats("message", (event.text for event in users))
    problems += _repeats("answer to", (mark_of(event.text) for event in record.finals))
    problems += _repeats("turn", (turn.event_id for turn in record.turns))
    problems += _repeats("memory in SomaBrain", (kept.event_id for kept in record.brain))
    problems += _repeats("row in the replica", (kept.event_id for kept in record.replica))
    problems += [f"memory {m.event_id} took effect {m.writes} times" for m in record.brain if m.writes > 1]
    return problems + _endings(record)


def _repeats(what: str, names: Iterable[str]) -> Problems:
    return [f"{what} {name}: {times} times" for name, times in Counter(names).items() if times > 1]


def _endings(record: Record) -> Problems:
    problems: Problems = []
    for session_id, events in record.sessions().items():
        asked = sum(event.type == "user" for event in events)
        ended = sum(event.type in TERMINAL_TYPES for event in events)
        if ended > asked:
            problems.append(f"session {session_id}: {asked} messages and {ended} endings")
    return problems


def lost(record: Record) -> Problems:
    """I5: accepted memories missing from SomaBrain, from `memory.wal` or from the replica, or kept with other text."""
    expected = record.expected_memories()
    return [problem for name, kept in record.stores().items() for problem in _absent(expected, name, kept)]


def _absent(expected: dict[str, str], store: str, kept: tuple[Kept, ...]) -> Problems:
    found = {memory.event_id: memory.text for memory in kept}
    missing = [f"memory {name} is not in {store}" for name in expected if name not in found]
    other = [name for name, text in expected.items() if name in found and found[name] != text]
    return missing + [f"memory {name} has other text in {store}" for name in other]


def backwards(record: Record) -> Problems:
    """I6: replica rows or offsets that went back while the drill was watching."""
    rows = [sample.replica_rows for sample in record.samples if sample.replica_rows is not None]
    offsets = [sample.offsets for sample in record.samples if sample.offsets is not None]
    return _inversions("rows in the replica", rows) + _inversions("offsets of the replicator", offsets)


def garbled(record: Record) -> Problems:
    """I7: answers that are not to the letter what the scripted model says, and streams with gaps or other text."""
    said = {mark_of(message.text): answer_to(message.text) for message in record.messages}
    wrong = [event.event_id for event in record.finals if event.text != said.get(mark_of(event.text))]
    return [f"answer {event_id} is not what the model said" for event_id in wrong] + broken_streams(record)


def impolite(record: Record) -> Problems:
    """I8: slow acceptance during the fault, absolutely and, for a fault beside its way, against the calm; and answers
    other than 2xx, 409, 429 or 503 with `Retry-After`.
    """
    waits = post_seconds(record, record.window.covers)
    calm = max(percentile(record.calm_posts or post_seconds(record, record.window.before), 99), LEAST_CALM_SECONDS)
    beside = record.evidence is not None and record.evidence.beside_posts and len(waits) >= ENOUGH_POSTS
    problems = [
        f"POST {name} was {value:.3g} s during the fault, at most {limit:.3g} s is promised"
        for name, value, limit in (
            ("p99", percentile(waits, 99), min(POST_P99_SECONDS, CALM_FACTOR * calm) if beside else POST_P99_SECONDS),
            ("maximum", max(waits, default=0.0), POST_MAX_SECONDS),
        )
        if value > limit
    ]
    for message in record.messages:
        for outcome in message.outcomes:
            allowed = outcome.status in (409, 429) or (outcome.status == 503 and outcome.retry_after)
            if outcome.kind == "fail" and not allowed:
                problems.append(f"message {message.key} was answered {outcome.status}")
    return problems


def post_seconds(record: Record, when: Callable[[float], bool]) -> list[float]:
    """How long each POST that was sent at these times took to be answered."""
    outcomes = (outcome for message in record.messages for outcome in message.outcomes)
    return [outcome.seconds for outcome in outcomes if when(outcome.at - outcome.seconds)]


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that is not exceeded by this share of the values; 0 when there are none."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * int(percent * 10) // 1000) - 1)] if ranked else 0.0


def slow_return(record: Record) -> Problems:
    """I9: no new answer soon after the healing, or work still owed when patience ended."""
    window = record.window
    after = [event.at for event in record.finals if event.at >= window.healed_at]
    first = min(after, default=float("inf")) - window.healed_at
    problems: Problems = []
    if first > FIRST_ANSWER_SECONDS:
        problems.append(f"the first new answer came {first:.1f} s after the healing")
    if window.drained_at is None:
        problems.append(f"work was still owed {window.patience_seconds:.0f} s after the healing")
    return problems


def unseen(record: Record) -> Problems:
    """I11: the fault did not show in `/v1/health` in time, or there are dead letters that nobody planted."""
    shown = [sample.at for sample in record.during if sample.shown]
    delay = min(shown, default=float("inf")) - record.window.broken_at
    problems: Problems = []
    if delay > SHOWN_WITHIN_SECONDS and (record.evidence is None or record.evidence.shows):
        problems.append(f"/v1/health did not show the fault within {SHOWN_WITHIN_SECONDS:.0f} s")
    if record.dead_letters != record.planted:
        problems.append(f"{record.dead_letters} dead letters, {record.planted} were planted")
    return problems


def disproved(record: Record) -> Problems:
    """P: the system's own proof finds memories missing, strange or altered, or does not come to an end."""
    return list(record.proof)


def not_felt(record: Record) -> Problems:
    """F: a drill whose fault was not there proves nothing."""
    if (evidence := record.evidence) is not None:
        few = evidence.felt < evidence.needed
        return [f"the fault was felt {evidence.felt} times of {evidence.needed}"] if few else []
    during = record.during
    absent = sum(not sample.felt for sample in during)
    early = sum(sample.felt for sample in record.samples if sample.at < record.window.broken_at)
    problems = [] if during else ["nothing was measured during the fault"]
    if absent:
        problems.append(f"the probe did not feel the fault in {absent} of {len(during)} samples")
    if early:
        problems.append(f"the probe felt the fault {early} times before it was there")
    return problems


INVARIANTS: tuple[tuple[str, str, Callable[[Record], Problems]], ...] = (
    ("F", "the fault was felt", not_felt),
    ("I1", "accepted, but without a row or an answer", unanswered),
    ("I2", "sent by no client, or refused and there", strangers),
    ("I3", "order inversions", disorder),
    ("I4", "doubled effects", doubled),
    ("I5", "memories missing from SomaBrain, log or replica", lost),
    ("I6", "replica or offsets went back", backwards),
    ("I7", "answers or streams that are not what was said", garbled),
    ("I8", "slow or impolite answers to POST", impolite),
    ("I9", "slow to return after healing", slow_return),
    ("I10", "threads, files, connections, memory that stay", growth),
    ("I11", "unseen fault, unplanted dead letters", unseen),
    ("P", "what the system's own proof finds wrong", disproved),
)
