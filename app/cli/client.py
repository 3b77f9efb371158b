"""The gateway as the command line calls it: JSON in and out, every trouble one sentence."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import requests

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 60.0


class Refused(Exception):
    """What was asked for did not happen; the text is one sentence that says why."""


class Client:
    """One gateway; nothing is retried, since a person is watching."""

    def __init__(self, base: str) -> None:
        self._base = base.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False

    def call(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """The JSON of a good answer; `Refused` for any other, and when there is none."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = self._session.request(
                method,
                self._base + path,
                params=given,
                json=body,
                timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS),
                allow_redirects=False,
            )
            found = answer.json()
        except requests.JSONDecodeError:
            raise Refused(f"what answers at {self._base} is not the gateway") from None
        except requests.RequestException:
            raise Refused(f"the gateway does not answer at {self._base}; is it running?") from None
        if answer.status_code != 200:
            raise Refused(_reason(found, answer.status_code))
        return found


def path_of(*parts: object) -> str:
    """An address below `/v1/admin`, whatever the parts hold."""
    return "/".join(["/v1/admin", *(quote(str(part), safe="") for part in parts)])


def _reason(found: Any, status: int) -> str:
    if not isinstance(found, dict) or "detail" not in found:
        return f"the gateway answered {status}"
    places = [f"{'.'.join(item['loc'])}: {item['msg']}" for item in found.get("errors", [])]
    return "\n  ".join([str(found["detail"]), *places])
