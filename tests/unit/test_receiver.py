"""What is sent to strangers: nothing to an inner address, by whatever name, and of their answers the status alone."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from email.utils import format_datetime

import pytest

from app.adapters.http.bounded import BoundedHttp, NoAnswer
from app.adapters.http.receiver import HttpReceiver
from app.domain.errors import ReceiverUnavailable
from tests.fakes_parts import FakeClock
from tests.scripted_api import Reply, ScriptedApi


@pytest.fixture
def api() -> ScriptedApi:
    return ScriptedApi()


@pytest.fixture
def base(api: ScriptedApi) -> Iterator[str]:
    with api.running() as address:
        yield address


def receiver(allow_private: bool = True) -> HttpReceiver:
    return HttpReceiver(FakeClock(), 5.0, allow_private)


def test_a_body_and_its_headers_arrive_and_the_status_comes_back(api: ScriptedApi, base: str) -> None:
    api.on("POST", "/hook", Reply(status=202))

    assert receiver().send(f"{base}/hook", {"webhook-id": "msg_1"}, b"{}").status == 202

    (asked,) = api.asked
    assert (asked.headers["webhook-id"], asked.body) == ("msg_1", b"{}")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1"])
def test_nothing_reaches_an_inner_address_by_whatever_name(api: ScriptedApi, base: str, host: str) -> None:
    with pytest.raises(ReceiverUnavailable, match="not a public one"):
        receiver(allow_private=False).send(base.replace("127.0.0.1", host), {}, b"{}")

    assert api.asked == []


def test_a_name_that_leads_elsewhere_by_the_time_of_the_connection_is_not_told(api: ScriptedApi, base: str) -> None:
    judged: list[str] = []

    def only_the_first_time(address: str) -> bool:
        judged.append(address)
        return len(judged) == 1

    with pytest.raises(NoAnswer) as refused:
        BoundedHttp(0, only_the_first_time).send("POST", base, {}, b"{}", 5)

    assert (refused.value.kind, judged, api.asked) == ("forbidden", ["127.0.0.1"] * 2, [])


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://nobody.invalid/", f"http://{'a' * 70}.org/"])
def test_what_cannot_be_reached_is_away(url: str) -> None:
    with pytest.raises(ReceiverUnavailable):
        receiver().send(url, {}, b"{}")


def test_a_redirect_is_an_answer_and_not_followed(api: ScriptedApi, base: str) -> None:
    api.on("POST", "/hook", Reply(status=307, headers={"Location": f"{base}/other"}))

    assert receiver().send(f"{base}/hook", {}, b"{}").status == 307
    assert [asked.path for asked in api.asked] == ["/hook"]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (lambda _: "120", 120.0),
        (lambda now: format_datetime(now + timedelta(seconds=90), usegmt=True), 90.0),
        (lambda _: "99999999", 86_400.0),
        (lambda _: "-5", None),
        (lambda _: "soon", None),
    ],
)
def test_a_wish_to_wait_is_read_in_both_its_forms(
    api: ScriptedApi, base: str, header: Callable[[object], str], seconds: float | None
) -> None:
    api.on("POST", "/", Reply(status=503, headers={"Retry-After": header(FakeClock().now())}))

    assert receiver().send(f"{base}/", {}, b"{}").retry_after == seconds
