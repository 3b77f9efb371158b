"""Recalling, forgetting, linking and counting while SomaBrain misbehaves: the error table, deadlines, secrets."""

import io
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from prometheus_client import REGISTRY

from app.adapters.http.brain import HttpBrain
from app.adapters.http.brain_dialect import Dialect, Form, Way
from app.adapters.http.brain_line import BrainLine
from app.adapters.http.breaker import Breaker
from app.domain.errors import BrainForbidden, BrainUnavailable, MemoryRefused, Rejected
from app.domain.memory import Place
from app.domain.recall import Question
from app.telemetry.logs import configure_logging
from tests.contracts.brain_rig import a_memory
from tests.contracts.scripted_brain import (
    Fault,
    ScriptedBrain,
    a_client,
    broken_headers,
    drip_body,
    drip_chunk_size,
    drip_headers,
    drop_at_once,
    endless,
    hang,
    late,
    status,
)
from tests.contracts.scripted_recall import Speech

HOME = Place("t1", "wm", "u-1")
ASKED = Question("kitten", HOME)

Call = Callable[[HttpBrain], object]
CALLS: dict[str, Call] = {
    "recall": lambda client: client.recall(ASKED),
    "forget": lambda client: client.forget("m-1", HOME, "r-1"),
    "link": lambda client: client.link(HOME, "m-1", "m-2"),
    "figures": lambda client: client.figures(HOME),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@every_call
@pytest.mark.parametrize("code", [301, 408, 425, 429, 502, 503, 504])
def test_an_answer_that_blames_the_service_means_later(
    server: ScriptedBrain, client: HttpBrain, call: Call, code: int
) -> None:
    server.next_answers.append(status(code, {"detail": "not now"}, retry_after="7"))
    with pytest.raises(BrainUnavailable, match=str(code)) as caught:
        call(client)
    assert type(caught.value) is BrainUnavailable
    assert caught.value.retry_after == 7
    call(client)


@every_call
@pytest.mark.parametrize("code", [401, 403])
def test_wrong_credentials_are_told_from_an_outage(
    server: ScriptedBrain, client: HttpBrain, call: Call, code: int
) -> None:
    server.always = status(code, {"detail": "who are you"})
    for _ in range(6):
        with pytest.raises(BrainForbidden, match="SOMA_API_KEY"):
            call(client)
    assert not client.breaker_open


@pytest.mark.parametrize("call", [CALLS["forget"], CALLS["link"]], ids=["forget", "link"])
@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_wish_that_is_wrong_is_refused_for_good(
    server: ScriptedBrain, client: HttpBrain, call: Call, code: int
) -> None:
    server.next_answers.append(status(code, {"detail": [{"msg": "the key is odd", "input": "whisper"}]}))
    with pytest.raises(MemoryRefused, match="the key is odd") as caught:
        call(client)
    assert "whisper" not in str(caught.value)


@every_call
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"<!doctype html><html><body>hello</body></html>",
        b"{}",
        b'{"hello": 1}',
        b'{"ok": false}',
        b'{"ok": false, "results": [], "wm_items": 1, "deleted": 1}',
        b'{"success": false, "results": [], "wm_items": 1, "deleted": 1}',
        b'{"results": {}, "memory": 7, "wm_items": "many", "circuit_open": 1, "outbox_pending": -1}',
        b"\xff\xfe",
        b"[" * 99_999,
        b'{"results": ' + b"[" * 99_999,
    ],
)
def test_a_good_status_with_garbage_is_no_answer(
    server: ScriptedBrain, client: HttpBrain, call: Call, body: bytes
) -> None:
    server.always = status(200, body)
    for _ in range(5):
        assert not client.breaker_open
        with pytest.raises(BrainUnavailable):
            call(client)
    assert client.breaker_open


@every_call
@pytest.mark.parametrize("fault", [hang, drip_headers, drip_body, drip_chunk_size])
def test_a_server_that_never_ends_is_left_at_the_deadline(server: ScriptedBrain, call: Call, fault: Fault) -> None:
    client = a_client(server, SOMA_TIMEOUT_SECONDS="0.3")
    server.next_answers.append(fault)
    started = time.monotonic()
    with pytest.raises(BrainUnavailable, match="timeout"):
        call(client)
    assert 0.25 < time.monotonic() - started < 3


@every_call
@pytest.mark.parametrize("fault", [endless, status(200, b" " * 4_194_305)])
def test_an_answer_over_four_megabytes_is_not_read_to_its_end(server: ScriptedBrain, call: Call, fault: Fault) -> None:
    server.next_answers.append(fault)
    with pytest.raises(BrainUnavailable, match="too_big"):
        call(a_client(server, SOMA_TIMEOUT_SECONDS="10"))


def test_a_large_answer_within_the_limit_is_read(server: ScriptedBrain) -> None:
    finds = [{"key": f"m-{number}", "payload": {"content": "x" * 80_000}} for number in range(50)]
    server.next_answers.append(status(200, {"results": finds}))
    found = a_client(server, SOMA_TIMEOUT_SECONDS="10").recall(Question("x", HOME, top_k=50))
    assert [len(each.content) for each in found] == [80_000] * 50


def test_a_wish_to_wait_may_be_a_date(server: ScriptedBrain, client: HttpBrain) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    server.next_answers.append(status(503, b"", retry_after=soon))
    with pytest.raises(BrainUnavailable) as caught:
        client.forget("m-1", HOME, "r-1")
    assert caught.value.retry_after == pytest.approx(60, abs=3)


@pytest.mark.parametrize(
    ("header", "seconds"), [("99999", 300), ("-5", None), ("soon", None), ("Thu, 99 Xyz 2026", None)]
)
def test_a_wish_to_wait_is_clamped_and_garbage_ignored(
    server: ScriptedBrain, client: HttpBrain, header: str, seconds: float | None
) -> None:
    server.next_answers.append(status(429, b"", retry_after=header))
    with pytest.raises(BrainUnavailable) as caught:
        client.recall(ASKED)
    assert caught.value.retry_after == seconds


def test_who_is_in_a_hurry_waits_no_longer_and_proves_nothing(server: ScriptedBrain, client: HttpBrain) -> None:
    server.always = hang
    for _ in range(6):
        started = time.monotonic()
        with pytest.raises(BrainUnavailable, match="timeout"):
            client.recall(ASKED, seconds=0.05)
        assert time.monotonic() - started < 2
    assert not client.breaker_open


def test_who_waited_to_the_deadline_in_vain_counts(server: ScriptedBrain) -> None:
    client = a_client(server, SOMA_TIMEOUT_SECONDS="0.05")
    server.always = hang
    for _ in range(5):
        with pytest.raises(BrainUnavailable, match="timeout"):
            client.recall(ASKED, seconds=9)
    assert client.breaker_open


def test_the_forms_of_a_question_share_one_deadline(server: ScriptedBrain, client: HttpBrain) -> None:
    server.speech = Speech(form="address")
    server.next_answers.extend([late(0.7), late(0.7), late(9)])
    started = time.monotonic()
    with pytest.raises(BrainUnavailable, match="timeout"):
        client.recall(ASKED, seconds=2)
    assert time.monotonic() - started < 5
    assert len(server.seen) >= 2


def test_no_time_at_all_is_a_timeout_without_a_call(server: ScriptedBrain, client: HttpBrain) -> None:
    with pytest.raises(BrainUnavailable, match="timeout"):
        client.recall(ASKED, seconds=0)
    assert server.seen == []


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_after_its_time_the_breaker_lets_one_call_through_and_no_other_beside_it(server: ScriptedBrain) -> None:
    clock = Clock()
    client = HttpBrain(BrainLine(server.url, "", 5.0, Breaker(5, 10, 2, clock=clock)), Dialect(allow_older=False))
    server.always = status(500)
    for _ in range(5):
        with pytest.raises(BrainUnavailable):
            client.recall(ASKED)
    server.always = None
    clock.now += 10
    arrived, go = threading.Event(), threading.Event()

    def wait(handler: object, brain: ScriptedBrain, body: bytes) -> None:
        arrived.set()
        go.wait(9)
        status(200, {"results": []})(handler, brain, body)  # type: ignore[arg-type]

    server.next_answers.append(wait)
    with ThreadPoolExecutor(1) as pool:
        probe = pool.submit(client.recall, ASKED)
        assert arrived.wait(9)
        for call in CALLS.values():
            with pytest.raises(BrainUnavailable, match="a moment ago"):
                call(client)
        assert len(server.seen) == 6
        go.set()
        assert probe.result() == []
    assert not client.breaker_open


SPEECHES = [Speech(), Speech(form="address")]


@pytest.mark.parametrize("speech", SPEECHES, ids=["object", "address"])
def test_calls_are_counted_under_the_template_of_their_route(server: ScriptedBrain, speech: Speech) -> None:
    server.speech = speech
    client = a_client(server)
    routes = {"recall": "/memory/recall", "forget": "/recall/delete", "link": "/link", "figures": "/memory/metrics"}
    for name, path in routes.items():
        method = "GET" if name == "figures" else "POST"
        labels = {"method": method, "path": path, "status": "200"}
        before = _sample("somabrain_requests_total", **labels), _sample("somabrain_request_seconds_count", **labels)
        CALLS[name](client)
        assert _sample("somabrain_requests_total", **labels) == before[0] + 1
        assert _sample("somabrain_request_seconds_count", **labels) == before[1] + 1
    paths = {s.labels["path"] for m in REGISTRY.collect() if m.name == "somabrain_requests" for s in m.samples}
    assert not [path for path in paths if "?" in path or "t1" in path]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a process would log at its most talkative."""
    root, ours = logging.getLogger(), logging.getLogger("app")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    root.handlers.clear()
    lines = io.StringIO()
    monkeypatch.setattr(sys, "stderr", lines)
    configure_logging("DEBUG", "test")
    yield lines
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


FAULTS: list[Fault | None] = [
    None,
    status(500, {"detail": "whisper"}),
    status(422, {"detail": [{"msg": "no", "input": "whisper"}]}),
    status(200, {"ok": False, "detail": "whisper"}),
    drop_at_once,
    broken_headers,
]


@pytest.mark.parametrize("speech", SPEECHES, ids=["object", "address"])
@pytest.mark.parametrize("fault", FAULTS)
def test_logs_hold_no_text_no_key_and_no_credentials(
    server: ScriptedBrain, shown: io.StringIO, speech: Speech, fault: Fault | None
) -> None:
    server.speech = speech
    client = a_client(server, SOMA_API_KEY="very-secret")
    _quietly(lambda: client.recall(Question("whisper", HOME)))
    memory = a_memory("m-1", content="whisper")
    calls: list[Callable[[], object]] = [
        lambda: client.recall(Question("whisper", HOME, session_id="whisper")),
        lambda: client.remember(memory),
        lambda: client.remember_all([memory, memory]),
        lambda: client.forget("m-1", HOME, "r-1"),
        lambda: client.figures(Place("t1", "whisper", "u-1")),
    ]
    for call in calls:
        server.next_answers.extend([fault] if fault else [])
        _quietly(call)
    lines = shown.getvalue()
    assert lines.count("somabrain call") >= 6
    for secret in ("whisper", "very-secret", "Bearer", memory.idempotency_key):
        assert secret not in lines


def _is_gone(_handler: object, _brain: ScriptedBrain, _body: bytes) -> None:
    """Nobody listens at the address any more."""


@pytest.mark.parametrize("fault", [_is_gone, drop_at_once, hang, broken_headers, status(500), status(200, b"<html>")])
def test_what_is_raised_does_not_repeat_the_question(server: ScriptedBrain, fault: Fault) -> None:
    dialect = Dialect(allow_older=False)
    dialect.recalls(Way(form=Form.ADDRESS))
    client = HttpBrain(BrainLine(server.url, "Bearer very-secret", 0.5, Breaker(5, 10, 2)), dialect)
    server.next_answers.append(fault)
    if fault is _is_gone:
        server.close()
    question = Question("whisper", HOME)
    with pytest.raises(BrainUnavailable) as caught:
        client.recall(question)
    told = "".join(traceback.format_exception(caught.value))
    assert "no answer" in told or "SomaBrain" in told
    assert not [secret for secret in (question.query, "payload=", "very-secret") if secret in told]


def _sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def _quietly(call: Callable[[], object]) -> None:
    try:
        call()
    except (BrainUnavailable, Rejected):
        return
