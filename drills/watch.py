"""Looking at the running stack twice a second: what it says about itself, and whether the fault is really there.

One lock separates samples from the moments when the fault begins and ends, so no sample straddles them.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg2
import requests
from prometheus_client.parser import text_string_to_metric_families

from drills.faults import Fault, StackControl
from drills.load import Load
from drills.observe import Database
from drills.record import Sample

EVERY_SECONDS = 0.5


class Watch:
    """Takes samples in the background between `start` and `stop`; hold `lock` while changing what is true."""

    def __init__(self, stack: StackControl, fault: Fault, load: Load, database: Database) -> None:
        self.lock = threading.Lock()
        self.samples: list[Sample] = []
        self._stack = stack
        self._fault = fault
        self._load = load
        self._database = database
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to take samples."""
        self._thread.start()

    def stop(self) -> None:
        """Take no further samples; returns when the last one is complete."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            with self.lock:
                self.samples.append(self.look())

    def look(self) -> Sample:
        """One sample, now; whatever does not answer is None."""
        now = time.time()
        health = self._health()
        return Sample(
            at=now,
            healthy=health.get("status") == "ok",
            backlog=_component(health, "memory_sync").get("backlog"),
            metric_backlog=self._metric("memory_sync_backlog"),
            felt=self._fault.felt(self._stack),
            shown=bool(health) and self._fault.shown(health),
            accepted=self._load.accepted,
            replica_rows=_or_none(self._database.replica_rows),
            offsets=_or_none(self._database.offsets),
            side_by_side=_or_none(self._database.side_by_side) or 0,
        )

    def _health(self) -> Mapping[str, Any]:
        try:
            answer = requests.get(f"{self._stack.url('gateway')}/v1/health", timeout=3)
            body = answer.json()
        except requests.RequestException:
            return {}
        return body if isinstance(body, dict) else {}

    def _metric(self, name: str) -> float | None:
        try:
            text = requests.get(f"{self._stack.url('worker-delivery')}/metrics", timeout=2).text
            families = list(text_string_to_metric_families(text))
        except (requests.RequestException, ValueError):
            return None
        values = [sample.value for family in families for sample in family.samples if sample.name == name]
        return sum(values) if values else None


def _component(health: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    components = health.get("components")
    found = components.get(name) if isinstance(components, dict) else None
    return found if isinstance(found, dict) else {}


def _or_none(question: Callable[[], int]) -> int | None:
    try:
        return question()
    except psycopg2.Error:
        return None
