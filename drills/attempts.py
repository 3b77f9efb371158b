"""Judging the attempts of a session's turns by its durable events: what a later attempt has taken over is not its
predecessor's any more, neither to go on with nor to end.

A turn's attempts are counted; each says when it begins, and an answer says whose it is. The turns of a session come
one after another, so the order of its events is enough.
"""

from collections.abc import Iterable

from drills.record import TERMINAL_TYPES, Event


def revenants(events: Iterable[Event]) -> list[str]:
    """Attempts that went on, or ended their turn, after a later attempt had begun."""
    begun = 0
    problems: list[str] = []
    for event in events:
        if event.type == "assistant.thinking":
            if event.attempt <= begun:
                problems.append(f"attempt {event.attempt} began after attempt {begun} ({event.event_id})")
            begun = event.attempt
        elif event.type in TERMINAL_TYPES and event.attempt:
            if event.attempt != begun:
                problems.append(
                    f"attempt {event.attempt} ended a turn that attempt {begun} had in hand ({event.event_id})"
                )
            begun = 0
    return problems
