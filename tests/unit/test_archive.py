"""A session as a document: what a branch takes along, and what is no session."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.archive import ArchivedEvent, Chat, branch, flaw_in, transplanted
from app.services.archive_form import ChatForm, chat_in, form_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def an_event(seq: int, kind: str, turn_seq: int | None, **fields: Any) -> ArchivedEvent:
    payload = {
        "event_id": f"e-{seq}", "session_id": "s-1", "persona_id": None, "message": f"{kind} {seq}", "metadata": {},
        "role": "user" if kind == "user" else "assistant", "version": "sa01-v2", "type": kind, "seq": seq,
        "cursor": str(seq), "created_at": NOW.isoformat(), **fields,
    }  # fmt: skip
    return ArchivedEvent(payload, turn_seq)


EVENTS = (
    an_event(1, "user", 1), an_event(2, "assistant.started", 1), an_event(3, "user", 3),
    an_event(4, "assistant.final", 1), an_event(5, "assistant.started", 3), an_event(6, "assistant.final", 3),
    an_event(7, "user", 7), an_event(8, "assistant.started", 7),
)  # fmt: skip
CHAT = Chat("s-1", "t1", None, "anonymous", "a title", {"a": 1}, {"intent": "question"}, NOW, NOW, 0, EVENTS)


def test_a_branch_takes_whole_turns_along_and_numbers_them_anew() -> None:
    new = branch(CHAT, 5, "s-2")

    assert [(event.seq, event.type.value, event.turn_seq) for event in new.events] == [
        (1, "user", 1), (2, "assistant.started", 1), (3, "assistant.final", 1)
    ]  # fmt: skip
    assert {event.payload["session_id"] for event in new.events} == {"s-2"}
    assert [event.payload["event_id"] for event in new.events] == ["s-2:1", "s-2:2", "s-2:3"]
    assert [event.payload["cursor"] for event in new.events] == ["1", "2", "3"]
    assert new.metadata == {"a": 1, "forked_from": "s-1", "forked_at": 5}
    assert flaw_in(new.events) is None


def test_a_branch_from_the_end_leaves_out_what_is_still_owed() -> None:
    assert [event.type.value for event in branch(CHAT, 100, "s-2").events][-1] == "assistant.final"
    assert branch(CHAT, 0, "s-2").events == ()


def test_a_session_under_another_id_says_the_same() -> None:
    moved = transplanted(replace(CHAT, heard_after=2), "s-9")

    assert [event.payload["message"] for event in moved.events] == [event.payload["message"] for event in EVENTS]
    assert moved.heard_after == 2
    assert [event.turn_seq for event in moved.events] == [event.turn_seq for event in EVENTS]


def test_a_document_is_read_back_as_what_it_was_made_from() -> None:
    assert chat_in(ChatForm.model_validate(form_of(CHAT))) == CHAT


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([an_event(2, "user", 2)], "1, 2, 3"),
        ([an_event(1, "user", 1), an_event(3, "user", 3)], "1, 2, 3"),
        ([an_event(1, "assistant.final", 9)], "no message before it"),
        ([an_event(1, "assistant.final", 2), an_event(2, "user", 2)], "no message before it"),
        (
            [an_event(1, "user", 1), an_event(2, "assistant.final", 1), an_event(3, "assistant.error", 1)],
            "ended before",
        ),
    ],
)
def test_what_is_no_session_is_told_in_words(events: list[ArchivedEvent], words: str) -> None:
    assert words in str(flaw_in(events))
    with pytest.raises(ValueError, match=words):
        ChatForm.model_validate(form_of(replace(CHAT, events=tuple(events))))


def test_an_event_that_is_only_shown_live_is_no_part_of_a_document() -> None:
    with pytest.raises(ValueError, match="shown live"):
        ChatForm.model_validate(form_of(replace(CHAT, events=(an_event(1, "assistant.delta", None),))))
