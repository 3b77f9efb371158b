"""Model profiles over HTTP: kept, changed, tried; and keys that are never seen again."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from devstack.stack import Stack
from tests.builders import an_id
from tests.conftest import eventually
from tests.integration.gateway_process import Gateway, assert_problem
from tests.unit.model_peer import Line, ModelPeer, Reply

PATH = "/v1/model-profiles"
SECRET = "sk-live-0123456789-very-secret-abcd"


@pytest.fixture(scope="module")
def gateway(servers: Stack) -> Iterator[Gateway]:
    """One with a model of its own settings."""
    own = {"LLM_BASE_URL": "http://10.0.0.9:1/v1", "LLM_API_KEY": SECRET, "LLM_MODEL": "own-model"}
    running = Gateway(servers.environment, **own).start()
    yield running
    running.stop()


@pytest.fixture
def open_peer() -> Iterator[Callable[[Reply], ModelPeer]]:
    opened: list[ModelPeer] = []

    def start(reply: Reply) -> ModelPeer:
        opened.append(ModelPeer(reply))
        return opened[-1]

    yield start
    for peer in opened:
        peer.close()


def a_name() -> str:
    return an_id("p-").lower()


def add(gateway: Gateway, name: str, base_url: str = "https://models.example.com/v1", **fields: Any) -> dict[str, Any]:
    answer = gateway.call("POST", PATH, json={"name": name, "base_url": base_url, **fields})
    assert answer.status_code == 201, answer.text
    assert SECRET not in answer.text
    found: dict[str, Any] = answer.json()
    return found


def look(gateway: Gateway, name: str) -> dict[str, Any]:
    found: dict[str, Any] = gateway.get(f"{PATH}/{name}").json()
    return found


def put(gateway: Gateway, name: str, **fields: Any) -> dict[str, Any]:
    answer = gateway.call("PUT", f"{PATH}/{name}", json={"base_url": "https://models.example.com/v1", **fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def trial(gateway: Gateway, name: str) -> dict[str, Any]:
    answer = gateway.call("POST", f"{PATH}/{name}/test")
    assert answer.status_code == 200, answer.text
    assert SECRET not in answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_profile_is_kept_as_it_was_said(gateway: Gateway) -> None:
    name = a_name()
    said = {
        "role": "escalation", "deployment_mode": "PROD", "path": "x/chat?api-version=1", "model": "m-1",
        "temperature": 1, "context_tokens": 8192, "output_tokens": 2048, "extra": {"top_k": 4}, "input_price": 0.5,
        "output_price": 2.0, "position": -4, "enabled": False,
    }  # fmt: skip

    made = add(gateway, name, api_key=SECRET, **said)

    assert {field: made[field] for field in said} == said
    assert (made["has_key"], made["key_ending"], made["note"]) == (True, "abcd", None)
    assert look(gateway, name) == made
    assert "api_key" not in made


def test_profiles_are_listed_in_pages_beside_that_of_the_settings(gateway: Gateway) -> None:
    names = sorted(a_name() for _ in range(3))
    for name in names:
        add(gateway, name)

    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = gateway.get(PATH, params={"limit": 2, "after": cursor}).json()
        found += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]

    assert [name for name in found if name in names] == names
    assert len(found) == len(set(found))
    assert (page["settings"]["name"], page["settings"]["model"], page["settings"]["has_key"]) == (
        "default", "own-model", True,
    )  # fmt: skip
    assert SECRET not in json.dumps(page)


def test_a_change_keeps_the_key_for_the_same_host_and_drops_it_for_another(gateway: Gateway) -> None:
    name = a_name()
    add(gateway, name, api_key=SECRET)

    same = put(gateway, name, base_url="https://MODELS.example.com:443/v2", model="m-2")
    assert (same["has_key"], same["model"], same["note"]) == (True, "m-2", None)
    for other in ("https://evil.example.com/v1", "http://models.example.com/v1", "https://models.example.com:8443/v1"):
        add(gateway, other_name := a_name(), api_key=SECRET)
        changed = put(gateway, other_name, base_url=other)
        assert (changed["has_key"], changed["key_ending"]) == (False, "")
        assert "another host" in changed["note"]
        assert put(gateway, other_name, base_url=other, api_key="sk-new-0123456789")["key_ending"] == "6789"
    assert put(gateway, name, api_key="")["has_key"] is False


def test_a_short_key_shows_nothing_of_itself(gateway: Gateway) -> None:
    assert add(gateway, a_name(), api_key="short-key")["key_ending"] == ""


def test_what_is_not_there_is_not_there(gateway: Gateway) -> None:
    for method in ("GET", "DELETE"):
        assert_problem(gateway.call(method, f"{PATH}/nobody"), 404, "GET /v1/model-profiles lists them")
    assert_problem(gateway.call("PUT", f"{PATH}/nobody", json={"base_url": "https://a.test"}), 404)
    assert_problem(gateway.call("POST", f"{PATH}/nobody/test"), 404)


def test_a_name_is_taken_once_and_free_again_when_it_is_removed(gateway: Gateway) -> None:
    name = a_name()
    add(gateway, name)

    again = {"name": name, "base_url": "https://a.test"}
    assert_problem(gateway.call("POST", PATH, json=again), 409, "PUT changes it")
    assert gateway.call("DELETE", f"{PATH}/{name}").json() == {"deleted": True}
    add(gateway, name)


def test_a_repeated_request_gives_the_first_answer(gateway: Gateway) -> None:
    body = {"name": a_name(), "base_url": "https://a.test", "api_key": SECRET}
    headers = {"Idempotency-Key": an_id()}

    first, second = (gateway.call("POST", PATH, json=body, headers=headers) for _ in range(2))
    other = gateway.call("POST", PATH, json={**body, "api_key": "another-key"}, headers=headers)

    assert (first.status_code, second.status_code, first.json()) == (201, 201, second.json())
    assert second.headers["Idempotent-Replayed"] == "true"
    assert_problem(other, 422, "another body")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a file": ({"base_url": "file:///etc/passwd"}, "base_url"),
    "another scheme": ({"base_url": "gopher://a.test/"}, "base_url"),
    "no host": ({"base_url": "http:///v1"}, "base_url"),
    "a port that cannot be": ({"base_url": "http://a.test:99999"}, "base_url"),
    "a password in the address": ({"base_url": "https://user:pw@a.test/v1"}, "api_key"),
    "a query in the address": ({"base_url": "https://a.test/v1?key=1"}, "base_url"),
    "the machine's own metadata": ({"base_url": "http://169.254.169.254/v1"}, "link-local"),
    "the same in IPv6": ({"base_url": "http://[::ffff:169.254.169.254]/v1"}, "link-local"),
    "everybody": ({"base_url": "http://0.0.0.0:80/v1"}, "link-local"),
    "a reserved name": ({"name": "default"}, "settings"),
    "a name that cannot be": ({"name": "Großes Modell"}, "name"),
    "an unknown role": ({"role": "king"}, "role"),
    "a key with a line end": ({"api_key": "a\r\nX-Evil: 1"}, "api_key"),
    "an argument that every call says": ({"extra": {"messages": []}}, "messages"),
    "arguments without end": ({"extra": {"x": "y" * 9000}}, "extra"),
    "a temperature of the sun": ({"temperature": 5700}, "temperature"),
    "no room for a question": ({"context_tokens": 512, "output_tokens": 512}, "output_tokens"),
    "an unknown field": ({"colour": "red"}, "colour"),
    "half a surrogate": ({"model": "\ud83d"}, "surrogate"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_and_not_repeated(gateway: Gateway, case: str) -> None:
    fields, word = WRONG[case]
    body = {"name": a_name(), "base_url": "https://a.test/v1", "api_key": SECRET, **fields}

    answer = gateway.call("POST", PATH, json=body)

    assert_problem(answer, 422, word)
    assert SECRET not in answer.text
    assert "pw@" not in answer.text


def test_no_key_is_in_the_database_in_the_clear(gateway: Gateway, engine: Engine) -> None:
    add(gateway, a_name(), api_key=SECRET)
    put(gateway, add(gateway, a_name())["name"], api_key=SECRET)

    with engine.connect() as connection:
        for table in ("model_profiles", "audit_events", "idempotency_keys"):
            rows = connection.execute(text(f"SELECT t::text FROM {table} t")).scalars().all()
            assert rows
            assert not [row for row in rows if SECRET in row or SECRET.encode().hex() in row], table


# ---- trying


def answering(line: Line) -> None:
    line.begin()
    line.say("hel", "lo", finish="stop")
    line.event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
    line.event("[DONE]")


def test_a_trial_says_what_came_back(gateway: Gateway, open_peer: Callable[[Reply], ModelPeer]) -> None:
    peer = open_peer(answering)
    name = add(gateway, a_name(), peer.base, api_key=SECRET)["name"]

    found = trial(gateway, name)

    assert (found["ok"], found["model"], found["said"]) == (True, "tiny", "hello")
    assert (found["reports_usage"], found["tools"]) == (True, "taken")
    assert 0 <= found["first_token_ms"] <= found["total_ms"] < 15_000
    assert "tiny answered in" in found["detail"]
    assert peer.lines[-1].headers["authorization"] == f"Bearer {SECRET}"


def test_a_trial_tells_of_tools_and_of_usage_that_is_missing(
    gateway: Gateway, open_peer: Callable[[Reply], ModelPeer]
) -> None:
    def calling(line: Line) -> None:
        line.begin()
        part = {"index": 0, "id": "c", "function": {"name": "echo", "arguments": '{"text": "hello"}'}}
        line.event({"choices": [{"index": 0, "delta": {"tool_calls": [part]}, "finish_reason": "tool_calls"}]})

    def without_tools(line: Line) -> None:
        if "tools" in (line.body or {}):
            line.answer(400, b'{"error": {"message": "tiny does not support tools"}}')
        else:
            answering(line)

    assert trial(gateway, add(gateway, a_name(), open_peer(calling).base)["name"])["tools"] == "used"
    refused = trial(gateway, add(gateway, a_name(), open_peer(without_tools).base)["name"])
    assert (refused["ok"], refused["tools"]) == (True, "refused")


def test_a_trial_of_a_model_that_fails_says_why_without_the_key(
    gateway: Gateway, open_peer: Callable[[Reply], ModelPeer]
) -> None:
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {SECRET}"}}).encode()
    name = add(gateway, a_name(), open_peer(lambda line: line.answer(401, body)).base, api_key=SECRET)["name"]

    found = trial(gateway, name)

    assert found["ok"] is False
    assert f"api_key of the model profile {name}" in found["detail"]
    assert "Incorrect API key" in found["detail"]


def test_a_redirect_takes_the_key_nowhere(gateway: Gateway, open_peer: Callable[[Reply], ModelPeer]) -> None:
    thief = open_peer(answering)
    peer = open_peer(lambda line: line.answer(307, b"", Location=f"{thief.base}/chat/completions"))
    name = add(gateway, a_name(), peer.base, api_key=SECRET, model="m")["name"]

    assert trial(gateway, name)["ok"] is False
    assert thief.lines == []


def test_the_settings_own_model_can_be_tried(servers: Stack, open_peer: Callable[[Reply], ModelPeer]) -> None:
    running = Gateway(servers.environment, LLM_BASE_URL=open_peer(answering).base).start()
    try:
        assert trial(running, "default")["ok"] is True
    finally:
        running.stop()


def test_inner_addresses_are_refused_where_policy_says_so(servers: Stack, engine: Engine) -> None:
    peer = ModelPeer(answering)
    running = Gateway(servers.environment, LLM_ALLOW_PRIVATE="false", LLM_BASE_URL=peer.base).start()
    try:
        for host in ("127.0.0.1", "10.1.2.3", "[::1]", "localhost", "[fd00::1]"):
            body = {"name": a_name(), "base_url": f"http://{host}:8000/v1"}
            assert_problem(running.call("POST", PATH, json=body), 422, "LLM_ALLOW_PRIVATE")
        found = trial(running, "default")
        assert (found["ok"], peer.lines) == (False, [])
        assert "LLM_ALLOW_PRIVATE" in found["detail"]
    finally:
        running.stop()
        peer.close()


@pytest.mark.parametrize("secret", ["another secret", ""])
def test_another_secret_leaves_profiles_unusable_and_nothing_broken(
    servers: Stack, gateway: Gateway, secret: str
) -> None:
    name = add(gateway, a_name(), api_key=SECRET)["name"]
    running = Gateway(servers.environment, GATEWAY_ENC_KEY=secret).start()
    try:
        assert "save the key again" in look(running, name)["note"]
        assert_problem(running.call("POST", f"{PATH}/{name}/test"), 422, "save the key again")
        assert running.get(PATH).status_code == 200
        if not secret:
            body = {"name": a_name(), "base_url": "https://a.test", "api_key": SECRET}
            assert_problem(running.call("POST", PATH, json=body), 422, "GATEWAY_ENC_KEY is not set")
    finally:
        running.stop()


def test_trials_are_limited(servers: Stack) -> None:
    running = Gateway(servers.environment).start()
    try:
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda: answers.append(running.call("POST", f"{PATH}/nobody/test").status_code))
            for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(answers) <= {404, 429}
        assert 429 in answers
    finally:
        running.stop()


def test_the_page_speaks_of_a_toy_only_as_long_as_there_is_no_other_model(servers: Stack, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM model_profiles"))
    own = {"LLM_BASE_URL": "http://127.0.0.1:9/v1", "LLM_MODEL": "tiny", "LLM_IS_TOY": "true"}
    running = Gateway(servers.environment, **own).start()

    def told() -> tuple[bool, str]:
        config = running.get("/ui/config.json").json()
        return config["model_is_toy"], config["model"]

    try:
        assert told() == (True, "tiny")
        add(running, "mine", model="big")
        eventually(lambda: told() == (False, "big"), 10)
        running.call("DELETE", f"{PATH}/mine")
        eventually(lambda: told() == (True, "tiny"), 10)
    finally:
        running.stop()
