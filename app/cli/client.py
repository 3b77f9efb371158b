"""The gateway as the command line calls it: JSON in and out, every trouble one sentence."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import requests

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 60.0
_TRIES = 8
_LONGEST_PAUSE = 10.0
_LATER = frozenset({429, 502, 503, 504})
_STILL_RUNNING = 409


class Refused(Exception):
    """What was asked for did not happen; the text is one sentence that says why, `status` the answer's, 0 without."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Later(Refused):
    """The same call may succeed later: the gateway is away, starting, or asks to wait for `pause` seconds."""

    def __init__(self, text: str, status: int = 0, pause: float | None = None) -> None:
        super().__init__(text, status)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `raw` goes as it is, `body` as JSON; `key` makes a repetition of it harmless."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    raw: bytes | None = None
    content_type: str = ""
    key: str = ""

    def headers(self) -> dict[str, str]:
        """What this call says beside its body."""
        given = {"Idempotency-Key": self.key, "Content-Type": self.content_type}
        return {name: value for name, value in given.items() if value}


class Client:
    """One gateway. A call is made once, since a person is watching; `insist` repeats what may be repeated."""

    def __init__(self, base: str, key: str = "", pause: Callable[[float], None] = time.sleep) -> None:
        self._base = base.rstrip("/")
        self.pause = pause
        self._session = requests.Session()
        self._session.trust_env = False
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def call(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """The JSON of a good answer; `Refused` for any other, and when there is none."""
        return self._once(Call(method, path, query or {}, body))

    def insist(self, call: Call) -> Any:
        """The same, for as long as about a minute, always with the same `Idempotency-Key`."""
        asked = call if call.key or call.method == "GET" else _with_key(call)
        for attempt in range(_TRIES - 1):
            try:
                return self._once(asked)
            except Later as error:
                self.wait(error, attempt)
        return self._once(asked)

    def wait(self, error: Later, attempt: int) -> None:
        """As long as the gateway asked for; else longer from one attempt to the next."""
        self.pause(min(2.0**attempt / 4 if error.pause is None else error.pause, _LONGEST_PAUSE))

    @contextmanager
    def stream(
        self, path: str, query: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """An answer that is read while it comes; `Later` when it breaks off."""
        with self._translated(), self._ask(Call("GET", path, query or {}), True, headers or {}) as answer:
            if not _is_good(answer):
                raise self._refusal(answer, asked_with_key=False)
            yield answer

    def _once(self, call: Call) -> Any:
        with self._translated():
            answer = self._ask(call, False, call.headers())
        if not _is_good(answer):
            raise self._refusal(answer, bool(call.key))
        if answer.status_code == requests.codes.no_content:
            return None
        try:
            return answer.json()
        except requests.JSONDecodeError:
            raise Refused(f"what answers at {self._base} is not the gateway") from None

    def _ask(self, call: Call, stream: bool, headers: Mapping[str, str]) -> requests.Response:
        given = {name: value for name, value in call.query.items() if value is not None}
        return self._session.request(
            call.method,
            self._base + call.path,
            params=given,
            headers=headers,
            timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS),
            allow_redirects=False,
            stream=stream,
            **({"json": call.body} if call.raw is None else {"data": call.raw}),
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except requests.exceptions.ChunkedEncodingError:
            raise Later(f"the line to {self._base} broke") from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            raise Refused(f"{self._base} is no address; example: http://127.0.0.1:20016") from None
        except requests.RequestException:
            raise Later(f"the gateway does not answer at {self._base}; is it running? make run starts it") from None

    def _refusal(self, answer: requests.Response, asked_with_key: bool) -> Refused:
        text = _reason(answer, self._base)
        if answer.status_code in _LATER or (asked_with_key and answer.status_code == _STILL_RUNNING):
            return Later(text, answer.status_code, _seconds(answer.headers.get("Retry-After", "")))
        if answer.status_code == requests.codes.unauthorized:
            text += " SOMA_KEY in the environment is sent as the key."
        return Refused(text, answer.status_code)


def path_of(*parts: object) -> str:
    """An address below `/v1/admin`, whatever the parts hold."""
    return below("/v1/admin", *parts)


def below(root: str, *parts: object) -> str:
    """An address below another one, whatever the parts hold."""
    return "/".join([root, *(quote(str(part), safe="") for part in parts)])


def _with_key(call: Call) -> Call:
    return Call(call.method, call.path, call.query, call.body, call.raw, call.content_type, uuid4().hex)


def _seconds(told: str) -> float | None:
    return float(told) if told.isdecimal() else None


def _is_good(answer: requests.Response) -> bool:
    return 200 <= answer.status_code < 300


def _reason(answer: requests.Response, base: str) -> str:
    try:
        found = answer.json()
    except requests.JSONDecodeError:
        return f"what answers at {base} is not the gateway: it said {answer.status_code} and no JSON"
    if not isinstance(found, dict) or "detail" not in found:
        return f"the gateway answered {answer.status_code}"
    places = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in found.get("errors", [])]
    return "\n  ".join([str(found["detail"]), *places])
