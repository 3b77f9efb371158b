"""Judging what readers of streams were told: no gap, no repeat, and text that joins to the final answer.

A reader merges as the contract says: a delta continues at its offset, a reset forgets the text, an end of a turn
brings the whole. A reader that was away when the answer ended has a beginning of it, never anything else.
"""

from collections.abc import Iterable

from drills.record import TERMINAL_TYPES, Event, Item, Record, Transcript


def broken_streams(record: Record) -> list[str]:
    """Everything wrong in any transcript, held against the durable events of its session."""
    sessions = record.sessions()
    return [
        f"{transcript.kind} stream of {transcript.session_id}: {words}"
        for transcript in record.transcripts
        for words in [*breaks(transcript.items), *_differences(transcript, sessions.get(transcript.session_id, []))]
    ]


def breaks(items: Iterable[Item]) -> list[str]:
    """Gaps, repeats and text that does not join, in the order in which they were told, within one reader's items."""
    last, text = 0, ""
    found: list[str] = []
    for item in items:
        if item.durable:
            found += _wrong_event(item, last, text)
            last = item.number
            text = "" if item.type in TERMINAL_TYPES else text
        elif item.type == "assistant.delta":
            found += _wrong_piece(item, text)
            text = text[: item.number] + item.text
        elif item.type in ("assistant.reset", "stream.reset"):
            found += ["the cursor was not known any more"] if item.type == "stream.reset" else []
            text = ""
    return found


def _wrong_event(item: Item, last: int, text: str) -> list[str]:
    found = [] if item.number == last + 1 else [f"seq {item.number} follows {last}"]
    if item.type == "assistant.final" and not item.text.startswith(text):
        found.append(f"the text before seq {item.number} is not the beginning of the answer")
    return found


def _wrong_piece(item: Item, text: str) -> list[str]:
    if item.number == len(text):
        return []
    return [f"a piece begins at {item.number} where {len(text)} characters were known"]


def _differences(transcript: Transcript, events: list[Event]) -> list[str]:
    told = [(item.number, item.type, item.text) for item in transcript.items if item.durable]
    kept = [(event.seq, event.type, event.text) for event in events]
    missing = len({entry for entry in kept if entry[0] <= transcript.head} - set(told))
    strange = len(set(told) - set(kept))
    found = [f"{missing} durable events were never told"] if missing else []
    return found + ([f"{strange} events were told that do not exist"] if strange else [])
