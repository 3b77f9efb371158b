"""Rows that die and results that are dropped are counted, by kind of work."""

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine

from app.domain.leases import MAX_ATTEMPTS
from tests.builders import a_message, a_receipt
from tests.contracts.store_rig import PostgresRig


@pytest.fixture
def store(engine: Engine) -> Iterator[PostgresRig]:
    rig = PostgresRig(engine)
    yield rig
    rig.close()


def counted(metric: str, kind: str) -> float:
    return REGISTRY.get_sample_value(f"{metric}_total", {"kind": kind}) or 0.0


def test_a_row_that_dies_is_counted_whether_it_is_wrong_or_killed_its_workers(store: PostgresRig) -> None:
    memories, turns = counted("work_dead", "memory"), counted("work_dead", "turn")
    message = a_message()
    store.inbox.accept(message, None)
    worker = store.process()
    (owed,) = worker.memories.claim_due(10)
    worker.memories.bury(owed, "it is wrong")
    for _ in range(MAX_ATTEMPTS + 1):
        store.process(lease_seconds=1).turns.claim(message.event_id)
        store.pass_time(2)

    assert (counted("work_dead", "memory"), counted("work_dead", "turn")) == (memories + 1, turns + 1)


def test_a_result_that_comes_after_its_lease_is_counted_as_fenced(store: PostgresRig) -> None:
    before = counted("work_fenced", "memory")
    store.inbox.accept(a_message(), None)
    zombie, heir = store.process(lease_seconds=1), store.process()
    late = zombie.memories.claim_due(10)
    store.pass_time(2)
    assert heir.memories.claim_due(10)

    assert zombie.memories.synced([(owed, a_receipt()) for owed in late]) == []

    assert counted("work_fenced", "memory") == before + 1
