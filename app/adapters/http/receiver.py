"""Webhooks' receivers: one bounded POST to an address of somebody else's choosing. Of its answer the status counts."""

from collections.abc import Mapping

from app.adapters.http.bounded import BoundedHttp, NoAnswer
from app.adapters.http.retry_after import wait_wished
from app.domain.addresses import complaint_about
from app.domain.errors import ReceiverUnavailable
from app.domain.ports import Clock
from app.domain.webhooks import Reply

_LONGEST_WAIT_SECONDS = 86_400.0
_ALLOWS = "WEBHOOK_ALLOW_PRIVATE"
_WORDS = {
    "timeout": "it did not answer in time",
    "unreachable": "it cannot be reached",
    "forbidden": f"its address is not a public one; {_ALLOWS}=true allows inner ones",
}


class HttpReceiver:
    """`Receiver` over HTTP: no redirect is followed, and nothing is sent to an inner address unless that is allowed."""

    def __init__(self, clock: Clock, seconds: float, allow_private: bool) -> None:
        self._http = BoundedHttp(
            0, lambda address: complaint_about(address, allow_private, _ALLOWS) is None, reads_bodies=False
        )
        self._clock = clock
        self._seconds = seconds

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """One attempt."""
        try:
            answer = self._http.send("POST", url, headers, body, self._seconds)
        except NoAnswer as error:
            raise ReceiverUnavailable(_WORDS[error.kind]) from None
        after = answer.headers.get("retry-after", "")
        return Reply(answer.status, wait_wished(after, self._clock.now(), _LONGEST_WAIT_SECONDS))
