"""What every `Transcripts` promises: the conversation in the order of its turns, and summaries of its beginning."""

import pytest

from app.domain.conversation import UserMessage
from app.domain.endings import cancelled
from app.domain.events import EventType, NewEvent
from app.domain.transcript import Line, Summary, whole_turns
from tests.builders import a_final, a_message, a_thought, an_id
from tests.contracts.store_rig import Process, StoreRig

EVERYTHING = 2**62


@pytest.fixture
def worker(store: StoreRig) -> Process:
    return store.process()


def asked(store: StoreRig, text: str, session_id: str = "") -> UserMessage:
    message = a_message(text, session_id)
    store.inbox.accept(message, None)
    return message


def end(worker: Process, message: UserMessage, event: NewEvent, state: str = "done") -> None:
    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    worker.turns.note(turn, a_thought(message.event_id))
    worker.turns.finish(turn, event, state, None)


def texts(lines: list[Line]) -> list[tuple[str, str]]:
    return [(line.role, line.text) for line in lines]


def test_an_answer_stands_behind_its_message_though_others_were_waiting(store: StoreRig, worker: Process) -> None:
    first = asked(store, "one")
    second = asked(store, "two", first.session_id)
    end(worker, first, a_final(first.event_id, "answer to one"))

    newest = store.transcripts.newest(first.session_id, EVERYTHING, 10)

    assert texts(newest) == [("user", "one"), ("assistant", "answer to one"), ("user", "two")]
    assert [line.event_id for line in newest][::2] == [first.event_id, second.event_id]
    assert [len(turn) for turn in whole_turns(newest)] == [2, 1]


def test_a_turn_hears_nothing_of_those_behind_it(store: StoreRig) -> None:
    first = asked(store, "one")
    asked(store, "two", first.session_id)

    assert texts(store.transcripts.newest(first.session_id, 1, 10)) == [("user", "one")]


def test_the_newest_lines_come_where_not_all_are_wanted(store: StoreRig, worker: Process) -> None:
    first = asked(store, "one")
    end(worker, first, a_final(first.event_id, "answer to one"))
    asked(store, "two", first.session_id)

    assert texts(store.transcripts.newest(first.session_id, EVERYTHING, 2)) == [
        ("assistant", "answer to one"),
        ("user", "two"),
    ]


def test_a_stopped_answer_counts_as_far_as_it_came(store: StoreRig, worker: Process) -> None:
    first, second = asked(store, "one"), asked(store, "elsewhere")
    end(worker, first, cancelled(first.event_id, "as far as", 1), "cancelled")
    end(worker, second, cancelled(second.event_id), "cancelled")

    assert texts(store.transcripts.newest(first.session_id, EVERYTHING, 9)) == [
        ("user", "one"),
        ("assistant", "as far as"),
    ]
    assert texts(store.transcripts.newest(second.session_id, EVERYTHING, 9)) == [("user", "elsewhere")]


def test_the_following_lines_begin_with_the_next_turn(store: StoreRig, worker: Process) -> None:
    first = asked(store, "one")
    end(worker, first, a_final(first.event_id, "answer to one"))
    asked(store, "two", first.session_id)
    asked(store, "three", first.session_id)

    assert texts(store.transcripts.following(first.session_id, 1, 10)) == [("user", "two"), ("user", "three")]
    assert texts(store.transcripts.following(first.session_id, 0, 2)) == [
        ("user", "one"),
        ("assistant", "answer to one"),
    ]


def test_the_latest_turn_is_known_whoever_answers_it(store: StoreRig, worker: Process) -> None:
    assert store.transcripts.latest(an_id("s-")) is None
    asked_first = asked(store, "one")
    message = a_message("two", asked_first.session_id, metadata={"agent_profile_id": "strong"}, persona_id="p-1")
    store.inbox.accept(message, None)

    latest = store.transcripts.latest(message.session_id)

    assert latest is not None
    assert (latest.event_id, latest.seq, latest.tenant) == (message.event_id, 3, message.tenant)
    assert (latest.metadata, latest.persona_id) == ({"agent_profile_id": "strong"}, "p-1")


def test_the_newest_summary_that_covers_nothing_of_a_turn_is_its_summary(store: StoreRig) -> None:
    session_id = asked(store, "one").session_id
    early, late = Summary("early", 1, ("a",), "m"), Summary("late", 9, ("b", "c"), "m")
    assert store.transcripts.summary(session_id, EVERYTHING) is None

    assert store.transcripts.keep_summary(session_id, early)
    assert store.transcripts.keep_summary(session_id, late)

    assert store.transcripts.summary(session_id, EVERYTHING) == late
    assert store.transcripts.summary(session_id, 9) == early
    assert store.transcripts.summary(session_id, 1) is None


def test_of_two_summaries_up_to_one_turn_the_first_stays(store: StoreRig) -> None:
    session_id = asked(store, "one").session_id

    assert store.transcripts.keep_summary(session_id, Summary("first", 1, ("a",), "m"))
    assert not store.transcripts.keep_summary(session_id, Summary("second", 1, ("a",), "m"))
    assert not store.transcripts.keep_summary(an_id("s-"), Summary("of nobody", 1, (), "m"))

    assert store.transcripts.summary(session_id, EVERYTHING) == Summary("first", 1, ("a",), "m")


def test_what_recall_brought_to_a_turn_is_found_again(store: StoreRig, worker: Process) -> None:
    message = asked(store, "one")
    turn = worker.turns.claim(message.event_id)
    assert turn is not None
    assert store.transcripts.brought(turn.session_id, turn.seq) is None

    told = {"results": [{"event_id": "e", "content": "ä"}], "degraded": True}
    worker.turns.note(turn, NewEvent(an_id("c-"), EventType.CONTEXT, "system", "", told))

    assert store.transcripts.brought(turn.session_id, turn.seq) == told
    assert store.transcripts.brought(turn.session_id, turn.seq + 1) is None
