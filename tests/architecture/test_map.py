"""The map in `app/routing.py` is the territory: tasks, queues, workers, migrations, and who may know Kafka."""

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.routing import QUEUE_OF, WORKERS, ProcessName, Queue, TaskName, command
from tests.architecture import source
from tests.architecture.source import ROOT, Module

VERSIONS = Path("migrations/versions")


# Celery's side is asked in a process of its own, as a worker would see it, so that no setting leaks into other tests.
ASK_CELERY = """
import importlib, json, sys
from celery.app.utils import find_app
import celeryconfig
from app.routing import WORKERS

app = find_app("tasks")
served, seen = {}, set(app.tasks)
for process, worker in WORKERS.items():
    for module in worker.modules:
        importlib.import_module(module)
    served[process] = sorted(set(app.tasks) - seen)
    seen |= set(app.tasks)
ours = [name for names in served.values() for name in names]
beat = {name: [entry["task"], entry["options"]["expires"]] for name, entry in celeryconfig.beat_schedule.items()}
routes = {name: app.amqp.router.route({}, name)["queue"].name for name in ours}
declared = sorted(queue.name for queue in celeryconfig.task_queues)
json.dump({"served": served, "routes": routes, "beat": beat, "queues": declared}, sys.stdout)
"""


@pytest.fixture(scope="module")
def celery() -> Mapping[str, Any]:
    """What the Celery application says about itself."""
    nowhere = dict.fromkeys(("REDIS_URL", "CELERY_BROKER_URL"), "redis://127.0.0.1:1/0")
    asked = subprocess.run(
        [sys.executable, "-c", ASK_CELERY],
        cwd=ROOT,
        env={**os.environ, **nowhere, "POSTGRES_DSN": "postgresql://127.0.0.1:1/none", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr[-2000:]
    answer: Mapping[str, Any] = json.loads(asked.stdout)
    return answer


@pytest.mark.parametrize("process", WORKERS)
def test_a_worker_knows_the_tasks_of_its_queues_and_no_others(celery: Mapping[str, Any], process: ProcessName) -> None:
    due = {task for task, queue in QUEUE_OF.items() if queue in WORKERS[process].queues}

    assert set(celery["served"][process]) == due


def test_every_task_travels_through_its_queue(celery: Mapping[str, Any]) -> None:
    assert celery["routes"] == QUEUE_OF
    assert set(QUEUE_OF) == set(TaskName)


def test_celery_declares_the_queues_of_the_map(celery: Mapping[str, Any]) -> None:
    assert set(celery["queues"]) == set(Queue)


def test_the_clock_rings_only_tasks_that_exist_and_lets_old_rings_expire(celery: Mapping[str, Any]) -> None:
    for name, (task, expires) in celery["beat"].items():
        assert task in set(TaskName), name
        assert expires > 0, f"{name} would pile up before a stopped worker"


@pytest.mark.parametrize("queue", Queue)
def test_every_queue_is_consumed_by_exactly_one_kind_of_worker(queue: Queue) -> None:
    consumers = [process for process, worker in WORKERS.items() if queue in worker.queues]

    assert len(consumers) == 1


@pytest.mark.parametrize("process", ProcessName)
def test_every_process_has_a_command(process: ProcessName) -> None:
    assert command(process)


def revisions() -> dict[str, tuple[str, str | None]]:
    """File name → (revision, the one it builds on), in the order of the names."""
    found: dict[str, tuple[str, str | None]] = {}
    for module in source.modules("migrations"):
        if module.path.parent == VERSIONS and module.path.stem != "__init__":
            names = _constants(module)
            found[module.path.name] = (names["revision"], names["down_revision"])
    return found


def _constants(module: Module) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
                values[target.id] = value.value
    return values


def test_migrations_are_numbered_in_a_line() -> None:
    before: str | None = None
    for number, (name, (revision, builds_on)) in enumerate(revisions().items(), 1):
        assert name.startswith(f"{number:04d}_"), f"{name} is number {number}"
        assert builds_on == before, f"{name} builds on {builds_on}, the one before it is {before}"
        before = revision


def test_no_number_is_taken_twice() -> None:
    taken = Counter(revision for revision, _ in revisions().values())

    assert set(taken.values()) <= {1}, taken


@pytest.mark.parametrize("door", ["app.gateway.app", "webui.app"])
def test_the_front_doors_never_load_kafka(door: str) -> None:
    """Imports are followed to the end: not even another module may bring Kafka into these processes."""
    script = f"import sys, {door}; sys.exit(', '.join(n for n in sys.modules if n.split('.')[0] == 'kafka')[:300] or 0)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"{door} loads {done.stderr[-300:]}"


def test_the_drills_know_the_product_only_from_outside() -> None:
    found = [
        module.at(node, f"imports {name}")
        for module in source.modules("drills")
        for node, name in source.imported(module)
        if name.split(".")[0] in {"app", "tasks", "webui", "migrations", "celeryconfig", "tests"}
    ]

    assert not found, "\n".join(found)
