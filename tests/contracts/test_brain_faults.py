"""Every row of the contract's error table, and every way a server can waste a caller's time, over real sockets."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from prometheus_client import REGISTRY

from app.adapters.http.brain import HttpBrain
from app.domain.errors import BatchRefused, BrainForbidden, BrainUnavailable, MemoryRefused, Misconfigured
from app.domain.memory import Place
from app.settings import read
from tests.contracts.brain_rig import a_memory
from tests.contracts.scripted_brain import (
    Fault,
    ScriptedBrain,
    a_client,
    apply_then_drop,
    drip_body,
    drip_chunk_size,
    drip_headers,
    drop_at_once,
    endless,
    hang,
    late,
    status,
)

_DEADLINE = 0.5


@pytest.mark.parametrize("code", [301, 404, 405, 408, 425, 429, 500, 502, 503, 504])
def test_an_answer_that_blames_the_service_leaves_the_memory_waiting(
    server: ScriptedBrain, client: HttpBrain, code: int
) -> None:
    server.next_answers.append(status(code, {"detail": "not now"}))
    with pytest.raises(BrainUnavailable) as caught:
        client.remember(a_memory())
    assert not isinstance(caught.value, BrainForbidden)
    assert client.remember(a_memory()).kept


@pytest.mark.parametrize("code", [400, 413, 422])
@pytest.mark.parametrize("detail", ["the key is odd", [{"msg": "the key is odd"}], {"why": "the key is odd"}])
def test_an_answer_that_blames_the_memory_refuses_it_with_the_reason(
    server: ScriptedBrain, client: HttpBrain, code: int, detail: object
) -> None:
    server.next_answers.append(status(code, {"detail": detail}))
    with pytest.raises(MemoryRefused, match="the key is odd"):
        client.remember(a_memory())


def test_a_reason_can_be_stored_whatever_the_service_put_into_it(server: ScriptedBrain, client: HttpBrain) -> None:
    server.next_answers.append(status(422, {"detail": "a\x00b\ud800" + "x" * 10_000}))
    with pytest.raises(MemoryRefused) as caught:
        client.remember(a_memory())
    text = str(caught.value)
    assert "\x00" not in text
    assert len(text.encode()) < 1000


@pytest.mark.parametrize("code", [401, 403])
def test_an_answer_that_blames_our_credentials_lets_no_memory_die(
    server: ScriptedBrain, client: HttpBrain, code: int
) -> None:
    server.next_answers.append(status(code, {"detail": "who are you"}))
    with pytest.raises(BrainForbidden):
        client.remember(a_memory())
    assert client.healthy()
    assert client.refuses_us, "a health that is open to everybody says nothing about credentials"

    client.remember(a_memory())

    assert not client.refuses_us


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"<html>hello</html>",
        b"{}",
        b'{"hello": 1}',
        b'{"ok": false}',
        b'{"success": false}',
        b"\xff",
        b"[" * 99_999,
    ],
)
def test_a_good_status_with_garbage_is_no_receipt(server: ScriptedBrain, client: HttpBrain, body: bytes) -> None:
    server.next_answers.append(status(200, body))
    with pytest.raises(BrainUnavailable):
        client.remember(a_memory())


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("99999999999999999999", 300),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("nan", None),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
def test_a_wish_to_wait_is_clamped_and_garbage_ignored(
    server: ScriptedBrain, client: HttpBrain, header: str, seconds: float | None, code: int
) -> None:
    server.next_answers.append(status(code, {"detail": "busy"}, retry_after=header))
    with pytest.raises(BrainUnavailable) as caught:
        client.remember(a_memory())
    assert caught.value.retry_after == seconds


def test_a_wish_to_wait_may_be_a_date(server: ScriptedBrain, client: HttpBrain) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    server.next_answers.append(status(503, b"", retry_after=soon))
    with pytest.raises(BrainUnavailable) as caught:
        client.remember(a_memory())
    assert caught.value.retry_after == pytest.approx(60, abs=3)


@pytest.mark.parametrize("fault", [hang, drip_headers, drip_body, drip_chunk_size])
def test_a_server_that_never_ends_is_left_at_the_deadline(
    server: ScriptedBrain, client: HttpBrain, fault: Fault
) -> None:
    hurried = a_client(server, SOMA_TIMEOUT_SECONDS=str(_DEADLINE))
    server.next_answers.append(fault)
    started = time.monotonic()
    with pytest.raises(BrainUnavailable, match="timeout"):
        hurried.remember(a_memory())
    assert _DEADLINE * 0.9 < time.monotonic() - started < _DEADLINE + 2
    assert client.remember(a_memory()).kept


@pytest.mark.parametrize("fault", [endless, status(200, b" " * 10_000_000)])
def test_an_answer_over_four_megabytes_is_not_read_to_its_end(server: ScriptedBrain, fault: Fault) -> None:
    server.next_answers.append(fault)
    with pytest.raises(BrainUnavailable, match="too_big"):
        a_client(server, SOMA_TIMEOUT_SECONDS="10").remember(a_memory())


def test_a_memory_whose_answer_was_lost_is_still_one_memory(server: ScriptedBrain, client: HttpBrain) -> None:
    memory = a_memory("m-1")
    server.next_answers.append(apply_then_drop)
    with pytest.raises(BrainUnavailable):
        client.remember(memory)
    client.remember(memory)
    assert list(server.writes.values()) == [1]


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ({}, True),
        ({"queued": True}, False),
        ({"persisted_to_ltm": False, "queued_for_ltm": False}, False),
        ({"persisted_to_ltm": False, "queued_for_ltm": True}, True),
        ({"queued": False, "persisted_to_ltm": True, "queued_for_ltm": False}, True),
    ],
)
def test_a_receipt_says_whether_the_memory_was_only_taken(
    server: ScriptedBrain, client: HttpBrain, flags: dict[str, bool], kept: bool
) -> None:
    server.next_answers.append(status(200, {"ok": True, **flags}))
    receipt = client.remember(a_memory("m-1"))
    assert receipt.kept is kept
    assert receipt.coordinate is None
    assert receipt.request_id == "m-1"


def test_every_attempt_at_a_memory_looks_the_same(server: ScriptedBrain) -> None:
    client = a_client(server, SOMA_API_KEY="secret")
    memory = a_memory("m-1", Place("münchen/\n東", "wm", "u-1"))
    server.next_answers.append(drop_at_once)
    with pytest.raises(BrainUnavailable):
        client.remember(memory)
    client.remember(memory)
    first, second = server.seen
    assert first.body == second.body
    for name in ("authorization", "x-tenant-id", "x-request-id", "idempotency-key"):
        assert first.headers[name] == second.headers[name]
    assert second.headers["authorization"] == "Bearer secret"
    assert second.headers["x-tenant-id"] == "m%C3%BCnchen/%0A%E6%9D%B1"
    assert second.json["tenant"] == memory.place.tenant


def test_a_raw_authorization_header_replaces_the_token(server: ScriptedBrain) -> None:
    a_client(server, SOMA_API_KEY="secret", SOMA_AUTH_HEADER="Basic abc").remember(a_memory())
    assert server.seen[0].headers["authorization"] == "Basic abc"


def test_the_trace_travels_where_it_is_one(server: ScriptedBrain, client: HttpBrain) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    client.remember(replace(a_memory(), traceparent=trace))
    client.remember(replace(a_memory(), traceparent="nonsense\r\nX: y"))
    assert server.seen[0].headers["traceparent"] == trace
    assert server.seen[0].json["trace_id"] == "a" * 32
    assert "traceparent" not in server.seen[1].headers


def test_a_redirect_is_not_followed(server: ScriptedBrain, client: HttpBrain) -> None:
    server.next_answers.append(status(307, b"", location=f"{server.url}/elsewhere"))
    with pytest.raises(BrainUnavailable):
        client.remember(a_memory())
    assert len(server.seen) == 1


@pytest.mark.parametrize("code", [400, 401, 404, 422, 429])
def test_answers_that_blame_the_call_do_not_open_the_breaker(
    server: ScriptedBrain, client: HttpBrain, code: int
) -> None:
    server.always = status(code)
    for _ in range(6):
        with pytest.raises((BrainUnavailable, MemoryRefused)):
            client.remember(a_memory())
    assert not client.breaker_open


def test_slow_calls_open_the_breaker_although_they_succeed(server: ScriptedBrain) -> None:
    client = a_client(server, SOMA_SLOW_SECONDS="0.02", SOMA_TIMEOUT_SECONDS="5")
    server.always = late(0.05)
    for _ in range(5):
        assert client.remember(a_memory()).kept
    assert client.breaker_open


def test_while_the_breaker_is_open_nothing_is_sent(server: ScriptedBrain, client: HttpBrain) -> None:
    server.always = status(500)
    for _ in range(5):
        with pytest.raises(BrainUnavailable):
            client.remember(a_memory())
    with pytest.raises(BrainUnavailable) as caught:
        client.remember(a_memory())
    assert len(server.seen) == 5
    assert caught.value.retry_after is None


def test_calls_of_several_threads_run_side_by_side(server: ScriptedBrain) -> None:
    client = a_client(server, SOMA_TIMEOUT_SECONDS="5")
    together = threading.Barrier(4, timeout=4)

    def meet(handler: object, brain: ScriptedBrain, body: bytes) -> None:
        together.wait()
        status(200, {"ok": True})(handler, brain, body)  # type: ignore[arg-type]

    server.always = meet
    with ThreadPoolExecutor(4) as pool:
        receipts = list(pool.map(client.remember, [a_memory() for _ in range(4)]))
    assert all(receipt.kept for receipt in receipts)


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (status(200, {"ok": False}), "degraded"),
        (status(200, b"garbage"), "degraded"),
        (status(503, {"ok": True}), "degraded"),
        (drop_at_once, "down"),
        (hang, "down"),
        (drip_headers, "down"),
    ],
)
def test_health_is_what_the_service_says_of_itself_within_a_second(
    server: ScriptedBrain, client: HttpBrain, fault: Fault, state: str
) -> None:
    server.next_answers.append(fault)
    started = time.monotonic()
    assert client.healthy() is False
    assert time.monotonic() - started < 3
    assert _sample("somabrain_health_state", state=state) == 1
    assert client.healthy() is True
    assert _sample("somabrain_health_state", state=state) == 0


def test_a_port_that_nobody_listens_on_is_unavailable_at_once(server: ScriptedBrain, client: HttpBrain) -> None:
    server.close()
    started = time.monotonic()
    with pytest.raises(BrainUnavailable, match="unreachable"):
        client.remember(a_memory())
    assert time.monotonic() - started < _DEADLINE


def test_calls_and_results_are_counted(server: ScriptedBrain, client: HttpBrain) -> None:
    counted: list[tuple[Fault | None, str, str]] = [
        (None, "200", "ok"),
        (status(200, {"ok": True, "queued": True}), "200", "taken"),
        (status(500), "500", "unavailable"),
        (status(422), "422", "refused"),
        (status(401), "401", "forbidden"),
        (drop_at_once, "unreachable", "unavailable"),
    ]
    for fault, code, result in counted:
        server.next_answers.extend([fault] if fault else [])
        labels = {"method": "POST", "path": "/memory/remember", "status": code}
        calls, results = _sample("somabrain_requests_total", **labels), _sample(_WRITES, result=result)
        _quietly(lambda: client.remember(a_memory()))
        assert _sample("somabrain_requests_total", **labels) == calls + 1
        assert _sample(_WRITES, result=result) == results + 1


def test_logs_hold_no_payload_no_key_and_no_credentials(
    server: ScriptedBrain, caplog: pytest.LogCaptureFixture
) -> None:
    # By name: whoever has made an application in this process before has set our loggers' level.
    caplog.set_level(logging.DEBUG, "app")
    client = a_client(server, SOMA_API_KEY="very-secret")
    server.next_answers.extend([status(500, {"detail": "whisper"}), status(422, {"detail": "whisper"})])
    for _ in range(3):
        _quietly(lambda: client.remember(a_memory("m-1", content="whisper")))
    ours = [record for record in caplog.records if record.name.startswith("app.")]
    assert len(ours) == 3
    for record in ours:
        shown = str(record.__dict__)
        assert "whisper" not in shown
        assert "very-secret" not in shown
        assert "2026-01-01" not in shown
        assert {"method", "path", "status", "duration_ms", "tenant", "request_id"} <= record.__dict__.keys()


def test_a_client_without_an_address_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="SOMA_BASE_URL"):
        HttpBrain.from_settings(read({}))


@pytest.mark.parametrize("code", [404, 405, 501])
def test_a_brain_without_batches_is_asked_for_one_only_once(
    server: ScriptedBrain, client: HttpBrain, code: int
) -> None:
    server.next_answers.append(status(code))
    for _ in range(2):
        with pytest.raises(BatchRefused):
            client.remember_all([a_memory(), a_memory()])
    assert len(server.seen) == 1
    assert not client.breaker_open


@pytest.mark.parametrize(
    "body", [b"{}", b'{"ok": true}', b'{"ok": true, "results": [{}]}', b'{"ok": true, "results": 7}']
)
def test_a_batch_answer_without_a_result_for_each_is_no_receipt(
    server: ScriptedBrain, client: HttpBrain, body: bytes
) -> None:
    server.next_answers.append(status(200, body))
    with pytest.raises(BrainUnavailable):
        client.remember_all([a_memory(), a_memory()])


def test_a_batch_of_which_one_was_not_kept_is_offered_one_by_one(server: ScriptedBrain, client: HttpBrain) -> None:
    server.next_answers.append(status(200, {"ok": True, "results": [{"ok": True}, {"ok": False}]}))
    with pytest.raises(BatchRefused):
        client.remember_all([a_memory(), a_memory()])


_WRITES = "somabrain_memory_write_total"


def _sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def _quietly(call: Callable[[], object]) -> None:
    try:
        call()
    except (BrainUnavailable, MemoryRefused):
        return
