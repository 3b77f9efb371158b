"""An export that its reader waits for: one moment, whole or visibly not, bounded in every direction."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, text

from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import eventually
from tests.integration.gateway_process import Gateway, assert_problem
from tests.memory_rows import put

EXPORT = "/v1/memory/export"
MANY, LONG = 2_000, " " + "-" * 5_000


def lines(answer: requests.Response) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The memories and the last line."""
    *rows, last = [json.loads(line) for line in answer.text.splitlines()]
    return rows, last


def test_an_export_is_the_list_as_lines_and_says_that_it_is_whole(gateway: Gateway, engine: Engine) -> None:
    tenant, ids = put(engine, 'a "quote"', "a\nnew line", "käse \\ 50%", persona_id="p-1")
    put(engine, "somebody else's")

    answer = gateway.get(EXPORT, params={"tenant": tenant})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="memories.ndjson"'
    assert int(answer.headers["RateLimit-Remaining"]) == 9
    rows, last = lines(answer)
    assert last == {"truncated": False, "rows": 3, "total_rows": 3}
    items = gateway.get("/v1/admin/memory", params={"tenant": tenant}).json()["items"]
    assert [row["event_id"] for row in rows] == [item["event_id"] for item in items] == list(ids)[::-1]
    assert [row["payload"] for row in rows] == [item["payload"] for item in items]
    assert rows[0].keys() == items[0].keys()


def test_an_export_has_the_filters_of_the_list(gateway: Gateway, engine: Engine) -> None:
    tenant, ids = put(engine, *(f"number {n} of 50%" for n in range(6)), role="tool")
    put(engine, "number 9 of 50%", tenant=tenant, role="user")

    answer = gateway.get(EXPORT, params={"tenant": tenant, "role": "tool", "q": "50% number", "min_ts": "1003"})

    rows, last = lines(answer)
    assert [row["event_id"] for row in rows] == list(ids[:2:-1])
    assert last["truncated"] is False


def test_an_export_of_nothing_is_whole(gateway: Gateway) -> None:
    assert lines(gateway.get(EXPORT, params={"tenant": an_id("t-")})) == (
        [], {"truncated": False, "rows": 0, "total_rows": 0},
    )  # fmt: skip


def test_an_export_that_is_cut_says_how_many_there_are(gateway: Gateway, engine: Engine) -> None:
    tenant, ids = put(engine, *(f"number {n}" for n in range(7)))

    cut, whole = (gateway.get(EXPORT, params={"tenant": tenant, "limit_total": n}) for n in (3, 7))

    rows, last = lines(cut)
    assert [row["event_id"] for row in rows] == list(ids[:3:-1])
    assert last == {"truncated": True, "rows": 3, "total_rows": 7}
    assert lines(whole)[1] == {"truncated": False, "rows": 7, "total_rows": 7}


@pytest.fixture(scope="module")
def narrow(servers: Stack) -> Iterator[Gateway]:
    """A gateway that exports for a tenant only, one at a time, five rows, three times a minute."""
    running = Gateway(
        servers.environment, GATEWAY_EXPORT_REQUIRE_TENANT="true", GATEWAY_EXPORT_CONCURRENCY="1",
        MEMORY_EXPORT_MAX_ROWS=str(MANY), GATEWAY_EXPORTS_PER_MINUTE="3",
    ).start()  # fmt: skip
    yield running
    running.stop()


def test_without_a_tenant_where_one_is_required_it_is_400(narrow: Gateway) -> None:
    assert_problem(narrow.get(EXPORT), 400, "tenant")
    assert_problem(narrow.get(EXPORT, params={"tenant": ""}), 400, "tenant")


def test_over_the_rate_it_is_429_with_the_time_to_come_again(narrow: Gateway) -> None:
    tenant = an_id("t-")
    answers = [narrow.get(EXPORT, params={"tenant": tenant}) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert_problem(answers[-1], 429)
    headers = answers[-1].headers
    assert (headers["RateLimit-Limit"], headers["RateLimit-Remaining"]) == ("3", "0")
    assert 1 <= int(headers["Retry-After"]) <= 20
    assert 1 <= int(headers["RateLimit-Reset"]) <= 60
    assert narrow.get(EXPORT, params={"tenant": an_id("t-")}).status_code == 200


@pytest.fixture(scope="module")
def large(engine: Engine) -> str:
    """A tenant whose export is larger than what lies in buffers between a gateway and its reader."""
    return put(engine, *(f"number {n}{LONG}" for n in range(MANY)))[0]


@contextmanager
def stalled(gateway: Gateway, tenant: str) -> Iterator[socket.socket]:
    """A reader that has asked and takes nothing more than the beginning."""
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        reader.settimeout(30)
        reader.connect(("127.0.0.1", gateway.port))
        reader.sendall(f"GET {EXPORT}?tenant={tenant} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert reader.recv(15) == b"HTTP/1.1 200 OK"
        yield reader


def rest(reader: socket.socket) -> bytes:
    """Everything that still comes."""
    found = bytearray()
    try:
        while piece := reader.recv(1_048_576):
            found += piece
    except ConnectionError:
        pass
    return bytes(found)


def sessions(engine: Engine) -> list[int]:
    """The server's processes that work for exports."""
    sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'gateway export' AND state <> 'idle'"
    with engine.begin() as connection:
        return list(connection.execute(text(sql)).scalars())


def test_more_at_once_than_allowed_is_429_and_a_reader_that_stalls_gives_its_slot_back(
    narrow: Gateway, engine: Engine, large: str
) -> None:
    with stalled(narrow, large):
        refused = narrow.get(EXPORT, params={"tenant": an_id("t-")})
        assert_problem(refused, 429)
        assert int(refused.headers["Retry-After"]) >= 1

        eventually(lambda: not sessions(engine), 16)

    assert narrow.get(EXPORT, params={"tenant": an_id("t-")}).status_code == 200


def test_an_export_shows_one_moment(narrow: Gateway, engine: Engine, large: str) -> None:
    with stalled(narrow, large) as reader:
        put(engine, "later", tenant=large, wal_timestamp=1.0)
        with engine.begin() as connection:
            connection.execute(text("UPDATE memory_replica SET payload = NULL WHERE tenant = :t"), {"t": large})
        body = rest(reader)

    assert body.count(b'"event_id"') == MANY
    assert b"later" not in body
    assert body.count(b'"payload":{}') == 0
    assert f'{{"truncated": true, "rows": {MANY}, "total_rows": {MANY}}}'.encode() not in body
    assert f'{{"truncated": false, "rows": {MANY}, "total_rows": {MANY}}}'.encode() in body
    assert body.endswith(b"0\r\n\r\n")


def test_a_postgres_that_dies_in_the_middle_leaves_an_export_that_is_visibly_broken(
    narrow: Gateway, engine: Engine
) -> None:
    tenant = put(engine, *(f"number {n}{LONG}" for n in range(MANY)))[0]
    with stalled(narrow, tenant) as reader:
        (pid,) = eventually(lambda: sessions(engine), 5)
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        body = rest(reader)

    assert 0 < body.count(b'"event_id"') < MANY
    assert b'"truncated"' not in body
    assert not body.endswith(b"0\r\n\r\n")
    assert narrow.get(EXPORT, params={"tenant": an_id("t-")}).status_code == 200


def test_a_head_request_leaves_no_slot_taken(narrow: Gateway, large: str) -> None:
    for _ in range(2):
        answer = requests.head(f"{narrow.base}{EXPORT}", params={"tenant": an_id("t-")}, timeout=10)
        assert answer.status_code == 200
