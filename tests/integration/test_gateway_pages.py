"""What the gateway tells about itself and lists for people."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from sqlalchemy import Engine

from app.adapters.sql.replica import SqlReplica
from app.domain.log import WalPartition
from app.domain.wal import parse_all
from app.gateway.app import create_app
from app.settings import Settings
from tests.builders import NOW, a_batch, an_id, wal_bytes
from tests.conftest import eventually
from tests.integration.gateway_process import Gateway, assert_problem
from tests.memory_rows import put


@pytest.fixture(scope="module")
def description(gateway: Gateway) -> Any:
    return gateway.get("/openapi.json").json()


def test_the_description_is_openapi_3_1(description: Any) -> None:
    assert description["openapi"].startswith("3.1.")
    assert {"title", "version"} <= description["info"].keys()
    for name, schema in description["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    ids = [call["operationId"] for path in description["paths"].values() for call in path.values()]
    assert len(ids) == len(set(ids))


def test_every_reference_leads_somewhere(description: Any) -> None:
    for reference in set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(description))):
        place = description
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_every_parameter_of_a_path_is_described(description: Any) -> None:
    for path, calls in description["paths"].items():
        for call in calls.values():
            named = {p["name"] for p in call["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            assert call["responses"].keys() & {"200", "201", "202"}


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[Flask]:
    """The application in this process, which must not keep its way of logging."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield create_app(settings)
    root.handlers[:], root.level = handlers, level


def test_every_route_is_described(description: Any, app: Flask) -> None:
    described = {(path, method.upper()) for path, calls in description["paths"].items() for method in calls}
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    apart = ("/docs", "/openapi.json", "/metrics", "/v1/session/{session_id}/stream")

    assert {(path, method) for path, method in served if not path.startswith(apart)} == described


def test_the_documentation_has_no_asset_from_elsewhere(gateway: Gateway) -> None:
    page = gateway.get("/docs")

    assert page.status_code == 200
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) >= 4
    for asset in assets:
        assert asset.startswith("/"), asset
        assert gateway.get(asset).status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "http" not in policy
    assert "default-src 'none'" in policy


def test_metrics_are_those_of_all_processes(gateway: Gateway) -> None:
    for _ in range(5):
        gateway.say()
    text = gateway.get("/metrics").text

    found = re.findall(
        r'gateway_requests_total\{method="POST",route="/v1/session/message",status="200"\} ([0-9.]+)', text
    )
    assert len(found) == 1
    assert float(found[0]) >= 5
    assert "gateway_request_latency_seconds_bucket" in text
    labels = set(re.findall(r'[{,](\w+)="', text))
    assert not labels & {"session", "session_id", "tenant", "url", "key"}


def test_messages_whose_memory_was_written_with_them_are_counted(gateway: Gateway) -> None:
    gateway.say()
    text = gateway.get("/metrics").text

    attempts = re.findall(r'gateway_write_through_attempts_total\{path="/v1/session/message"\} ([0-9.]+)', text)
    queued = re.findall(
        r'gateway_write_through_results_total\{path="/v1/session/message",result="queued"\} ([0-9.]+)', text
    )
    assert len(attempts) == len(queued) == 1
    assert float(attempts[0]) >= float(queued[0]) >= 1


def answered(response: Any) -> Any:
    """The body of a good answer, None for another one."""
    return response.json() if response.status_code == 200 else None


def test_health_shows_every_component(gateway: Gateway) -> None:
    # An answer is kept for two seconds, so one may still tell of an outage that has just ended.
    health = eventually(lambda: answered(gateway.get("/v1/health")), 5)

    assert health["status"] in ("ok", "degraded")
    assert set(health["components"]) == {
        "postgres", "redis", "kafka", "somabrain_http", "memory_replicator", "memory_sync", "memory_dlq", "workers",
        "policy", "model", "tool_calls",
    }  # fmt: skip
    assert all(part["status"] in ("ok", "degraded", "down") for part in health["components"].values())
    assert health["components"]["postgres"]["status"] == "ok"
    assert health["components"]["memory_replicator"]["lag_seconds"] >= 0
    assert {"backlog", "oldest_age_seconds"} <= health["components"]["memory_sync"].keys()
    assert "depth" in health["components"]["memory_dlq"]


def test_the_process_lives_and_is_ready(gateway: Gateway) -> None:
    assert gateway.get("/healthz").json() == {"status": "ok"}
    assert gateway.get("/readyz").json() == {"status": "ok"}


def test_the_page_learns_the_values_in_force(gateway: Gateway) -> None:
    config = gateway.get("/ui/config.json").json()

    assert (config["api_base"], config["namespace_default"], config["universe_default"]) == ("/v1", "wm", "")
    assert config["features"] == {
        "write_through": True, "write_through_async": True, "require_auth": False, "sse_enabled": True,
        "websocket_enabled": True,
    }  # fmt: skip


WRONG = [
    "limit=0", "limit=-1", "limit=201", "limit=x", "limit=1.5", "limit=", "limit=1&limit=2",
    "after=nonsense", "after=WzFd", "after=W10", "after=bnVsbA", "after=%00", "after=%ff",
    "after=WyJcdTAwMDAiLCAiYSJd", "colour=red", "limit=" + "9" * 5000,
    "after=WyJ4IiwgInkiXQ", "after=WzFlOTk5LCAxXQ", "after=WzEuMCwgMWU5OV0", "after=" + "A" * 4000,
]  # fmt: skip


@pytest.mark.parametrize("query", WRONG, ids=lambda query: query[:30])
@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/admin/memory"])
def test_a_wrong_question_to_a_list_is_422(gateway: Gateway, path: str, query: str) -> None:
    assert_problem(gateway.get(f"{path}?{query}"), 422)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "after=x", "after=-1", "after=1.5", f"after={2**63}", "to=1"]
)
def test_a_wrong_question_about_events_is_422(gateway: Gateway, query: str) -> None:
    session_id = gateway.say()["session_id"]

    assert_problem(gateway.get(f"/v1/sessions/{session_id}/events?{query}"), 422)


def pages(gateway: Gateway, path: str, limit: int, **query: str) -> list[dict[str, Any]]:
    """Everything that the list has, page by page."""
    items: list[dict[str, Any]] = []
    after = ""
    while True:
        page = gateway.get(path, params={**query, "limit": limit, **({"after": after} if after else {})}).json()
        items += page["items"]
        assert len(page["items"]) <= limit
        if page["next_cursor"] is None:
            return items
        after = page["next_cursor"]


def test_sessions_are_paged_newest_first_without_gap_or_repeat(gateway: Gateway) -> None:
    tenant = an_id("t-")
    said = [gateway.say(metadata={"tenant": tenant}, persona_id="p-1")["session_id"] for _ in range(7)]

    items = pages(gateway, "/v1/sessions", 3, tenant=tenant)

    assert [item["session_id"] for item in items] == said[::-1]
    assert set(items[0]) == {
        "session_id", "persona_id", "tenant", "subject", "title", "metadata", "analysis", "paused", "created_at",
        "updated_at",
    }  # fmt: skip


def test_events_are_paged_oldest_first(gateway: Gateway) -> None:
    session_id = gateway.say()["session_id"]
    for _ in range(3):
        gateway.say(session_id=session_id)
    seqs: list[int] = []
    after: int | None = 0
    while after is not None:
        page = gateway.get(f"/v1/sessions/{session_id}/events", params={"limit": 3, "after": after}).json()
        seqs += [event["id"] for event in page["events"]]
        after = page["next_cursor"]

    assert seqs == list(range(1, 9))
    assert_problem(gateway.get("/v1/sessions/nobody/events"), 404)


@pytest.fixture(scope="module")
def remembered(engine: Engine) -> str:
    """A tenant with five memories in the replica, of two universes, at the same moment."""
    tenant, partition = an_id("t-"), WalPartition(an_id("wal-"), 0)
    values = [
        wal_bytes(
            f"{tenant}:{number}", tenant=tenant, universe=f"u-{number % 2}", role=("user", "assistant")[number % 2]
        )
        for number in range(5)
    ]
    batch = a_batch(partition, 0, *values)
    good, bad = parse_all(((record.offset, record.value) for record in batch.records), NOW.timestamp())
    replica = SqlReplica(engine)
    replica.take(partition)
    replica.store(batch, good, bad)
    return tenant


def test_memories_are_paged_and_filtered(gateway: Gateway, remembered: str) -> None:
    every = pages(gateway, "/v1/admin/memory", 2, tenant=remembered)
    odd = pages(gateway, "/v1/admin/memory", 200, tenant=remembered, universe="u-1", role="assistant", namespace="wm")

    assert [item["event_id"] for item in every] == [f"{remembered}:{number}" for number in range(4, -1, -1)]
    assert [item["event_id"] for item in odd] == [f"{remembered}:3", f"{remembered}:1"]
    assert every[0]["coord"] == [0.1, 0.2, 0.3]
    assert pages(gateway, "/v1/admin/memory", 200, tenant=remembered, session_id="none") == []


WRONG_FILTERS = {
    "min_ts=soon": "min_ts", "max_ts=NaN": "max_ts", "min_ts=inf": "min_ts", "min_ts=-1": "min_ts",
    "max_ts=1969-12-31": "max_ts", "min_ts=5&max_ts=4": "max_ts", "min_ts=1e999": "min_ts", "q=": "q", "q=%20": "q",
    "q=...": "q", "q=" + "x" * 501: "q", "tenant=" + "x" * 10_000: "tenant", "tenant=a&tenant=b": "tenant",
    "tenant[]=a": "tenant[]", "tenant[$ne]=a": "tenant[$ne]", "role__in=a,b": "role__in", "role=a%00b": "role",
    "q=a%00b": "q",
}  # fmt: skip


@pytest.mark.parametrize(("query", "name"), WRONG_FILTERS.items(), ids=lambda value: value[:30])
@pytest.mark.parametrize("path", ["/v1/admin/memory", "/v1/memory/export"])
def test_a_wrong_filter_is_422_and_named(gateway: Gateway, path: str, query: str, name: str) -> None:
    if len(query) > 8000:
        query = query[:8000]
    problem = assert_problem(gateway.get(f"{path}?{query}"), 422)

    assert problem["errors"][0]["loc"] == ["query", *name.split(".")]
    assert problem["errors"][0]["msg"]


def test_what_looks_like_an_operator_is_only_a_value(gateway: Gateway, remembered: str) -> None:
    for value in ("!=", "> 'a'", "*", f"{remembered}' OR '1'='1", "{}", '["user"]', "%"):
        assert pages(gateway, "/v1/admin/memory", 200, tenant=remembered, role=value) == []


def test_memories_are_found_by_words_within_times(gateway: Gateway, engine: Engine) -> None:
    tenant, ids = put(engine, *(f"word {number} of 50% and snake_case" for number in range(6)), wal_timestamp=5.0)

    found = pages(gateway, "/v1/admin/memory", 2, tenant=tenant, q="WORD 50%")

    assert [item["event_id"] for item in found] == ids[::-1]
    assert pages(gateway, "/v1/admin/memory", 2, tenant=tenant, q="word", min_ts="5.5") == []
    assert len(pages(gateway, "/v1/admin/memory", 2, tenant=tenant, q="snake_case", min_ts="5", max_ts="5")) == 6


def test_a_cursor_belongs_to_its_filters(gateway: Gateway, remembered: str) -> None:
    page = gateway.get("/v1/admin/memory", params={"tenant": remembered, "limit": 2}).json()

    other = gateway.get("/v1/admin/memory", params={"tenant": remembered, "q": "hello", "after": page["next_cursor"]})

    assert_problem(other, 422, "leave `after` out")
    assert gateway.get("/v1/admin/memory", params={"tenant": remembered, "limit": 3, "after": page["next_cursor"]}).ok


def test_a_walk_meets_every_memory_once_while_they_are_written_changed_and_forgotten(
    gateway: Gateway, engine: Engine
) -> None:
    tenant, partition = an_id("t-"), WalPartition(an_id("wal-"), 0)
    replica, offset = SqlReplica(engine), 0
    generation = replica.take(partition).generation

    def write(*bodies: bytes) -> None:
        nonlocal offset
        batch = a_batch(partition, offset, *bodies, generation=generation)
        good, bad = parse_all(((record.offset, record.value) for record in batch.records), NOW.timestamp())
        replica.store(batch, good, bad)
        offset += len(bodies)

    keys = [f"{tenant}:{number}" for number in range(30)]
    write(*(wal_bytes(key, tenant=tenant, timestamp=1000.0 + number) for number, key in enumerate(keys)))
    seen: list[str] = []
    after: str | None = ""
    for step in range(30):
        page = gateway.get("/v1/admin/memory", params={"tenant": tenant, "limit": 4, "after": after or ""}).json()
        seen += [item["event_id"] for item in page["items"]]
        after = page["next_cursor"]
        if after is None:
            break
        write(
            wal_bytes(keys[step], tenant=tenant, version=2, timestamp=5000.0, payload={"content": "changed"}),
            wal_bytes(keys[-1 - step], tenant=tenant, version=3, timestamp=6000.0, type="memory.delete"),
            wal_bytes(f"{tenant}:new-{step}", tenant=tenant, timestamp=7000.0 + step),
        )

    assert seen == keys[::-1]


def test_one_memory_can_be_looked_at(gateway: Gateway, remembered: str) -> None:
    item = gateway.get(f"/v1/admin/memory/{remembered}:0").json()

    assert set(item) == {
        "id", "event_id", "session_id", "persona_id", "tenant", "role", "universe", "namespace", "coord", "request_id",
        "trace_id", "payload", "wal_timestamp", "created_at", "deleted_at",
    }  # fmt: skip
    assert item["payload"]["content"] == "hello"
    assert_problem(gateway.get("/v1/admin/memory/nothing"), 404)
    assert_problem(gateway.get("/v1/admin/memory/" + "x" * 300), 404)


def test_other_origins_are_not_invited(gateway: Gateway) -> None:
    answer = gateway.get("/v1/sessions", headers={"Origin": "https://evil.example"})

    assert "Access-Control-Allow-Origin" not in answer.headers
