"""The replica and an emptied memory service, rebuilt from the real system's log by the command line, under load."""

import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
import requests
from sqlalchemy import text

from app.adapters.sql.engine import create_engine
from devstack.stack import Stack
from tests.acceptance.following import call
from tests.builders import an_id
from tests.conftest import PATIENT, ROOT, eventually

pytestmark = pytest.mark.servers
LIST = "/v1/admin/memory"


def test_what_the_log_says_is_in_the_replica_and_in_an_empty_brain_again(stack: Stack) -> None:
    gateway, tenant = stack.url("gateway"), an_id("t-")
    ids = _remembered(gateway, tenant, 30)
    forgotten = requests.delete(f"{gateway}/v1/memory/{ids[0]}", params={"tenant": tenant}, timeout=10)
    assert forgotten.status_code in (200, 202)
    eventually(lambda: call(gateway, f"{LIST}/{ids[0]}")["deleted_at"])
    engine = create_engine(stack.environment["POSTGRES_DSN"], 1, "test", PATIENT)
    stopped = threading.Event()
    load = threading.Thread(target=_load, args=(gateway, tenant, stopped))
    load.start()
    try:
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM brain.memories"))
        status, told = _soma(stack, "memory", "rebuild", "--brain", "--json")
    finally:
        stopped.set()
        load.join()

    assert (status, told["status"], told["refused"]) == (0, "completed", 0), told
    assert told["comparison"]["equal"]
    with engine.begin() as connection:
        query = text("SELECT key FROM brain.memories WHERE tenant = :tenant")
        kept = list(connection.execute(query, {"tenant": tenant}).scalars())
    assert set(ids[1:]) <= set(kept)
    assert ids[0] not in kept
    assert len(kept) == len(set(kept))
    engine.dispose()


def _remembered(gateway: str, tenant: str, count: int) -> list[str]:
    """Memories that came all the way into the replica."""
    items = [{"id": an_id(), "content": f"number {number}", "metadata": {"tenant": tenant}} for number in range(count)]
    receipts = call(gateway, "/v1/memory/batch", {"items": items})["items"]
    assert all(receipt["ok"] or receipt["queued"] for receipt in receipts)
    ids = [item["id"] for item in items]
    eventually(lambda: {item["event_id"] for item in _listed(gateway, tenant)} >= set(ids))
    return ids


def _listed(gateway: str, tenant: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call(gateway, f"{LIST}?tenant={tenant}&limit=200")["items"]
    return found


def _load(gateway: str, tenant: str, stopped: threading.Event) -> None:
    while not stopped.wait(0.2):
        call(gateway, "/v1/memory/batch", {"items": [{"id": an_id(), "content": "x", "metadata": {"tenant": tenant}}]})


def _soma(stack: Stack, *words: str) -> tuple[int, dict[str, Any]]:
    argv = [sys.executable, "-m", "app.cli", "--gateway", stack.url("gateway"), *words]
    environment = {**os.environ, **stack.environment}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)
