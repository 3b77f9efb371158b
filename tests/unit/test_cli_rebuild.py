"""`soma memory rebuild`: what it asks for, what a person reads, and when its status is 1."""

import json
from typing import Any

import pytest

from tests.scripted_api import Reply, ScriptedApi, refusal
from tests.unit.conftest import Typist

PATH = "/v1/admin/memory/rebuild"
EQUAL = {
    "equal": True, "replica": {"rows": 3, "digest": "aa"}, "log": {"rows": 3, "digest": "aa"}, "only_in_replica": 0,
    "only_in_log": 0, "differing": 0, "examples": [],
}  # fmt: skip
DIFFERENT = {**EQUAL, "equal": False, "log": {"rows": 4, "digest": "bb"}, "only_in_log": 1, "examples": ["m-1"]}


def a_rebuild(status: str = "completed", **fields: Any) -> dict[str, Any]:
    return {
        "id": "r-1", "kind": "replica", "status": status,
        "progress": {"stage": "reading the log", "done": 3, "total": 3}, "poison": 0,
        "comparison": EQUAL, "remembered": 0, "refused": 0, "error": None,
        "created_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:02Z", **fields,
    }  # fmt: skip


def script(api: ScriptedApi, *looks: Reply, **begun: Any) -> None:
    api.on("POST", PATH, Reply({**a_rebuild("queued", comparison=None), "started": True, **begun}, 202))
    api.on("GET", f"{PATH}/r-1", *looks)


def test_equal_digests_are_shown_and_are_status_0(api: ScriptedApi, typist: Typist) -> None:
    script(api, Reply(a_rebuild("running", comparison=None)), Reply(breaks=True), Reply(a_rebuild()))

    printed = typist.types("memory", "rebuild", "--table")

    assert printed.status == 0
    assert "They are equal." in printed.out
    assert "completed after 2.0 s (2 a second)" in printed.out
    assert api.asked[0].json == {"kind": "replica"}


def test_what_differs_is_shown_and_is_status_1(api: ScriptedApi, typist: Typist) -> None:
    script(api, Reply(a_rebuild(comparison=DIFFERENT, poison=2)))

    printed = typist.types("memory", "rebuild", "--table")

    assert printed.status == 1
    for words in ("aa", "bb", "1 only in the log", "  m-1", "2 records of the log are poison"):
        assert words in printed.out


def test_one_of_a_thing_is_told_as_one(api: ScriptedApi, typist: Typist) -> None:
    compared = {**DIFFERENT, "only_in_replica": 1}
    script(api, Reply(a_rebuild(kind="brain", comparison=compared, poison=1, remembered=1)))

    printed = typist.types("memory", "rebuild", "--brain", "--table")

    for words in (
        "1 row only in the replica", "1 record of the log is poison or contradicts others", "1 memory was remembered"
    ):  # fmt: skip
        assert words in printed.out


@pytest.mark.parametrize(("refused", "status"), [(0, 0), (1, 1)])
def test_a_brain_that_refused_something_is_status_1(
    api: ScriptedApi, typist: Typist, refused: int, status: int
) -> None:
    script(api, Reply(a_rebuild(kind="brain", remembered=3, refused=refused, error="m-1: no" if refused else None)))

    printed = typist.types("memory", "rebuild", "--brain", "--table")

    assert printed.status == status
    assert f"3 memories were remembered, {refused} refused." in printed.out
    assert api.asked[0].json == {"kind": "brain"}


def test_one_that_is_under_way_is_watched(api: ScriptedApi, typist: Typist) -> None:
    script(api, Reply(a_rebuild()), started=False)

    printed = typist.types("memory", "rebuild")

    assert "was under way already: r-1" in printed.err
    assert json.loads(printed.out)["status"] == "completed"


def test_one_that_failed_says_why(api: ScriptedApi, typist: Typist) -> None:
    script(api, Reply(a_rebuild("failed", error="the log no longer holds the records 0 to 7", comparison=None)))

    printed = typist.types("memory", "rebuild")

    assert printed.status == 1
    assert "the log no longer holds the records 0 to 7" in printed.err


def test_one_can_be_cancelled_and_what_is_over_says_so(api: ScriptedApi, typist: Typist) -> None:
    api.on(
        "DELETE", f"{PATH}/r-1", Reply(a_rebuild("cancelled", comparison=None)), refusal(409, "This rebuild is over.")
    )

    assert "is cancelled" in typist.types("memory", "rebuild", "--cancel", "r-1", "--table").out
    assert typist.types("memory", "rebuild", "--cancel", "r-1").err == "soma: This rebuild is over.\n"
