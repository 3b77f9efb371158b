"""Export jobs from POST to download: kept, made in slices by a worker, resumed after a kill, handed out by range."""

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, text

from app.adapters.sql.upkeep import SqlUpkeep
from app.services.run_export import ExportOffice, run_export
from app.settings import Settings
from app.wiring.exporting import export_office_of
from app.wiring.process import Process
from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import ROOT, eventually
from tests.integration.gateway_process import Gateway, assert_problem
from tests.memory_rows import put

JOBS = "/v1/memory/export/jobs"


@pytest.fixture(scope="module")
def office(settings: Settings) -> Iterator[ExportOffice]:
    """A worker inside the test."""
    process = Process(settings)
    eventually(process.presence.is_known)
    yield export_office_of(process, lambda: False, lambda _: None)
    process.presence.stop()


def ask(gateway: Gateway, headers: dict[str, str] | None = None, **body: Any) -> requests.Response:
    return gateway.call("POST", JOBS, json=body, headers=headers or {})


def made(gateway: Gateway, office: ExportOffice, **body: Any) -> dict[str, Any]:
    """A job that has come to its end."""
    job_id = ask(gateway, **body).json()["job_id"]
    while run_export(job_id, office) == "given back":
        pass
    return look(gateway, job_id)


def look(gateway: Gateway, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = gateway.get(f"{JOBS}/{job_id}").json()
    return found


def test_a_job_is_made_and_its_file_is_whole(gateway: Gateway, engine: Engine, office: ExportOffice) -> None:
    tenant, ids = put(engine, *(f"number {n} of 50%" for n in range(150)))
    put(engine, "other words", tenant=tenant)

    accepted = ask(gateway, tenant=tenant, q="number 50%")

    assert accepted.status_code == 202
    job_id = accepted.json()["job_id"]
    assert accepted.json() == {"job_id": job_id, "status": "queued"}
    assert run_export(job_id, office) == "completed"
    info = look(gateway, job_id)
    assert (info["status"], info["row_count"], info["total_rows"], info["error"]) == ("completed", 150, 150, None)
    answer = gateway.get(info["download_url"])
    assert hashlib.sha256(answer.content).hexdigest() == info["sha256"]
    assert (len(answer.content), answer.headers["ETag"]) == (info["byte_size"], f'"{info["sha256"]}"')
    *rows, last = map(json.loads, answer.text.splitlines())
    assert [row["event_id"] for row in rows] == list(ids)[::-1]
    assert last == {"truncated": False, "rows": 150, "total_rows": 150}
    streamed = gateway.get("/v1/memory/export", params={"tenant": tenant, "q": "number 50%"})
    assert streamed.text == answer.text


def test_a_packed_file_is_one_gzip_file(gateway: Gateway, engine: Engine, office: ExportOffice) -> None:
    tenant, _ = put(engine, *(f"number {n}" for n in range(150)))

    info = made(gateway, office, tenant=tenant, gzip=True, limit_total=100)

    answer = gateway.get(info["download_url"])
    assert answer.headers["Content-Type"] == "application/gzip"
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Content-Disposition"].endswith('.ndjson.gz"')
    lines = gzip.decompress(answer.content).splitlines()
    assert json.loads(lines[-1]) == {"truncated": True, "rows": 100, "total_rows": 150}
    assert len(lines) == 101


def test_a_download_goes_on_where_it_broke_off(gateway: Gateway, engine: Engine, office: ExportOffice) -> None:
    tenant, _ = put(engine, *(f"number {n}" for n in range(150)))
    info = made(gateway, office, tenant=tenant)
    url, size = info["download_url"], info["byte_size"]
    whole = gateway.get(url)

    def part(value: str, **headers: str) -> requests.Response:
        return gateway.get(url, headers={"Range": value, **headers})

    for value, first, behind in (
        ("bytes=0-99", 0, 100), ("bytes=100-", 100, size), ("bytes=-7", size - 7, size),
        (f"bytes=5-{size + 100}", 5, size), (f"bytes=0-{size - 1}", 0, size),
    ):  # fmt: skip
        answer = part(value)
        assert answer.content == whole.content[first:behind], value
        if (first, behind) != (0, size):
            assert answer.status_code == 206
            assert answer.headers["Content-Range"] == f"bytes {first}-{behind - 1}/{size}"
    assert part("bytes=3-", **{"If-Range": whole.headers["ETag"]}).status_code == 206
    assert part("bytes=3-", **{"If-Range": '"another"'}).content == whole.content
    for value in ("bytes=0-1,5-6", "lines=1-2", "bytes=b-a", "bytes=9-3"):
        assert part(value).content == whole.content, value
    beyond = part(f"bytes={size}-")
    assert_problem(beyond, 416)
    assert beyond.headers["Content-Range"] == f"bytes */{size}"
    assert gateway.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304


def test_a_repeated_key_is_one_job(gateway: Gateway) -> None:
    key, tenant = an_id(), an_id("t-")

    first, again = (ask(gateway, {"Idempotency-Key": key}, tenant=tenant) for _ in range(2))

    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert_problem(ask(gateway, {"Idempotency-Key": key}, tenant=tenant, role="user"), 422)


def test_what_is_not_whole_cannot_be_had(gateway: Gateway, engine: Engine, office: ExportOffice) -> None:
    tenant, _ = put(engine, "one")
    job_id = ask(gateway, tenant=tenant).json()["job_id"]
    assert look(gateway, job_id)["download_url"] is None
    assert_problem(gateway.get(f"{JOBS}/{job_id}/download"), 409, "queued")

    cancelled = gateway.call("DELETE", f"{JOBS}/{job_id}")

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert run_export(job_id, office) == "nothing to do"
    assert_problem(gateway.get(f"{JOBS}/{job_id}/download"), 409, "cancelled")
    for method, path in (("GET", ""), ("GET", "/download"), ("DELETE", "")):
        assert_problem(gateway.call(method, f"{JOBS}/nobody{path}"), 404)


def test_what_has_expired_is_gone_and_erased(gateway: Gateway, engine: Engine, office: ExportOffice) -> None:
    tenant, _ = put(engine, "one")
    info = made(gateway, office, tenant=tenant)
    assert gateway.call("DELETE", f"{JOBS}/{info['id']}").json()["status"] == "completed"

    assert_problem(gateway.get(f"{JOBS}/{info['id']}/download"), 410)
    assert chunks(engine, info["id"]) == 1
    eventually(lambda: SqlUpkeep(engine).prune() >= 0 and chunks(engine, info["id"]) == 0, 20)
    assert look(gateway, info["id"])["download_url"] is None


def test_what_can_be_had_is_not_pruned(gateway: Gateway, engine: Engine, office: ExportOffice) -> None:
    info = made(gateway, office, tenant=put(engine, "one")[0])

    SqlUpkeep(engine).prune()

    assert gateway.get(info["download_url"]).status_code == 200


def chunks(engine: Engine, job_id: str) -> int:
    with engine.begin() as connection:
        found = connection.execute(text("SELECT count(*) FROM export_chunks WHERE job_id = :id"), {"id": job_id})
        return int(found.scalar_one())


WRONG = {
    "q without a letter": {"q": "..."}, "a list": {"tenant": ["a"]}, "an object": {"role": {"$ne": "user"}},
    "NUL": {"q": "a\x00b"}, "an unknown field": {"colour": "red"}, "no rows": {"limit_total": 0},
    "times as text": {"min_ts": "1"}, "turned around": {"min_ts": 2, "max_ts": 1}, "before 1970": {"min_ts": -1},
    "long": {"tenant": "x" * 10_000}, "not a flag": {"gzip": "yes"},
}  # fmt: skip


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_job_is_422(gateway: Gateway, body: dict[str, Any]) -> None:
    assert_problem(ask(gateway, **body), 422)


def test_a_failed_job_says_why_and_a_dead_one_is_at_the_desk(gateway: Gateway, engine: Engine) -> None:
    job_id = ask(gateway, tenant=an_id("t-")).json()["job_id"]
    with engine.begin() as connection:
        for state in ("running", "dead"):
            connection.execute(
                text("UPDATE export_jobs SET state = :state, lease_owner = CASE WHEN :state = 'running' THEN 'w' END,"
                     " finished_at = CASE WHEN :state = 'dead' THEN now() END, last_error = 'five workers died'"
                     " WHERE job_id = :id"),
                {"state": state, "id": job_id},
            )  # fmt: skip
    info = look(gateway, job_id)
    assert (info["status"], info["error"]) == ("failed", "five workers died")

    items = gateway.get("/v1/admin/work", params={"kind": "export", "state": "dead", "limit": 200}).json()["items"]

    assert job_id in [item["id"] for item in items]
    assert gateway.call("POST", f"/v1/admin/work/export/{job_id}/retry").json()["state"] == "owed"
    assert look(gateway, job_id)["status"] == "queued"
    gateway.call("DELETE", f"{JOBS}/{job_id}")


KILLED = """
import os, signal, sys
from app.services.run_export import run_export
from app.settings import settings
from app.wiring.exporting import export_office_of
from app.wiring.process import Process

process = Process(settings())
while not process.presence.is_known():
    pass
office = export_office_of(process, lambda: False, lambda _: None)
keep, kept = office.jobs.keep, []

def keep_and_die(job, chunk):
    done = keep(job, chunk)
    kept.append(done)
    if len(kept) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return done

office.jobs.keep = keep_and_die
run_export(sys.argv[1], office)
"""


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_killed_worker_loses_and_doubles_nothing(
    gateway: Gateway, engine: Engine, servers: Stack, office: ExportOffice, packed: bool
) -> None:
    tenant, ids = put(engine, *(f"number {n}" for n in range(600)))
    job_id = ask(gateway, tenant=tenant, gzip=packed).json()["job_id"]
    for times in (1, 1):
        argv = [sys.executable, "-c", KILLED, job_id, str(times)]
        environment = {"PATH": "", **servers.environment, "PROCESS_NAME": "killed"}
        killed = subprocess.run(argv, cwd=ROOT, env=environment, timeout=60, check=False)
        assert killed.returncode == -9
        eventually(lambda: SqlUpkeep(engine).end_leases_of_the_dead() is not None and office.jobs.due(1000), 20)

    assert run_export(job_id, office) == "completed"

    info = look(gateway, job_id)
    content = gateway.get(info["download_url"]).content
    assert hashlib.sha256(content).hexdigest() == info["sha256"]
    *rows, last = map(json.loads, (gzip.decompress(content) if packed else content).splitlines())
    assert [row["event_id"] for row in rows] == list(ids)[::-1]
    assert last == {"truncated": False, "rows": 600, "total_rows": 600}
    assert info["row_count"] == 600
