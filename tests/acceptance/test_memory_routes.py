"""Every row of the contract's table of memory calls, on the whole running system: what a program relies on."""

import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from sqlalchemy import text

from app.adapters.sql.engine import create_engine
from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import PATIENT, eventually
from tests.integration.gateway_process import Gateway, assert_problem

pytestmark = pytest.mark.servers
LIST, JOBS = "/v1/admin/memory", "/v1/memory/export/jobs"
ITEM = {
    "id", "event_id", "session_id", "persona_id", "tenant", "role", "coord", "request_id", "trace_id", "payload",
    "wal_timestamp", "created_at", "deleted_at",
}  # fmt: skip
JOB = {"id", "status", "row_count", "total_rows", "byte_size", "sha256", "error", "download_url"}
EXPORTS_PER_MINUTE = 10
SAID = ("the otter sleeps in the river", "an otter plays with a stone", "the badger digs at 50% of its speed")


@dataclass(frozen=True)
class Room:
    """A tenant whose memories have come all the way into the replica."""

    base: str
    tenant: str
    ids: list[str]

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, self.base + path, timeout=30, **options)

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.ask("GET", path, params={"tenant": self.tenant, **query})

    def listed(self, **query: Any) -> list[str]:
        return [item["event_id"] for item in self.get(LIST, **query).json()["items"]]

    def recalled(self, query: str, **wish: Any) -> dict[str, Any]:
        body = {"query": query, "tenant": self.tenant, "top_k": 50, **wish}
        found: dict[str, Any] = self.ask("POST", "/v1/memory/recall", json=body).json()
        return found


@pytest.fixture(scope="module")
def room(stack: Stack) -> Room:
    made = Room(stack.url("gateway"), an_id("t-"), [an_id("m-") for _ in SAID])
    answer = made.ask("POST", "/v1/memory/batch", json={"items": _items(made)})
    assert answer.status_code == 200
    eventually(lambda: set(made.listed()) == set(made.ids))
    return made


def _items(room: Room) -> list[dict[str, Any]]:
    """Memories that differ in everything that can be filtered by."""
    return [
        {
            "id": event_id, "content": said, "role": "user" if number else "tool", "session_id": f"s-{number}",
            "persona_id": f"p-{number}",
            "metadata": {"tenant": room.tenant, "universe_id": f"u-{number}", "namespace": f"n-{number}"},
        }
        for number, (event_id, said) in enumerate(zip(room.ids, SAID, strict=True))
    ]  # fmt: skip


def test_the_list_has_every_filter_and_pages_newest_first_without_gap_or_repeat(room: Room) -> None:
    first = room.get(LIST, limit=2).json()
    assert set(first["items"][0]) >= ITEM
    rest = room.get(LIST, limit=2, after=first["next_cursor"]).json()
    times = [item["wal_timestamp"] for item in [*first["items"], *rest["items"]]]
    assert sorted(times, reverse=True) == times
    assert rest["next_cursor"] is None
    assert {item["event_id"] for item in [*first["items"], *rest["items"]]} == set(room.ids)

    tool, otter, badger = room.ids
    assert room.listed(role="tool") == [tool]
    for name, values in {"session_id": "s-", "persona_id": "p-", "universe": "u-", "namespace": "n-"}.items():
        assert room.listed(**{name: f"{values}1"}) == [otter], name
    assert set(room.listed(q="otter the")) == {tool}
    assert room.listed(q="50%") == [badger]
    assert room.listed(min_ts=max(times) + 1) == []
    assert set(room.listed(max_ts=max(times) + 1, min_ts=min(times) - 1)) == set(room.ids)


def test_one_memory_is_shown_and_an_unknown_one_is_404(room: Room) -> None:
    shown = room.get(f"{LIST}/{room.ids[0]}").json()

    assert (shown["event_id"], shown["tenant"], shown["payload"]["content"]) == (room.ids[0], room.tenant, SAID[0])
    assert len(shown["coord"]) == 3
    assert room.get(f"{LIST}/{an_id()}").status_code == 404


def test_a_batch_answers_each_item_in_order_and_one_bad_item_spoils_no_other(room: Room) -> None:
    tenant = an_id("t-")
    good = [{"id": an_id("m-"), "content": "kept", "metadata": {"tenant": tenant}} for _ in range(2)]
    wrong = {"id": an_id("m-"), "content": "x", "metadata": "none"}

    answer = room.ask("POST", "/v1/memory/batch", json={"items": [good[0], wrong, good[1]]})

    assert answer.status_code == 200
    receipts = answer.json()["items"]
    assert [receipt["id"] for receipt in receipts] == [good[0]["id"], wrong["id"], good[1]["id"]]
    assert all(receipt["ok"] != receipt["queued"] for receipt in (receipts[0], receipts[2]))
    assert "metadata" in receipts[1]["error"]
    kept = Room(room.base, tenant, [])
    eventually(lambda: set(kept.listed()) == {item["id"] for item in good})
    assert kept.get(LIST).json()["items"][0]["payload"]["idempotency_key"], "made where it was missing"
    assert room.ask("POST", "/v1/memory/batch", json={"items": [good[0]] * 501}).status_code == 413


def test_recall_says_where_each_memory_was_found_and_stays_in_its_tenant(room: Room) -> None:
    found = eventually(lambda: _from_brain(room.recalled("otter", universe="u-1", namespace="n-1")))

    assert not found["degraded"]
    (only,) = found["results"]
    assert {"event_id", "content", "score", "role", "source", "created_at"} <= set(only)
    assert (only["event_id"], only["content"], only["source"]) == (room.ids[1], SAID[1], "brain")
    assert 0 <= only["score"] <= 1
    assert not room.recalled("otter", tenant=an_id("t-"), universe="u-1", namespace="n-1")["results"]
    for top_k in (0, 51):
        refused = room.ask("POST", "/v1/memory/recall", json={"query": "x", "top_k": top_k})
        assert refused.status_code == 422
        assert "top_k" in json.dumps(refused.json()["errors"])


def _from_brain(recalled: dict[str, Any]) -> Any:
    return recalled if [found["source"] for found in recalled["results"]] == ["brain"] else None


def test_a_deleted_memory_is_nowhere_and_only_its_owner_can_delete_it(room: Room) -> None:
    own = Room(room.base, an_id("t-"), [an_id("m-")])
    item = {"id": own.ids[0], "content": "the heron waits", "metadata": {"tenant": own.tenant}}
    assert own.ask("POST", "/v1/memory/batch", json={"items": [item]}).json()["items"][0]["id"] == own.ids[0]
    eventually(lambda: own.listed() == own.ids)
    path = f"/v1/memory/{own.ids[0]}"

    assert room.ask("DELETE", path, params={"tenant": room.tenant}).status_code == 404
    answer = own.ask("DELETE", path, params={"tenant": own.tenant})

    assert (answer.status_code, answer.json()["deleted"]) in ((200, True), (202, False))
    eventually(lambda: own.ask("DELETE", path, params={"tenant": own.tenant}).status_code == 200)
    assert not own.recalled("heron")["results"]
    assert eventually(lambda: own.get(f"{LIST}/{own.ids[0]}").json()["deleted_at"])
    assert "heron" not in own.get("/v1/memory/export").text
    assert room.ask("DELETE", f"/v1/memory/{an_id()}", params={"tenant": room.tenant}).status_code == 404


def test_an_export_streams_the_list_as_lines_and_says_whether_it_is_whole(room: Room) -> None:
    answer = room.get("/v1/memory/export")

    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    *rows, last = map(json.loads, answer.text.splitlines())
    assert [row["event_id"] for row in rows] == room.listed()
    assert last == {"truncated": False, "rows": 3, "total_rows": 3}
    *cut, last = map(json.loads, room.get("/v1/memory/export", limit_total=1, q="otter").text.splitlines())
    assert len(cut) == 1
    assert last == {"truncated": True, "rows": 1, "total_rows": 2}


def test_who_exports_too_often_is_told_when_to_come_again_and_nobody_else_is(room: Room) -> None:
    eager, patient = (Room(room.base, an_id("t-"), []) for _ in range(2))

    answers = [eager.get("/v1/memory/export") for _ in range(EXPORTS_PER_MINUTE)]
    (refused,) = eventually(lambda: _refused(eager.get("/v1/memory/export")))

    assert [answer.status_code for answer in answers] == [200] * EXPORTS_PER_MINUTE
    assert_problem(refused, 429)
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert eventually(lambda: _refused(eager.ask("POST", JOBS, json={"tenant": eager.tenant})))
    assert patient.get("/v1/memory/export").status_code == 200


def _refused(answer: requests.Response) -> list[requests.Response]:
    """Nothing where there was room for one more: on a slow machine it comes back meanwhile."""
    return [answer] if answer.status_code == 429 else []


def test_where_exports_have_to_name_a_tenant_one_without_is_400(stack: Stack, room: Room) -> None:
    gateway = Gateway(stack.environment, GATEWAY_EXPORT_REQUIRE_TENANT="true").start()
    try:
        assert_problem(gateway.get("/v1/memory/export"), 400, "tenant")
        assert_problem(gateway.call("POST", JOBS, json={}), 400, "tenant")
        assert gateway.get("/v1/memory/export", params={"tenant": room.tenant}).status_code == 200
    finally:
        gateway.stop()


def test_an_export_job_is_made_in_the_background_and_its_file_can_be_had_in_parts(room: Room, stack: Stack) -> None:
    answer = room.ask("POST", JOBS, json={"tenant": room.tenant, "gzip": True})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    at = f"{JOBS}/{answer.json()['job_id']}"
    job = eventually(lambda: _completed(room.ask("GET", at).json()))
    assert set(job) >= JOB
    assert (job["row_count"], job["total_rows"], job["error"]) == (3, 3, None)

    whole = room.ask("GET", job["download_url"])
    part = room.ask("GET", job["download_url"], headers={"Range": "bytes=10-", "If-Range": whole.headers["ETag"]})

    assert hashlib.sha256(whole.content).hexdigest() == job["sha256"]
    assert (part.status_code, part.content) == (206, whole.content[10:])
    *rows, last = map(json.loads, gzip.decompress(whole.content).splitlines())
    assert [row["event_id"] for row in rows] == room.listed()
    assert last == {"truncated": False, "rows": 3, "total_rows": 3}
    _expire(stack, job["id"])
    assert room.ask("GET", job["download_url"]).status_code == 410
    assert room.ask("GET", f"{JOBS}/{an_id()}").status_code == 404


def _completed(job: dict[str, Any]) -> Any:
    return job if job["status"] == "completed" else None


def _expire(stack: Stack, job_id: str) -> None:
    engine = create_engine(stack.environment["POSTGRES_DSN"], 1, "test", PATIENT)
    with engine.begin() as connection:
        connection.execute(text("UPDATE export_jobs SET expires_at = now() WHERE job_id = :id"), {"id": job_id})
    engine.dispose()


def test_a_job_that_is_cancelled_gives_no_file(room: Room, stack: Stack) -> None:
    stack.freeze("worker-delivery")
    try:
        at = f"{JOBS}/{room.ask('POST', JOBS, json={'tenant': room.tenant}).json()['job_id']}"
        assert room.ask("GET", f"{at}/download").status_code == 409
        assert room.ask("DELETE", at).status_code == 200
    finally:
        stack.thaw("worker-delivery")

    assert room.ask("GET", at).json()["status"] == "cancelled"
    assert room.ask("GET", f"{at}/download").status_code == 409
