"""Asking the system itself whether anything is missing: it, too, has to find nothing where nothing was lost."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import requests

from drills.observe import polite_client

ROUTE: Final = "/v1/admin/memory/reconcile"
_PAUSE_SECONDS: Final = 0.25
_BUSY: Final = (409, 503)
"""Another proof is under way, or a part that the fault took away is not back yet."""
_KINDS: Final = ("missing", "extra", "differing")


def wrong_by_its_own_proof(gateway: str, tenant: str, patience_seconds: float) -> tuple[str, ...]:
    """What the system's own proof of this tenant found wrong, as sentences; or why there is no proof."""
    deadline = time.monotonic() + patience_seconds
    with polite_client() as http:
        begun = _patiently(lambda: http.post(gateway + ROUTE, json={"tenant": tenant}, timeout=15), deadline)
        if not begun.ok:
            return (f"the system's proof cannot be asked for: {begun.status_code} {begun.text[:200]}",)
        return _ended(http, f"{gateway}{ROUTE}/{begun.json()['job_id']}", deadline)


def _patiently(ask: Callable[[], requests.Response], deadline: float) -> requests.Response:
    """The first answer that is not to be asked for again, or the last one when the time is up."""
    while (answer := ask()).status_code in _BUSY and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
    return answer


def _ended(http: requests.Session, url: str, deadline: float) -> tuple[str, ...]:
    while True:
        answer = _patiently(lambda: http.get(url, timeout=15), deadline)
        if not answer.ok:
            return (f"the system's proof cannot be read: {answer.status_code} {answer.text[:200]}",)
        proof = answer.json()
        if proof["status"] == "completed":
            return () if proof["clean"] else tuple(_sentences(proof))
        if proof["status"] == "failed" or time.monotonic() > deadline:
            return (f"the system's proof is {proof['status']}: {proof['error'] or proof['progress']['stage']}",)
        time.sleep(_PAUSE_SECONDS)


def _sentences(proof: Mapping[str, Any]) -> Iterator[str]:
    for tenant in proof["tenants"].values():
        for kind in _KINDS:
            for store, count in tenant[kind].items():
                if count:
                    yield f"the system's proof finds {count} {kind} in {store}"
        yield from (f"for example {example}" for example in tenant["examples"][:3])
