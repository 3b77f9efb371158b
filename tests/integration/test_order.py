"""One turn of a session at a time, in order; sessions side by side; a session that is stuck delays no other."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from app.adapters.scribe import SharedScribe
from app.domain.errors import ModelUnavailable
from app.domain.transcript import Transcripts
from app.routing import TaskName
from app.services.conversation import Conversation
from app.services.converse import converse
from app.services.prepare_turn import Preparation
from app.services.sweep import sweep
from app.wiring.process import SystemClock
from tests.builders import a_message, an_id
from tests.conftest import eventually
from tests.contracts.store_rig import PostgresRig, Process
from tests.fakes import (
    RecordingBroadcast,
    RecordingDoorbell,
    RecordingNotes,
    ScriptedModel,
    ScriptedPolicy,
    WishedStops,
)
from tests.fakes_parts import FixedRoster, Step, always_in_company
from tests.integration.gateway_process import Gateway

THREADS = 8


@pytest.fixture
def store(engine: Engine) -> Iterator[PostgresRig]:
    rig = PostgresRig(engine)
    yield rig
    rig.close()


@dataclass
class Worker:
    """A conversation worker's adapters, and a model that does what it is told."""

    process: Process
    transcripts: Transcripts

    def answer(self, event_id: str, *steps: Step) -> str:
        conversation = Conversation(
            self.process.turns, ScriptedModel(steps or ("Yes.",)), RecordingBroadcast(), RecordingDoorbell(),
            SystemClock(), RecordingNotes(), Preparation(FixedRoster(), self.transcripts, ""), None,
            always_in_company, WishedStops(), ScriptedPolicy(), SharedScribe(self.process.turns.save_partials),
        )  # fmt: skip
        return converse(event_id, conversation)


@pytest.fixture
def workers(store: PostgresRig) -> list[Worker]:
    return [Worker(store.process().appear(), store.transcripts) for _ in range(2)]


def say(store: PostgresRig, session_id: str = "") -> str:
    message = a_message(session_id=session_id)
    store.inbox.accept(message, None)
    return message.event_id


def test_two_workers_answer_a_session_in_its_order_and_never_at_once(store: PostgresRig, workers: list[Worker]) -> None:
    session_id = an_id("s-")
    ids = [say(store, session_id) for _ in range(8)]
    inside = threading.Semaphore(1)

    def alone() -> None:
        assert inside.acquire(blocking=False), "two turns of one session ran at once"
        inside.release()

    def ring(number: int) -> list[str]:
        worker = workers[number % 2]
        return [worker.answer(event_id, alone, "Yes.", alone) for event_id in ids[:: 1 if number % 2 else -1]]

    while any(store.row("turn", event_id).state != "done" for event_id in ids):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ring, range(4)))

    events = store.stream.events_after(session_id, 0, 1000)
    ends = [event["event_id"] for event in events if event["type"] == "assistant.final"]
    assert ends == [f"{event_id}:answer" for event_id in ids]
    assert all(store.row("turn", event_id).attempts == 1 for event_id in ids)


def test_sessions_run_side_by_side_and_a_stuck_one_delays_no_other(store: PostgresRig, workers: list[Worker]) -> None:
    stuck, freed = say(store), threading.Event()
    others = [say(store) for _ in range(20)]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(workers[0].answer, stuck, lambda: freed.wait(60), "At last.")
        eventually(lambda: store.row("turn", stuck).state == "running")

        assert [workers[number % 2].answer(event_id) for number, event_id in enumerate(others)] == ["done"] * 20

        assert store.row("turn", stuck).state == "running"
        freed.set()
        assert running.result() == "done"


def test_more_stuck_sessions_than_threads_give_way_when_the_model_is_given_up(
    store: PostgresRig, workers: list[Worker]
) -> None:
    """A thread is held for as long as the model may be silent, not longer: then the oldest that waits has its turn."""
    stuck = [say(store) for _ in range(THREADS + 4)]
    patience = threading.Event()

    def silent() -> None:
        patience.wait(60)
        raise ModelUnavailable("The model said nothing for too long.")

    waiting = [say(store) for _ in range(4)]
    with ThreadPoolExecutor(THREADS) as pool:
        rings = [pool.submit(workers[0].answer, event_id, silent) for event_id in stuck]
        healthy = [pool.submit(workers[0].answer, event_id) for event_id in waiting]
        eventually(lambda: sum(store.row("turn", event_id).state == "running" for event_id in stuck) == THREADS)
        assert not any(done.done() for done in healthy), "every thread is held"

        patience.set()

        assert [done.result() for done in healthy] == ["done"] * 4
        assert {ring.result() for ring in rings} == {"postponed"}


def test_a_stuck_sessions_queue_does_not_crowd_out_the_others_rings(store: PostgresRig, workers: list[Worker]) -> None:
    session_id = an_id("s-")
    ids = [say(store, session_id) for _ in range(200)]
    worker = workers[0]
    assert worker.process.turns.claim(ids[0]) is not None
    with worker.process.turns.working_on(ids[0]):
        other, bell = say(store), RecordingDoorbell()

        sweep(_NothingDied(), {TaskName.RESPOND: worker.process.turns}, bell)

        assert [ring.ids for ring in bell.rings] == [(other,)]


class _NothingDied:
    def end_leases_of_the_dead(self) -> dict[str, int]:
        return {}


def test_fifty_sends_of_one_key_at_once_are_one_message_and_one_answer(gateway: Gateway, engine: Engine) -> None:
    key, session_id = an_id(), an_id("s-")
    body = {"message": "once", "session_id": session_id}
    together = threading.Barrier(50)

    def send(_number: int) -> tuple[int, str]:
        together.wait(30)
        answer = gateway.post(body, **{"Idempotency-Key": key})
        return answer.status_code, answer.text if answer.status_code == 200 else ""

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))

    assert {status for status, _ in answers} <= {200, 409}
    assert len({text for status, text in answers if status == 200}) == 1
    events = gateway.get(f"/v1/sessions/{session_id}/events").json()["events"]
    assert [event["payload"]["type"] for event in events] == ["user", "assistant.started"]
