"""The stream on both doors: the same items, resumable at every cursor, and nobody can break it for the others."""

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import websocket

from app.adapters.redis.connection import connect
from app.domain.events import EventType, live_item
from app.settings import Settings
from tests.builders import a_message, an_id
from tests.conftest import eventually
from tests.integration.gateway_process import Answerer, Gateway, assert_problem
from tests.unit.session_history import Reader

Item = dict[str, Any]
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
WORDS = ("Once ", "upon ", "a \U0001f600 ", "time.")


def is_told(item: Item) -> bool:
    return item["type"] not in ("ping", "memory.status")


def by_sse(gateway: Gateway, session_id: str, after: str = "", end: str = "assistant.final") -> list[Item]:
    """Items of the stream up to its first `end`."""
    found: list[Item] = []
    with gateway.sse(session_id, after) as items:
        for item in filter(is_told, items):
            found.append(item)
            if item["type"] == end:
                return found
    raise AssertionError("the stream ended")


def by_websocket(gateway: Gateway, session_id: str, after: str = "", end: str = "assistant.final") -> list[Item]:
    found: list[Item] = []
    with gateway.websocket(session_id, after) as ws:
        while not found or found[-1]["type"] != end:
            item = json.loads(ws.recv())
            found += [item] if is_told(item) else []
    return found


def durable(items: list[Item]) -> list[Item]:
    return [item for item in items if item.get("seq")]


@pytest.fixture
def answered(gateway: Gateway, answerer: Answerer) -> str:
    """A session with one answered message."""
    receipt = gateway.say("tell me")
    assert answerer.answer(receipt["event_id"], *WORDS) == "done"
    return str(receipt["session_id"])


def test_both_doors_tell_the_same_and_it_is_what_was_kept(gateway: Gateway, answered: str) -> None:
    kept = [event["payload"] for event in gateway.get(f"/v1/sessions/{answered}/events").json()["events"]]
    without_cursor = [{k: v for k, v in item.items() if k != "cursor"} for item in kept]

    for told in (by_sse(gateway, answered), by_websocket(gateway, answered)):
        assert [{k: v for k, v in item.items() if k != "cursor"} for item in durable(told)] == without_cursor


class Watcher(threading.Thread):
    """Somebody who watches on one door until the answer has ended."""

    def __init__(self, gateway: Gateway, session_id: str, door: str) -> None:
        super().__init__(daemon=True)
        self.watching = threading.Event()
        self.reader = Reader()
        self.types: list[str] = []
        self._watch = {"sse": self._by_sse, "websocket": self._by_websocket}[door]
        self._gateway, self._session_id = gateway, session_id
        self.start()

    def run(self) -> None:
        self._watch()

    def _by_sse(self) -> None:
        with self._gateway.sse(self._session_id) as items:
            self._collect(items)

    def _by_websocket(self) -> None:
        with self._gateway.websocket(self._session_id) as ws:
            self._collect(json.loads(text) for text in iter(ws.recv, ""))

    def _collect(self, items: Iterator[Item]) -> None:
        for item in filter(is_told, items):
            self.reader.hear(item)
            self.types.append(item["type"])
            if item["type"] == "assistant.started":
                self.watching.set()
            if item["type"] == "assistant.final":
                return


def test_an_answer_is_watched_live_on_both_doors(gateway: Gateway, answerer: Answerer) -> None:
    receipt = gateway.say("tell me")
    watchers = [Watcher(gateway, receipt["session_id"], door) for door in ("sse", "websocket")]
    assert all(watcher.watching.wait(20) for watcher in watchers)

    answerer.answer(receipt["event_id"], *WORDS)

    for watcher in watchers:
        watcher.join(20)
        assert watcher.reader.ends[0]["message"] == "".join(WORDS)
        assert "assistant.delta" in watcher.types


def test_a_stream_resumes_from_every_cursor_on_either_door(gateway: Gateway, answered: str) -> None:
    items = by_sse(gateway, answered)
    for number, item in enumerate(items[:-1]):
        rest = [later["seq"] for later in durable(items[number + 1 :])]
        assert [later["seq"] for later in durable(by_sse(gateway, answered, item["cursor"]))] == rest
        assert [later["seq"] for later in durable(by_websocket(gateway, answered, item["cursor"]))] == rest


def test_a_reader_that_left_inside_an_answer_finds_the_rest_of_its_text(gateway: Gateway, answerer: Answerer) -> None:
    receipt = gateway.say("tell me")
    session_id, first = receipt["session_id"], Reader()
    left, cursors = threading.Event(), []

    def watch() -> None:
        with gateway.sse(session_id) as items:
            for item in filter(is_told, items):
                first.hear(item)
                cursors.append(item["cursor"])
                if item["type"] == "assistant.started":
                    watching.set()
                if item["type"] == "assistant.delta":
                    left.set()
                    return

    watching = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    assert watching.wait(20)
    answerer.answer(receipt["event_id"], "Once ", lambda: left.wait(20), "upon ", "a time.")
    watcher.join(20)

    for item in by_websocket(gateway, session_id, cursors[-1]):
        first.hear(item)

    assert first.seqs == [1, 2, 3, 4]
    assert first.ends[0]["message"] == "Once upon a time."


def test_an_answer_that_is_too_long_for_a_frame_can_be_fetched_whole(gateway: Gateway, answerer: Answerer) -> None:
    pieces = ("\U0001f600" * 50_000, "é" * 50_000)
    receipt = gateway.say("tell me")
    assert answerer.answer(receipt["event_id"], *pieces) == "done"

    for told in (by_sse(gateway, receipt["session_id"]), by_websocket(gateway, receipt["session_id"])):
        final = told[-1]
        assert all(len(json.dumps(item, ensure_ascii=False).encode()) <= 65_536 for item in told)
        assert final["message"] == final["message"][:1] * len(final["message"])
        whole = gateway.get(final["metadata"]["truncated"]["href"]).json()
        assert whole["id"] == final["seq"]
        assert whole["payload"]["message"] == "".join(pieces)


@pytest.mark.parametrize("seq", ["5", "0", "-1", "x", "1.5", "9" * 30, "%D9%A3"])
def test_an_event_that_is_not_there_is_404(gateway: Gateway, answered: str, seq: str) -> None:
    assert_problem(gateway.get(f"/v1/sessions/{answered}/events/{seq}"), 404)


def test_the_last_event_id_is_a_cursor_too(gateway: Gateway, answered: str) -> None:
    with gateway.sse(answered, **{"Last-Event-ID": "3"}) as items:
        assert next(item for item in items if item.get("seq"))["seq"] == 4


@pytest.mark.parametrize("cursor", ["nonsense", "99999", "1.2", "-1", "7.0.5", "%D9%A3"])
def test_a_cursor_from_nowhere_begins_again_and_says_so(gateway: Gateway, answered: str, cursor: str) -> None:
    for told in (by_sse(gateway, answered, cursor), by_websocket(gateway, answered, cursor)):
        assert [item["type"] for item in told[:2]] == ["stream.reset", "user"]


@pytest.mark.parametrize("session_id", ["nobody", "a%20b", "x" * 129, "%00", "..%2f"])
def test_a_session_that_is_not_there_is_404_on_both_doors(gateway: Gateway, session_id: str) -> None:
    assert_problem(gateway.get(f"/v1/session/{session_id}/events"), 404)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused, gateway.websocket(session_id):
        pass
    assert refused.value.status_code == 404


def test_an_unknown_parameter_is_422(gateway: Gateway, answered: str) -> None:
    assert_problem(gateway.get(f"/v1/session/{answered}/events?since=1"), 422, "since")


def test_a_stream_is_not_cached_and_tells_when_to_come_back(gateway: Gateway, answered: str) -> None:
    with requests.get(f"{gateway.base}/v1/session/{answered}/events", stream=True, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        assert next(answer.iter_lines()) == b"retry: 1000"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_foreign_page_may_not_open_a_websocket(gateway: Gateway, answered: str, origin: str) -> None:
    url = f"ws://127.0.0.1:{gateway.port}/v1/session/{answered}/stream"

    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(url, origin=origin, timeout=10)

    assert refused.value.status_code == 403


def test_a_page_of_our_own_may(gateway: Gateway, answered: str) -> None:
    url = f"ws://127.0.0.1:{gateway.port}/v1/session/{answered}/stream"

    opened = websocket.create_connection(url, origin=gateway.base, timeout=10)

    assert json.loads(opened.recv())["type"] == "user"
    opened.close()


def test_a_plain_request_to_the_websocket_is_no_500(gateway: Gateway, answered: str) -> None:
    assert gateway.get(f"/v1/session/{answered}/stream").status_code in (400, 426)


def still_well(gateway: Gateway, answered: str) -> None:
    """Others are served as before."""
    assert gateway.post({"message": "still there?"}).status_code == 200
    assert by_websocket(gateway, answered)[-1]["type"] == "assistant.final"


def test_a_client_that_floods_is_put_out_and_the_others_are_served(gateway: Gateway, answered: str) -> None:
    with gateway.websocket(answered) as ws:
        ended = False
        for _ in range(200):
            try:
                ws.send("x" * 4096)
            except (websocket.WebSocketException, OSError):
                ended = True
                break
        still_well(gateway, answered)
        assert ended or eventually(lambda: _is_closed(ws))


def _is_closed(ws: "websocket.WebSocket") -> bool:
    try:
        code, data = ws.recv_data()
    except (websocket.WebSocketException, OSError):
        return True
    return code == websocket.ABNF.OPCODE_CLOSE and struct.unpack("!H", data[:2])[0] in (1008, 1009)


def test_clients_that_never_read_do_not_hold_up_the_others(gateway: Gateway, answered: str) -> None:
    deaf = []
    for _ in range(5):
        connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.sendall(
            f"GET /v1/session/{answered}/stream HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n".encode() + UPGRADE
        )
        deaf.append(connection)

    still_well(gateway, answered)

    for connection in deaf:
        connection.close()


def test_a_broken_handshake_is_400(gateway: Gateway, answered: str) -> None:
    head = f"GET /v1/session/{answered}/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

    answer = gateway.raw(head.encode() + b"Sec-WebSocket-Version: 7\r\nSec-WebSocket-Key: x\r\n\r\n")

    assert answer.split(b" ")[1] in (b"400", b"422"), answer[:200]


def is_open(gateway: Gateway, session_id: str) -> bool:
    with requests.get(f"{gateway.base}/v1/session/{session_id}/events", stream=True, timeout=5) as answer:
        return answer.ok


def test_more_streams_than_there_is_room_for_are_told_to_come_back(servers: Any) -> None:
    small = Gateway(servers.environment, GATEWAY_MAX_STREAMS="2", GATEWAY_WORKERS="1").start()
    try:
        session_id = small.say()["session_id"]
        with small.websocket(session_id), small.sse(session_id) as items:
            next(items)
            answer = small.get(f"/v1/session/{session_id}/events")
            assert_problem(answer, 503)
            assert int(answer.headers["Retry-After"]) > 0
            assert small.post({"message": "still there?"}).status_code == 200
        began = time.monotonic()
        eventually(lambda: is_open(small, session_id))
        assert time.monotonic() - began < 5, "the room of those who left stayed taken"
    finally:
        small.stop()


def assert_full(gateway: Gateway, session_id: str, name: str) -> None:
    answer = gateway.get(f"/v1/session/{session_id}/events")
    assert_problem(answer, 429, name)
    assert int(answer.headers["Retry-After"]) > 0
    with pytest.raises(websocket.WebSocketBadStatusException) as refused, gateway.websocket(session_id):
        pass
    assert refused.value.status_code == 429


def test_readers_of_a_session_and_of_a_tenant_are_limited_over_all_processes(servers: Any) -> None:
    limits = {"GATEWAY_MAX_SESSION_STREAMS": "2", "GATEWAY_MAX_TENANT_STREAMS": "3", "GATEWAY_WORKERS": "1"}
    tenant = {"metadata": {"tenant": an_id("t-")}}
    gateways = [Gateway(servers.environment, **limits).start() for _ in range(2)]
    try:
        one, other = (gateways[0].say(**tenant)["session_id"] for _ in range(2))
        with gateways[0].websocket(one), gateways[1].sse(one) as items:
            next(items)
            for each in gateways:
                assert_full(each, one, "This session has 2 open streams")
            with gateways[1].websocket(other):
                assert_full(gateways[0], other, "This tenant has 3 open streams")
                assert is_open(gateways[0], gateways[0].say()["session_id"])
        eventually(lambda: is_open(gateways[0], one))
    finally:
        for each in gateways:
            each.stop()


def test_a_stopping_gateway_tells_its_readers_to_come_back(servers: Any) -> None:
    leaving = Gateway(servers.environment, GATEWAY_WORKERS="1").start()
    session_id = leaving.say()["session_id"]
    with leaving.websocket(session_id) as ws:
        json.loads(ws.recv())
        leaving.process.terminate()
        code = 0
        while code != websocket.ABNF.OPCODE_CLOSE:
            code, data = ws.recv_data()
        assert struct.unpack("!H", data[:2])[0] == 1012
    leaving.stop()
    assert leaving.process.returncode == 0


def test_messages_of_a_busy_session_reach_its_readers_in_order(gateway: Gateway) -> None:
    session_id = gateway.say(session_id=an_id("s-"))["session_id"]
    with gateway.sse(session_id) as items:
        for number in range(20):
            gateway.say(a_message(f"m{number}").text, session_id)
        seqs = []
        for item in items:
            seqs += [item["seq"]] if item.get("seq") else []
            if len(seqs) == 42:
                break

    assert seqs == list(range(1, 43))


def test_a_reader_that_is_too_slow_is_told_so_and_resumes_from_its_cursor(
    gateway: Gateway, answered: str, settings: Settings
) -> None:
    redis = connect(settings.redis_url.get_secret_value())
    with gateway.websocket(answered) as ws:
        while (item := json.loads(ws.recv()))["type"] != "assistant.final":
            pass
        # A hundred items come in the time that it takes for one of them.
        for _ in range(20):
            for _ in range(100):
                news = {an_id("x" * 12_000): "accepted"}
                told = live_item(answered, EventType.MEMORY_STATUS, "", news, datetime.now(UTC))
                redis.publish(f"live:{answered}", json.dumps(told))
            ws.recv()
        code, data = ws.recv_data()
        while code != websocket.ABNF.OPCODE_CLOSE:
            code, data = ws.recv_data()

    assert struct.unpack("!H", data[:2])[0] == 4408
    assert b"resume from your cursor" in data
    later = gateway.say("and then?", answered)
    resumed = by_websocket(gateway, answered, item["cursor"], "assistant.started")
    assert resumed[0]["event_id"] == later["event_id"]
