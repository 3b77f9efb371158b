"""Asking the system itself whether anything is missing: it, too, has to find nothing where nothing was lost."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import requests

from drills.observe import polite_client

ROUTE: Final = "/v1/admin/memory/reconcile"
PATIENCE_SECONDS: Final = 90.0
_KINDS: Final = ("missing", "extra", "differing")


def wrong_by_its_own_proof(gateway: str, tenant: str) -> tuple[str, ...]:
    """What the system's own proof of this tenant found wrong, as sentences; or why there is no proof."""
    with polite_client() as http:
        begun = http.post(gateway + ROUTE, json={"tenant": tenant}, timeout=15)
        begun.raise_for_status()
        proof = _ended(http, f"{gateway}{ROUTE}/{begun.json()['job_id']}")
    if proof["status"] != "completed":
        return (f"the system's proof is {proof['status']}: {proof['error'] or proof['progress']['stage']}",)
    return () if proof["clean"] else tuple(_sentences(proof))


def _ended(http: requests.Session, url: str) -> Mapping[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        proof: Mapping[str, Any] = http.get(url, timeout=15).json()
        if proof["status"] in ("completed", "failed") or time.monotonic() > deadline:
            return proof
        time.sleep(0.25)


def _sentences(proof: Mapping[str, Any]) -> Iterator[str]:
    for tenant in proof["tenants"].values():
        for kind in _KINDS:
            for store, count in tenant[kind].items():
                if count:
                    yield f"the system's proof finds {count} {kind} in {store}"
        yield from (f"for example {example}" for example in tenant["examples"][:3])
