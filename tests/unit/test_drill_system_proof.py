"""What a drill says of the system's own proof, also where the system is not well enough yet to give one."""

from collections.abc import Iterator
from typing import Any

import pytest

from drills.system_proof import ROUTE, wrong_by_its_own_proof
from tests.scripted_api import Reply, ScriptedApi, refusal

NONE = {"brain": 0, "wal": 0, "replica": 0}


@pytest.fixture
def base(api: ScriptedApi) -> Iterator[str]:
    with api.running() as address:
        yield address


def a_proof(status: str = "completed", **fields: Any) -> Reply:
    proof = {"status": status, "progress": {"stage": "log"}, "tenants": {}, "clean": True, "error": None, **fields}
    return Reply(proof)


def test_a_clean_proof_is_nothing_wrong_however_long_the_system_needs_to_come_back(api: ScriptedApi, base: str) -> None:
    away, busy = refusal(503, "Postgres is not answering"), refusal(409, "another proof is under way")
    api.on("POST", ROUTE, away, busy, Reply({"job_id": "j-1"}, 202))
    api.on("GET", f"{ROUTE}/j-1", a_proof("running"), away, a_proof())

    assert wrong_by_its_own_proof(base, "t1", 60) == ()
    assert api.asked[0].json == {"tenant": "t1"}


def test_what_the_proof_finds_is_said_with_examples(api: ScriptedApi, base: str) -> None:
    tenant = {"missing": {**NONE, "wal": 2}, "extra": NONE, "differing": NONE, "examples": [{"event_id": "m-1"}]}
    api.on("POST", ROUTE, Reply({"job_id": "j-1"}, 202))
    api.on("GET", f"{ROUTE}/j-1", a_proof(clean=False, tenants={"t1": tenant}))

    found = wrong_by_its_own_proof(base, "t1", 60)

    assert found == ("the system's proof finds 2 missing in wal", "for example {'event_id': 'm-1'}")


@pytest.mark.parametrize(
    ("asking", "reading", "said"),
    [
        (refusal(503, "away"), a_proof(), "cannot be asked for: 503"),
        (refusal(422, "no such tenant"), a_proof(), "cannot be asked for: 422"),
        (Reply({"job_id": "j-1"}, 202), refusal(404, "there is no such proof"), "cannot be read: 404"),
        (Reply({"job_id": "j-1"}, 202), a_proof("running"), "is running: log"),
        (Reply({"job_id": "j-1"}, 202), a_proof("failed", error="workers died"), "is failed: workers died"),
    ],
)
def test_no_proof_in_time_is_wrong_and_says_why(
    api: ScriptedApi, base: str, asking: Reply, reading: Reply, said: str
) -> None:
    api.on("POST", ROUTE, asking)
    api.on("GET", f"{ROUTE}/j-1", reading)

    (sentence,) = wrong_by_its_own_proof(base, "t1", 0.3)

    assert said in sentence
