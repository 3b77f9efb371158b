"""The command line against the real gateway: what an operator types, reads and gets as exit status."""

import json
import re
import threading
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.adapters.sql.outboxes import SqlMemoryOutbox
from app.adapters.sql.presence import Presence
from app.cli.__main__ import main
from tests.builders import a_wal_body, an_id
from tests.conftest import eventually
from tests.contracts.desk_rig import SqlLettersRig, postgres_work
from tests.integration.gateway_process import Answerer, Gateway, free_port


class Operator:
    """Types commands and reads what comes."""

    def __init__(self, gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
        self._base, self._capsys = gateway.base, capsys

    def types(self, *words: str) -> tuple[int, str]:
        """What a person sees in a terminal."""
        status = main(["--gateway", self._base, *words, "--table"])
        printed = self._capsys.readouterr()
        return status, printed.out + printed.err

    def pipes(self, *words: str) -> tuple[int, list[Any]]:
        """What another program reads."""
        status = main(["--gateway", self._base, *words])
        return status, [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]


@pytest.fixture
def operator(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(gateway, capsys)


@pytest.fixture
def letters(engine: Engine) -> SqlLettersRig:
    return SqlLettersRig(engine)


def test_an_operator_sees_retries_and_discards_work(operator: Operator, gateway: Gateway, engine: Engine) -> None:
    postgres_work(engine).store.close()
    with engine.begin() as connection:
        for table in ("memory_write_outbox", "message_outbox"):
            connection.execute(text(f"UPDATE {table} SET state = 'discarded' WHERE state = 'dead'"))
    assert operator.types("work") == (0, "Nothing is owed.\n")
    event_id = gateway.say()["event_id"]
    outbox = SqlMemoryOutbox(engine, Presence(engine, "owner", 30), 30, "memory.wal")
    (owed,) = outbox.claim_due(10)
    outbox.bury(owed, "SomaBrain refused it")

    status, shown = operator.types("work", "--state", "dead")
    assert (status, event_id in shown, "SomaBrain refused it" in shown) == (0, True, True)
    status, rows = operator.pipes("work", "list", "--state", "dead")
    assert (status, [row["id"] for row in rows]) == (0, [event_id])
    assert operator.types("work", "retry", "memory", event_id) == (0, f"memory {event_id} is owed.\n")
    assert operator.types("work", "discard", "memory", event_id)[0] == 1
    status, shown = operator.types("work", "retry", "memory", "nothing")
    assert (status, shown) == (1, "soma: There is no such memory.\n")


def test_an_operator_corrects_and_replays_a_group(operator: Operator, letters: SqlLettersRig) -> None:
    for _ in range(2):
        letters.bury(json.dumps(a_wal_body(timestamp="now")).encode(), "timestamp must be epoch seconds")

    status, shown = operator.types("dlq")
    assert (status, f"{letters.topic}: 2 open" in shown) == (0, True)
    assert "timestamp must be epoch seconds" in operator.types("dlq", "show", letters.topic)[1]
    assert [row["state"] for row in operator.pipes("dlq", "show", letters.topic)[1]] == ["open", "open"]
    assert 2 in [row["count"] for row in operator.pipes("dlq")[1] if row["topic"] == letters.topic]
    status, shown = operator.types("dlq", "replay", letters.topic)
    assert (status, "nothing was replayed" in shown.lower()) == (1, True)
    status, shown = operator.types("dlq", "replay", letters.topic, "--dry-run")
    assert (status, "0 would be replayed, 2 would be poison again." in shown) == (0, True)
    assert operator.types("dlq", "replay", letters.topic, "--patch", '{"timestamp": 1}') == (0, "2 replayed.\n")

    assert len(letters.owed()) == 2
    assert operator.types("dlq", "discard", letters.topic, "--all") == (0, "0 discarded.\n")
    assert operator.types("dlq", "replay", "nothing")[0] == 1
    assert operator.types("dlq", "replay", letters.topic, "--patch", "{")[0] == 1


def test_more_than_one_batch_is_replayed_to_its_end(operator: Operator, letters: SqlLettersRig, engine: Engine) -> None:
    with engine.begin() as connection:
        sql = """INSERT INTO dlq_messages (topic, raw, error, error_kind, fingerprint)
                 SELECT :topic, convert_to(replace(:body, 'ID', n::text), 'UTF8'), 'x', 'x', 'x'
                 FROM generate_series(1, 1201) AS n"""
        connection.execute(text(sql), {"topic": letters.topic, "body": json.dumps(a_wal_body(f"{an_id()}-ID"))})

    dry, printed = operator.types("dlq", "replay", letters.topic, "--dry-run")
    done, said = operator.types("dlq", "replay", letters.topic, "--fingerprint", "x")

    assert (dry, done) == (0, 0)
    assert printed.startswith("1201 would be replayed, 0 would be poison again.\n500 of 1201 examined, ")
    assert re.fullmatch(
        r"1201 replayed\.\n500 of 1201 replayed, \d+ a second\n1000 of 1201 replayed, \d+ a second\n", said
    )


def test_a_person_speaks_and_reads_the_answer_to_its_end(
    operator: Operator, gateway: Gateway, answerer: Answerer
) -> None:
    session_id = an_id("s-")

    def answer() -> None:
        events = eventually(lambda: gateway.get(f"/v1/sessions/{session_id}/events").json().get("events"))
        answerer.answer(events[0]["payload"]["event_id"], "Your name ", "is Ada.")

    answering = threading.Thread(target=answer)
    answering.start()
    status, printed = operator.types("send", "what is my name?", "--session", session_id)
    answering.join()

    assert (status, printed) == (0, "Your name is Ada.\n")


def test_memories_of_a_tenant_are_listed(operator: Operator) -> None:
    assert operator.types("memory", "list", "--tenant", an_id("t-")) == (0, "There are none.\n")
    assert operator.pipes("memory", "list", "--tenant", an_id("t-")) == (0, [])
    assert operator.types("memory", "get", an_id("m-"))[0] == 1


def test_nothing_is_thrown_away_by_an_unfinished_command(operator: Operator, letters: SqlLettersRig) -> None:
    letters.bury(b"{")

    assert operator.types("dlq", "discard", letters.topic)[0] == 2
    assert operator.types("dlq", "discard", letters.topic, "--all", "--fingerprint", "x")[0] == 2

    assert operator.types("dlq", "replay", letters.topic, "--dry-run")[1].startswith("0 would be replayed, 1 would")


def test_a_gateway_that_is_away_is_one_sentence_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--gateway", f"http://127.0.0.1:{free_port()}", "work"]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("soma: the gateway does not answer at http://127.0.0.1:")
    assert printed.err.count("\n") == 1
