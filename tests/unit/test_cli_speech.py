"""`soma send`: a message is sent once, and its answer is read to the end, whatever happens to the line."""

import json
from typing import Any

import pytest

from app.cli import answers
from tests.scripted_api import Reply, ScriptedApi, refusal
from tests.unit.conftest import Typist

SEND, EVENTS = "/v1/session/message", "/v1/session/s-1/events"
RECEIPT = Reply({"accepted": True, "session_id": "s-1", "event_id": "e-1"})


def an_item(kind: str, event_id: str = "", message: str = "", **fields: Any) -> bytes:
    item = {"type": kind, "event_id": event_id, "message": message, "metadata": {}, **fields}
    return b"data: " + json.dumps(item).encode() + b"\n\n"


def a_delta(text: str, cursor: str = "3.1.0") -> bytes:
    return an_item("assistant.delta", message=text, cursor=cursor)


ASKED = an_item("user", "e-1", "hi", cursor="1")
THINKS = an_item("assistant.thinking", "e-1:thinking:1", cursor="3")
ANSWERED = an_item("assistant.final", "e-1:answer", "Hello Ada.", cursor="4")


def test_the_answer_is_printed_once_while_it_comes(api: ScriptedApi, typist: Typist) -> None:
    earlier = (an_item("user", "e-0", "old"), an_item("assistant.final", "e-0:answer", "old answer"))
    api.on("POST", SEND, RECEIPT)
    api.on("GET", EVENTS, Reply(parts=(
        b"retry: 1000\n\n", *earlier, ASKED, a_delta("not ours"), THINKS, a_delta("Hello "), b": still here\n\n",
        an_item("user", "e-2", "next"), a_delta("Ada."), ANSWERED,
    )))  # fmt: skip

    printed = typist.types("send", "hi", "--table")

    assert (printed.status, printed.out) == (0, "Hello Ada.\n")
    assert printed.err == "soma: session s-1\n"
    assert api.asked[0].json == {"message": "hi"}


def test_another_program_gets_the_receipt_and_every_item_as_json_lines(api: ScriptedApi, typist: Typist) -> None:
    api.on("POST", SEND, RECEIPT)
    api.on("GET", EVENTS, Reply(parts=(ASKED, THINKS, a_delta("Hello Ada."), ANSWERED)))

    printed = typist.types("send", "hi", "--session", "s-1")

    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert lines[0] == RECEIPT.body
    assert [line["type"] for line in lines[1:]] == ["user", "assistant.thinking", "assistant.delta", "assistant.final"]


def test_a_message_that_may_have_arrived_is_sent_again_with_the_same_key(api: ScriptedApi, typist: Typist) -> None:
    later = refusal(503, "Postgres is away.", **{"Retry-After": "3"})
    api.on("POST", SEND, Reply(breaks=True), later, refusal(409, "It is still running."), RECEIPT)

    assert typist.types("send", "hi", "--no-follow").status == 0

    keys = {asked.headers["idempotency-key"] for asked in api.asked}
    assert (len(api.asked), len(keys)) == (4, 1)
    assert 3.0 in typist.pauses


def test_two_messages_have_two_keys(api: ScriptedApi, typist: Typist) -> None:
    api.on("POST", SEND, RECEIPT)
    for _ in range(2):
        typist.types("send", "hi", "--no-follow")

    assert len({asked.headers["idempotency-key"] for asked in api.asked}) == 2


def test_a_line_that_breaks_is_taken_up_where_it_broke(api: ScriptedApi, typist: Typist) -> None:
    api.on("POST", SEND, RECEIPT)
    api.on(
        "GET", EVENTS, Reply(parts=(ASKED, THINKS, a_delta("Hello ", "3.1.6")), breaks=True),
        Reply(parts=(a_delta("Ada.", "3.1.10"), ANSWERED)),
    )  # fmt: skip

    assert typist.types("send", "hi", "--table").out == "Hello Ada.\n"
    assert [asked.headers.get("last-event-id") for asked in api.asked[1:]] == [None, "3.1.6"]


def test_an_attempt_that_begins_again_begins_on_its_own_line(api: ScriptedApi, typist: Typist) -> None:
    api.on("POST", SEND, RECEIPT)
    parts = (ASKED, THINKS, a_delta("Helo"), an_item("assistant.reset"), a_delta("Hello"), ANSWERED)
    api.on("GET", EVENTS, Reply(parts=parts))

    printed = typist.types("send", "hi", "--table")

    assert printed.out == "Helo\nHello Ada.\n"
    assert "the answer begins again" in printed.err


@pytest.mark.parametrize(
    ("kind", "metadata", "reason"),
    [
        ("assistant.error", {"reason": "The model is away."}, "The model is away."),
        ("assistant.cancelled", {"reason": "You stopped this answer."}, "You stopped this answer."),
        ("policy.denied", {"policy": {"reason": "not allowed"}}, "not allowed"),
    ],
)
def test_a_turn_without_an_answer_is_status_1_and_its_reason(
    api: ScriptedApi, typist: Typist, kind: str, metadata: dict[str, Any], reason: str
) -> None:
    api.on("POST", SEND, RECEIPT)
    api.on("GET", EVENTS, Reply(parts=(ASKED, an_item(kind, "e-1:answer", metadata=metadata))))

    printed = typist.types("send", "hi", "--table")

    assert printed.status == 1
    assert reason in printed.err


def test_a_stream_that_never_comes_back_says_that_the_message_is_kept(api: ScriptedApi, typist: Typist) -> None:
    api.on("POST", SEND, RECEIPT)
    api.on("GET", EVENTS, Reply(breaks=True))

    printed = typist.types("send", "hi", "--table")

    assert printed.status == 1
    assert "the message is kept and will be answered; its session is s-1" in printed.err
    assert len(typist.pauses) == 7


def test_stopping_says_that_the_message_is_kept(
    api: ScriptedApi, typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Any:
        raise KeyboardInterrupt

    api.on("POST", SEND, RECEIPT)
    monkeypatch.setattr(answers, "_items", interrupted)

    printed = typist.types("send", "hi", "--table")

    assert printed.status == 130
    assert "the message is kept" in printed.err


def test_what_a_model_says_does_not_command_the_terminal(api: ScriptedApi, typist: Typist) -> None:
    api.on("POST", SEND, RECEIPT)
    api.on("GET", EVENTS, Reply(parts=(an_item("assistant.final", "e-1:answer", "a\x1b[2Jb\nc"),)))

    assert typist.types("send", "hi", "--table").out.strip() == "a [2Jb\nc"


def test_the_key_travels_as_a_bearer_token(api: ScriptedApi, typist: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_KEY", "sk-1")
    api.on("POST", SEND, refusal(401, "This key has ended."))

    printed = typist.types("send", "hi")

    assert api.asked[0].headers["authorization"] == "Bearer sk-1"
    assert (printed.status, printed.err.count("\n")) == (1, 1)
    assert "This key has ended." in printed.err
    assert "SOMA_KEY" in printed.err
