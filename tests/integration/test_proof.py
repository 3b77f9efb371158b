"""Whatever is lost, doubled, altered or misplaced in any store is found, nothing else is, and repair makes it whole."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine

from app.adapters.sql.engine import create_engine
from app.adapters.sql.proofs import SqlProofs
from app.adapters.sql.upkeep import SqlUpkeep
from app.domain.errors import BrainCannotList, LeaseLost
from app.domain.memory import Memory, Place, WalRecord
from app.domain.proof_ports import Gain, ProofWish
from app.gateway.app import create_app
from app.gateway.room import room
from app.routing import TaskName
from app.settings import Settings, read
from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import PATIENT, eventually
from tests.contracts.brain_rig import ServedBrain, a_memory
from tests.integration.proof_stage import Stage, faults, told
from tests.own_database import own_database

RECONCILE = "/v1/admin/memory/reconcile"


@pytest.fixture(scope="module")
def empty(servers: Stack) -> Iterator[Engine]:
    with own_database(servers) as environment:
        engine = create_engine(environment["POSTGRES_DSN"], 5, "proof", PATIENT)
        yield engine
        engine.dispose()


@pytest.fixture
def stage(empty: Engine, settings: Settings) -> Iterator[Stage]:
    served = ServedBrain(empty.url.render_as_string(hide_password=False))
    made = Stage(empty, settings, an_id("proof-"), served)
    made.sql(
        "TRUNCATE memory_ledger, memory_write_outbox, message_outbox, memory_replica, brain.memories, reconcile_seen"
        " CASCADE"
    )
    made.sql("DELETE FROM reconcile_jobs")
    yield made
    made.close()


def some(number: int, tenant: str = "t1") -> list[Memory]:
    return [a_memory(an_id(), Place(tenant, "wm", "u-1"), f"fact {each}") for each in range(number)]


def planted(record: WalRecord, **changes: Any) -> WalRecord:
    return replace(record, payload={**record.payload, **changes})


def test_an_untouched_system_is_clean(stage: Stage) -> None:
    stage.accept(*some(5), *some(3, "t2"), a_memory(place=Place("t3", "wm", "")))
    stage.deliver()

    report = stage.prove()

    assert (report.status, told(report)) == ("completed", set())
    assert {name: tenant.checked for name, tenant in report.tenants.items()} == {"t1": 5, "t2": 3, "t3": 1}


def test_twelve_corruptions_are_found_no_other_is_and_repair_makes_it_whole(stage: Stage) -> None:
    good, other = some(20), some(5, "t2")
    stage.accept(*good, *other)
    names = [memory.event_id for memory in good]
    doubles = {store: an_id(f"{store}-double-") for store in ("brain", "wal", "replica")}

    def tamper(record: WalRecord) -> Sequence[WalRecord]:
        payload = record.payload
        corrupted = {
            names[4]: list,
            names[5]: lambda: [record, planted(record, event_id=doubles["wal"])],
            names[6]: lambda: [planted(record, payload={**payload["payload"], "content": "fact x"})],
            names[7]: lambda: [planted(record, tenant="t2")],
        }
        return corrupted.get(payload["event_id"], lambda: [record])()

    stage.deliver(tamper)
    _plant_in_brain(stage, names[:4], good[1], doubles["brain"])
    _plant_in_replica(stage, names[8:12], doubles["replica"])

    report = stage.prove()

    expected = {
        ("t1", names[0], "brain", "missing"), ("t1", doubles["brain"], "brain", "extra"),
        ("t1", names[2], "brain", "differing"), ("t1", names[3], "brain", "differing"),
        ("t1", names[4], "wal", "missing"), ("t1", doubles["wal"], "wal", "extra"),
        ("t1", names[6], "wal", "differing"), ("t1", names[7], "wal", "differing"),
        ("t1", names[8], "replica", "missing"), ("t1", doubles["replica"], "replica", "extra"),
        ("t1", names[10], "replica", "differing"), ("t1", names[11], "replica", "differing"),
    }  # fmt: skip
    assert told(report) == expected
    assert (faults(report), report.tenants["t1"].in_flight) == (12, 0)

    repaired = stage.prove(repair=True)
    assert (told(repaired), repaired.tenants["t1"].repaired) == (expected, 12)
    stage.deliver()

    again = stage.prove()
    assert (told(again), faults(again)) == (set(), 0)
    assert stage.ask("SELECT count(*) FROM brain.memories") == 25


def _plant_in_brain(stage: Stage, names: Sequence[str], doubled: Memory, double: str) -> None:
    stage.sql("DELETE FROM brain.memories WHERE key = :key", key=names[0])
    stage.brain.remember(replace(doubled, event_id=double))
    changed = "jsonb_set(value, '{content}', '\"fact x\"')"
    stage.sql(f"UPDATE brain.memories SET value = {changed} WHERE key = :key", key=names[2])
    stage.sql("UPDATE brain.memories SET tenant = 't2' WHERE key = :key", key=names[3])


def _plant_in_replica(stage: Stage, names: Sequence[str], double: str) -> None:
    columns = "session_id, persona_id, tenant, role, universe, namespace, payload, wal_timestamp, version, body_digest"
    stage.sql("DELETE FROM memory_replica WHERE event_id = :key", key=names[0])
    stage.sql(
        f"INSERT INTO memory_replica (event_id, {columns}) SELECT :double, {columns}"
        " FROM memory_replica WHERE event_id = :key",
        double=double, key=names[1],
    )  # fmt: skip
    changed = "jsonb_set(payload, '{content}', '\"fact x\"')"
    stage.sql(f"UPDATE memory_replica SET payload = {changed} WHERE event_id = :key", key=names[2])
    stage.sql("UPDATE memory_replica SET tenant = 't2' WHERE event_id = :key", key=names[3])


def test_what_is_on_its_way_is_not_missing(stage: Stage) -> None:
    waits, unsent, behind = some(3)
    stage.accept(behind)
    stage.sync()
    stage.records.sent([(one, stage.writer.publish([one.record])[0]) for one in stage.records.claim_due(10)])  # type: ignore[misc]
    stage.accept(unsent)
    stage.sync()
    stage.accept(waits)

    report = stage.prove()

    assert (told(report), report.tenants["t1"].in_flight) == (set(), 3)


def test_a_forgotten_memory_has_to_be_gone_everywhere(stage: Stage) -> None:
    kept_by_brain, kept_by_replica, never_told, gone = some(4)
    stage.accept(kept_by_brain, kept_by_replica, never_told, gone)
    stage.deliver()
    for memory in (kept_by_brain, kept_by_replica, never_told, gone):
        stage.ledger.forget(memory.event_id, "t1")
    stage.deliver(lambda record: [] if record.payload["event_id"] == never_told.event_id else [record])
    stage.brain.remember(kept_by_brain)
    stage.sql("UPDATE memory_replica SET deleted_at = NULL WHERE event_id = :key", key=kept_by_replica.event_id)

    report = stage.prove(repair=True)

    assert told(report) == {
        ("t1", kept_by_brain.event_id, "brain", "extra"),
        ("t1", kept_by_replica.event_id, "replica", "extra"),
        ("t1", never_told.event_id, "wal", "missing"),
    }
    stage.deliver()
    assert told(stage.prove()) == set()


def test_records_of_other_programs_are_extra_and_nobodys_fault(stage: Stage) -> None:
    stage.accept(*some(1))
    stage.deliver()
    stage.publish(event_id="stranger", tenant="t1")

    report = stage.prove()

    assert told(report) == {("t1", "stranger", "wal", "extra")}
    assert faults(report) == 0
    assert "another program" in report.tenants["t1"].examples[0]["words"]


def test_what_was_accepted_before_the_ledger_is_compared_store_with_store(stage: Stage) -> None:
    altered, whole = some(2)
    stage.accept(altered, whole)
    stage.deliver()
    stage.sql("UPDATE memory_ledger SET digest = NULL")
    stage.sql(
        "UPDATE memory_replica SET payload = jsonb_set(payload, '{content}', '\"no\"') WHERE event_id = :key",
        key=altered.event_id,
    )

    report = stage.prove(repair=True)

    assert told(report) == {("t1", altered.event_id, "replica", "differing")}
    stage.deliver()
    assert told(stage.prove()) == set()


def test_a_proof_goes_on_where_a_killed_worker_left_it(stage: Stage) -> None:
    lost = some(1)[0]
    stage.accept(*some(30), *some(4, "t2"), lost)
    stage.deliver()
    stage.sql("DELETE FROM brain.memories WHERE key = :key", key=lost.event_id)
    glances = count()

    report = stage.prove(stopping=lambda: next(glances) % 2 == 1)

    assert told(report) == {("t1", lost.event_id, "brain", "missing")}
    assert sum(tenant.checked for tenant in report.tenants.values()) == 35
    assert len(stage.doorbell.rings) > 5


def test_a_proof_whose_worker_was_killed_is_taken_over_and_what_it_brings_late_is_dropped(stage: Stage) -> None:
    stage.accept(*some(3))
    stage.deliver()
    job_id = SqlProofs(stage.engine).ask(ProofWish(None, repair=False))
    victim = stage.proving().desk
    job = victim.claim(job_id)
    assert job is not None
    assert stage.proving().desk.claim(job_id) is None

    assert eventually(lambda: SqlUpkeep(stage.engine).end_leases_of_the_dead().get("proof")) == 1
    report = stage.prove()

    assert (report.status, report.tenants["t1"].checked) == ("completed", 3)
    with pytest.raises(LeaseLost):
        victim.keep(job, Gain())


def test_a_crash_of_postgres_that_empties_what_was_laid_down_begins_anew(stage: Stage) -> None:
    stage.accept(*some(10))
    stage.deliver()
    glances = count()

    def stop() -> bool:
        glance = next(glances)
        if glance == 5:
            stage.sql("TRUNCATE reconcile_seen")
        return glance % 2 == 1

    report = stage.prove(stopping=stop)

    assert (report.status, told(report), report.tenants["t1"].checked) == ("completed", set(), 10)


def test_a_somabrain_that_does_not_list_is_said_not_to_be_compared(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.accept(*some(2))
    stage.deliver()

    class Closed:
        def page(self, tenant: str, after: str, limit: int) -> Any:
            raise BrainCannotList("no such route")

    report = stage.prove(brain=Closed())

    assert (told(report), len(report.notes)) == (set(), 1)
    assert "not compared" in report.notes[0]


def test_memories_that_fill_more_than_an_answer_of_somabrain_are_compared_in_shorter_pages(stage: Stage) -> None:
    large = [a_memory(content="x" * 400_000) for _ in range(12)]
    stage.accept(*large)
    stage.deliver()
    stage.sql("DELETE FROM brain.memories WHERE key = :key", key=large[5].event_id)

    assert told(stage.prove()) == {("t1", large[5].event_id, "brain", "missing")}


def test_one_tenant_can_be_proven_alone(stage: Stage) -> None:
    mine, theirs = some(1), some(1, "t2")
    stage.accept(*mine, *theirs)
    stage.deliver()
    stage.sql("DELETE FROM memory_replica")

    report = stage.prove(tenant="t2")

    assert told(report) == {("t2", theirs[0].event_id, "replica", "missing")}


def test_the_door_takes_the_wish_and_shows_what_was_found(stage: Stage, servers: Stack) -> None:
    lost = some(1)[0]
    stage.accept(lost)
    stage.deliver()
    stage.sql("DELETE FROM memory_replica")
    dsn = stage.engine.url.render_as_string(hide_password=False)
    app = create_app(read({**servers.environment, "POSTGRES_DSN": dsn}))
    with app.app_context():
        room().serving.doorbell = stage.doorbell  # type: ignore[assignment]
    door = app.test_client()

    asked = door.post(RECONCILE, json={"repair": False})
    again = door.post(RECONCILE, json={"repair": False})
    other = door.post(RECONCILE, json={"repair": True, "tenant": "t1"})
    job_id = asked.get_json()["job_id"]
    waiting = door.get(f"{RECONCILE}/{job_id}").get_json()
    stage.prove()
    found = door.get(f"{RECONCILE}/{job_id}").get_json()

    assert stage.doorbell.tasks[0] is TaskName.RECONCILE
    assert (asked.status_code, again.get_json()["job_id"], other.status_code) == (202, job_id, 409)
    assert (waiting["status"], waiting["clean"], waiting["progress"]["stage"]) == ("queued", False, "beginning")
    assert (found["id"], found["status"], found["clean"], found["notes"]) == (job_id, "completed", False, [])
    nothing = {"brain": 0, "wal": 0, "replica": 0}
    example = {"event_id": lost.event_id, "store": "replica", "kind": "missing", "words": "it is not there"}
    assert found["tenants"] == {
        "t1": {
            "checked": 1, "missing": {**nothing, "replica": 1}, "extra": nothing, "differing": nothing,
            "in_flight": 0, "repaired": 0, "examples": [example],
        }
    }  # fmt: skip
    assert door.get(f"{RECONCILE}/nobody").status_code == 404
    assert door.post(RECONCILE, json={"repair": "yes"}).status_code == 422
