"""Backlog, lag and dead letters are right in health and metrics while SomaBrain, Kafka and the replicator stop."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.writer import KafkaWalWriter
from app.domain.memory import WalRecord
from app.domain.ports import Sent
from app.settings import read
from devstack.stack import Stack
from tests.acceptance.following import call
from tests.builders import an_id
from tests.conftest import eventually

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
A_WHILE = 4.0


class Figures:
    """What the running system says of itself."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def health(self, component: str) -> dict[str, Any]:
        found: dict[str, Any] = call(self._stack.url("gateway"), "/v1/health")["components"][component]
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The gauge as the process that measures shows it; -1 before it was measured."""
        page = requests.get(f"{self._stack.url('worker-delivery')}/metrics", timeout=10).text
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        wanted = (each for each in samples if each.name == name and each.labels.items() >= labels.items())
        return next((sample.value for sample in wanted), -1.0)

    def are_calm(self) -> bool:
        """Nothing is owed, nothing lags."""
        owed = self.metric("memory_sync_backlog") + self.metric("outbox_sync_backlog", topic="memory.wal")
        lag = self.health("memory_replicator")["lag_seconds"] + self.metric("memory_replicator_lag_seconds")
        return owed + lag + self.health("memory_sync")["backlog"] == 0

    def remember(self, count: int) -> float:
        """Have memories accepted; how long ago the first was, as a clock to add to."""
        began = time.monotonic()
        items = [{"id": an_id(), "content": "hello", "metadata": {"tenant": an_id("t-")}} for _ in range(count)]
        call(self._stack.url("gateway"), "/v1/memory/batch", {"items": items})
        return began


@pytest.fixture
def figures(stack: Stack) -> Figures:
    made = Figures(stack)
    eventually(made.are_calm)
    return made


@contextmanager
def stopped(stack: Stack, part: str) -> Iterator[None]:
    stack.down(part)
    try:
        yield
    finally:
        stack.up(part)
        stack.wait_ready(part)


def is_the_age(seconds: float, began: float) -> bool:
    """Whether this is how old what happened at `began` is, give or take how often it is measured."""
    return A_WHILE < seconds <= time.monotonic() - began + 1


def test_without_somabrain_the_memories_that_wait_and_their_age_are_told(stack: Stack, figures: Figures) -> None:
    with stopped(stack, "brain"):
        began = figures.remember(3)
        eventually(lambda: figures.health("somabrain_http")["status"] == "down")
        eventually(lambda: figures.health("memory_sync")["backlog"] == 3 and figures.metric("memory_sync_backlog") == 3)
        eventually(lambda: is_the_age(figures.health("memory_sync")["oldest_age_seconds"], began))
        eventually(lambda: is_the_age(figures.metric("memory_sync_oldest_age_seconds"), began))
        assert figures.health("memory_replicator")["lag_seconds"] == 0, "nothing that was remembered is missing there"

    eventually(figures.are_calm)
    eventually(lambda: figures.health("somabrain_http")["status"] == "ok")


def test_without_kafka_the_records_that_wait_are_told_and_the_replica_lags(stack: Stack, figures: Figures) -> None:
    with stopped(stack, "kafka"):
        began = figures.remember(3)
        eventually(lambda: figures.metric("outbox_sync_backlog", topic="memory.wal") == 3)
        eventually(lambda: is_the_age(figures.metric("outbox_sync_oldest_age_seconds", topic="memory.wal"), began))
        eventually(lambda: is_the_age(figures.health("memory_replicator")["lag_seconds"], began))
        eventually(lambda: is_the_age(figures.metric("memory_replicator_lag_seconds"), began))
        eventually(lambda: figures.health("kafka")["status"] != "ok")
        assert figures.metric("memory_sync_backlog") == 0, "SomaBrain has them"

    eventually(figures.are_calm, 120)
    eventually(lambda: figures.health("kafka")["status"] == "ok")


def test_without_the_replicator_the_replica_lags_by_the_age_of_what_it_lacks(stack: Stack, figures: Figures) -> None:
    with stopped(stack, "worker-replicator"):
        eventually(lambda: figures.health("memory_replicator")["status"] == "degraded")
        assert figures.health("memory_replicator")["lag_seconds"] == 0, "nothing is missing yet"
        began = figures.remember(3)
        eventually(lambda: is_the_age(figures.health("memory_replicator")["lag_seconds"], began))
        eventually(lambda: is_the_age(figures.metric("memory_replicator_lag_seconds"), began))
        assert figures.metric("outbox_sync_backlog", topic="memory.wal") == 0, "Kafka has them"

    eventually(figures.are_calm)
    eventually(lambda: figures.health("memory_replicator")["status"] == "ok")


def test_a_record_that_cannot_be_stored_is_a_dead_letter_and_no_lag(stack: Stack, figures: Figures) -> None:
    before = figures.health("memory_dlq")["depth"]
    writer = KafkaWalWriter(connection_options(read(stack.environment)))
    poison = WalRecord("memory.wal", an_id(), an_id(), {"schema": 99}, {}, "", None)

    assert isinstance(writer.publish([poison])[0], Sent)
    writer.close()

    eventually(lambda: figures.health("memory_dlq")["depth"] == before + 1)
    eventually(lambda: figures.health("memory_dlq")["status"] == "degraded")
    eventually(lambda: figures.metric("gateway_dlq_depth", topic="memory.wal.dlq") == before + 1)
    eventually(figures.are_calm)
