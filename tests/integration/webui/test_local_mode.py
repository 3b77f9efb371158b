"""Local mode on a real Postgres: a message finds its way in while the gateway is away, once."""

import json
from collections.abc import Iterator

import pytest
import requests

from devstack.stack import Stack
from tests.browser.conftest import WebUi, free_port
from tests.integration.webui.stage import dial, items_until

pytestmark = pytest.mark.servers
NOBODY = f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def lonely(servers: Stack) -> Iterator[WebUi]:
    """A page's server whose gateway is away."""
    running = WebUi(NOBODY, **settings_of(servers))
    yield running
    running.stop()


def settings_of(servers: Stack) -> dict[str, str]:
    return {name: servers.environment[name] for name in ("POSTGRES_DSN", "REDIS_URL")}


def send(webui: WebUi, body: object, key: str) -> requests.Response:
    return requests.post(f"{webui.base}/message", json=body, headers={"Idempotency-Key": key}, timeout=20)


def test_a_message_is_kept_once_while_the_gateway_is_away(lonely: WebUi) -> None:
    body = {"session_id": "local-1", "message": "are you there?"}
    first, again = send(lonely, body, "key-1"), send(lonely, body, "key-1")

    assert first.status_code == 200
    assert first.json() == again.json()
    assert first.json()["session_id"] == "local-1"
    assert first.json()["accepted"] is True
    assert send(lonely, {**body, "message": "something else"}, "key-1").status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {"message": ""},
        {"message": "x", "attachments": ["a"]},
        {"message": "x" * 32_001},
        {"message": "x", "more": 1},
        {"message": "\x00"},
        [],
        {"message": 1},
        {"message": "x", "session_id": "a b"},
        {"message": "x", "metadata": {"a": {}}},
    ],
)
def test_a_wrong_message_is_refused_with_a_reason(lonely: WebUi, body: object) -> None:
    answer = send(lonely, body, f"wrong-{json.dumps(body)[:40]}")

    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]


def test_what_is_no_json_is_415(lonely: WebUi) -> None:
    assert requests.post(f"{lonely.base}/message", data="hello", timeout=20).status_code == 415


def test_without_a_gateway_at_all_the_stream_comes_from_this_process_too(servers: Stack) -> None:
    alone = WebUi(NOBODY, UI_USE_GATEWAY="false", **settings_of(servers))
    try:
        receipt = send(alone, {"message": "hello"}, "alone").json()
        sock = dial(alone, receipt["session_id"])
        items = items_until(sock, "assistant.started")
        sock.close()
    finally:
        alone.stop()

    assert items[0]["event_id"] == receipt["event_id"]
    assert items[0]["message"] == "hello"
