"""A gateway whose line to Postgres breaks at COMMIT or hangs: the caller is told the truth, within two seconds."""

import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine import make_url

from devstack.stack import Stack
from drills.proxy import Mode, Proxy
from tests.builders import an_id
from tests.conftest import eventually
from tests.integration.gateway_process import Gateway, assert_problem

OUR_TRANSACTION = b"INSERT INTO turns"


@pytest.fixture(scope="module")
def shared_link(servers: Stack) -> Iterator[Proxy]:
    address = make_url(servers.environment["POSTGRES_DSN"])
    with Proxy(address.host or "", address.port or 0) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def gateway(servers: Stack, shared_link: Proxy) -> Iterator[Gateway]:
    near = make_url(servers.environment["POSTGRES_DSN"]).set(port=shared_link.port)
    dsn = near.render_as_string(hide_password=False)
    running = Gateway({**servers.environment, "POSTGRES_DSN": dsn}).start()
    yield running
    running.stop()


@pytest.fixture
def link(shared_link: Proxy, gateway: Gateway) -> Iterator[Proxy]:
    gateway.say()
    yield shared_link
    shared_link.mode = Mode.PASS
    eventually(lambda: gateway.get("/readyz").status_code == 200)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k-1"}], ids=["without a key", "with a key"])
def test_a_message_whose_commit_lost_its_answer_is_answered_with_its_receipt(
    gateway: Gateway, link: Proxy, headers: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    message = {"message": "hello", "session_id": an_id("s-")}
    cuts = link.cuts
    link.cut_at_commit(containing=OUR_TRANSACTION)

    began = time.monotonic()
    answer = gateway.post(message, **headers)

    record_property("answered_after_seconds", round(time.monotonic() - began, 3))
    assert time.monotonic() - began < 2
    assert link.cuts == cuts + 1
    assert answer.status_code == 200
    assert "Idempotent-Replayed" not in answer.headers
    events = gateway.get(f"/v1/sessions/{message['session_id']}/events").json()["events"]
    assert [event["payload"]["event_id"] for event in events][:1] == [answer.json()["event_id"]]
    assert [event["payload"]["type"] for event in events] == ["user", "assistant.started"]


def test_a_message_whose_fate_cannot_be_read_is_not_promised_and_may_be_sent_again(
    gateway: Gateway, link: Proxy
) -> None:
    message, key = {"message": "hello", "session_id": an_id("s-")}, an_id()
    link.cut_at_commit(times=2, containing=b"idempotency_keys")

    began = time.monotonic()
    refused = gateway.post(message, **{"Idempotency-Key": key})

    assert time.monotonic() - began < 2
    assert_problem(refused, 503)
    again = gateway.post(message, **{"Idempotency-Key": key})
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    events = gateway.get(f"/v1/sessions/{message['session_id']}/events").json()["events"]
    assert len(events) == 2


def test_a_line_that_takes_everything_and_says_nothing_is_told_of_within_two_seconds(
    gateway: Gateway, link: Proxy, record_property: Callable[[str, object], None]
) -> None:
    link.mode = Mode.BLACK_HOLE
    took = []
    for _ in range(4):
        began = time.monotonic()
        assert_problem(gateway.post({"message": "hello"}), 503)
        took.append(time.monotonic() - began)

    record_property("answered_within_seconds", round(max(took), 2))
    assert max(took) < 2
    link.mode = Mode.PASS
    assert gateway.post({"message": "back"}).status_code == 200
