"""Rebuilds over HTTP: begun, looked at, told of, cancelled. What a rebuild does is told in `test_rebuild.py`."""

from collections.abc import Iterator

import pytest

from devstack.stack import Stack
from tests.integration.gateway_process import Gateway, assert_problem
from tests.own_database import own_database

PATH = "/v1/admin/memory/rebuild"


@pytest.fixture
def alone(servers: Stack) -> Iterator[Gateway]:
    """A gateway on a database of its own, with no worker that would begin."""
    with own_database(servers) as environment:
        running = Gateway(environment, GATEWAY_WORKERS="1").start()
        yield running
        running.stop()


def test_a_rebuild_is_begun_once_looked_at_and_cancelled(alone: Gateway) -> None:
    begun = alone.call("POST", PATH)
    again = alone.call("POST", PATH, json={"kind": "replica"})

    assert (begun.status_code, again.status_code) == (202, 202)
    first = begun.json()
    assert (first["kind"], first["status"], first["started"]) == ("replica", "queued", True)
    assert again.json() == {**first, "started": False}
    assert_problem(alone.call("POST", PATH, json={"kind": "brain"}), 409, first["id"])

    found = alone.get(f"{PATH}/{first['id']}").json()
    assert found["progress"] == {"stage": "waiting for the replicator", "done": 0, "total": 0}
    assert (found["comparison"], found["finished_at"]) == (None, None)

    cancelled = alone.call("DELETE", f"{PATH}/{first['id']}").json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["finished_at"]
    assert_problem(alone.call("DELETE", f"{PATH}/{first['id']}"), 409, "over")
    assert alone.call("POST", PATH, json={"kind": "brain"}).json()["kind"] == "brain"

    assert_problem(alone.call("POST", PATH, json={"kind": "everything"}), 422, "kind")
    for method in ("GET", "DELETE"):
        assert_problem(alone.call(method, f"{PATH}/nobody"), 404)
