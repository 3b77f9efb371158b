"""`soma recall`, `soma memory`, `soma keys`, `soma drill`: what they ask the gateway for and what a person reads."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer

from app.cli import drill, jobs, surroundings
from app.cli.client import Client
from app.cli.root import root
from tests.scripted_api import Reply, ScriptedApi, refusal
from tests.unit.conftest import Typist

LIST, RECALL = "/v1/admin/memory", "/v1/memory/recall"
RECONCILE = "/v1/admin/memory/reconcile"


def a_memory(event_id: str = "m-1", **fields: Any) -> dict[str, Any]:
    return {
        "id": 7, "event_id": event_id, "session_id": "s-1", "persona_id": None, "tenant": "t1", "role": "user",
        "payload": {"content": "my name is\nAda"}, "created_at": "2026-01-01T00:00:00Z", "deleted_at": None, **fields,
    }  # fmt: skip


def test_a_page_is_a_table_for_a_person_and_json_lines_for_a_program(api: ScriptedApi, typist: Typist) -> None:
    items = [a_memory(), a_memory("m-2", deleted_at="2026-01-02T00:00:00Z")]
    api.on("GET", LIST, Reply({"items": items, "next_cursor": "abc"}))

    person = typist.types("memory", "list", "--tenant", "t1", "--q", "name Ada", "--after", "x", "--table")
    program = typist.types("memory", "list")

    assert person.out.splitlines()[0].split() == ["id", "tenant", "session", "role", "age", "content"]
    assert "my name is Ada" in person.out
    assert "(deleted)" in person.out
    assert person.err == "soma: there are more: --after abc\n"
    assert [json.loads(line) for line in program.out.splitlines()] == items
    assert api.asked[0].query == {"tenant": "t1", "q": "name Ada", "after": "x", "limit": "50"}


@pytest.mark.parametrize(("typed", "asked"), [("2026-01-31T12:00Z", 1769860800), ("2026-01-31", 1769817600), ("7", 7)])
def test_times_are_written_as_people_write_them(api: ScriptedApi, typist: Typist, typed: str, asked: float) -> None:
    api.on("GET", LIST, Reply({"items": [], "next_cursor": None}))

    assert typist.types("memory", "list", "--since", typed, "--until", typed).status == 0
    assert float(api.asked[0].query["min_ts"]) == float(api.asked[0].query["max_ts"]) == asked


def test_what_is_no_time_is_wrong_usage(api: ScriptedApi, typist: Typist) -> None:
    assert typist.types("memory", "list", "--since", "yesterday").status == 2
    assert not api.asked


def test_one_memory_is_shown_in_full(api: ScriptedApi, typist: Typist) -> None:
    api.on("GET", f"{LIST}/m%2F1", Reply(a_memory()))

    assert typist.types("memory", "get", "m/1", "--table").out.endswith("my name is\nAda\n")
    assert json.loads(typist.types("memory", "get", "m/1").out) == a_memory()


def test_a_memory_that_is_not_there_is_the_gateways_sentence(api: ScriptedApi, typist: Typist) -> None:
    api.on("GET", f"{LIST}/m-1", refusal(404, "There is no such memory."))

    printed = typist.types("memory", "get", "m-1")

    assert (printed.status, printed.out, printed.err) == (1, "", "soma: There is no such memory.\n")


def test_recall_says_where_it_found_what_and_when_it_is_degraded(api: ScriptedApi, typist: Typist) -> None:
    found = {"event_id": "m-1", "content": "my name is Ada", "score": 0.914, "role": "user", "source": "pending",
             "created_at": None}  # fmt: skip
    api.on("POST", RECALL, Reply({"results": [found], "degraded": True}))

    printed = typist.types("recall", "name?", "-k", "3", "--session", "s-1", "--table")

    assert printed.out.splitlines()[1].split() == ["0.91", "pending", "user", "my", "name", "is", "Ada", "m-1"]
    assert "the memory service is away" in printed.err
    assert api.asked[0].json == {"query": "name?", "top_k": 3, "session_id": "s-1"}


@pytest.mark.parametrize(("deleted", "words"), [(True, "is forgotten"), (False, "will forget it when it is back")])
def test_forgetting_says_whether_it_is_done_or_will_be(
    api: ScriptedApi, typist: Typist, deleted: bool, words: str
) -> None:
    api.on("DELETE", "/v1/memory/m-1", Reply({"deleted": deleted, "queued": not deleted}, 200 if deleted else 202))

    assert words in typist.types("memory", "delete", "m-1", "--yes", "--table").out


PROOF = {
    "id": "j-1", "status": "completed", "progress": {"stage": "replica", "done": 3, "total": 3}, "clean": False,
    "tenants": {"t1": {"checked": 3, "missing": {"brain": 1, "wal": 0}, "extra": {}, "differing": {"replica": ["m-1"]},
                       "in_flight": 2}},
}  # fmt: skip


def test_a_proof_is_waited_for_and_what_is_not_clean_is_status_1(api: ScriptedApi, typist: Typist) -> None:
    running = {"id": "j-1", "status": "running", "progress": {"stage": "brain", "done": 1, "total": 3}}
    api.on("POST", RECONCILE, Reply({"job_id": "j-1"}, 202))
    api.on("GET", f"{RECONCILE}/j-1", Reply(running), Reply(breaks=True), Reply(PROOF))

    printed = typist.types("memory", "prove", "--tenant", "t1", "--table")

    assert printed.status == 1
    assert printed.out.splitlines()[1].split() == ["t1", "3", "1", "(brain", "1)", "0", "1", "(replica", "1)", "2"]
    assert "It is not clean." in printed.out
    assert api.asked[0].json == {"repair": False, "tenant": "t1"}
    assert jobs.LOOK_SECONDS in typist.pauses


def test_a_proof_shows_what_was_found_and_what_could_not_be_looked_at(api: ScriptedApi, typist: Typist) -> None:
    shown = {"event_id": "m-1", "store": "brain", "kind": "missing", "words": "it is not there", "repair": "owed again"}
    found = {**PROOF, "tenants": {"t1": {"checked": 3, "examples": [shown]}}, "notes": ["SomaBrain was not compared"]}
    api.on("POST", RECONCILE, Reply({"job_id": "j-1"}, 202))
    api.on("GET", f"{RECONCILE}/j-1", Reply(found))

    printed = typist.types("memory", "prove", "--table").out

    assert ["t1", "m-1", "brain", "missing", "it", "is", "not", "there", "owed", "again"] in [
        line.split() for line in printed.splitlines()
    ]
    assert printed.splitlines()[-1] == "SomaBrain was not compared"


def test_a_clean_proof_is_status_0(api: ScriptedApi, typist: Typist) -> None:
    api.on("POST", RECONCILE, Reply({"job_id": "j-1"}, 202))
    api.on("GET", f"{RECONCILE}/j-1", Reply({**PROOF, "clean": True, "tenants": {}}))

    printed = typist.types("memory", "prove", "--repair")

    assert (printed.status, json.loads(printed.out)["clean"]) == (0, True)
    assert api.asked[0].json == {"repair": True}


def test_a_proof_that_failed_says_so(api: ScriptedApi, typist: Typist) -> None:
    api.on("POST", RECONCILE, Reply({"job_id": "j-1"}, 202))
    api.on("GET", f"{RECONCILE}/j-1", Reply({"id": "j-1", "status": "failed", "error": "the log is away"}))

    assert typist.types("memory", "prove").err == "soma: the job failed: the log is away\n"


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt


def test_whoever_stops_watching_learns_how_far_it_came(
    api: ScriptedApi, typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = {"id": "j-1", "status": "running", "progress": {"stage": "brain", "done": 1, "total": 3}}
    api.on("POST", RECONCILE, Reply({"job_id": "j-1"}, 202))
    api.on("GET", f"{RECONCILE}/j-1", Reply(running))
    monkeypatch.setattr(surroundings, "Client", partial(Client, pause=_interrupt))

    printed = typist.types("memory", "prove")

    assert printed.status == 130
    assert "at 1 of 3; the job goes on: --job-id j-1 watches it" in printed.err


def test_a_proof_that_goes_on_is_watched_again_and_not_begun_again(api: ScriptedApi, typist: Typist) -> None:
    api.on("GET", f"{RECONCILE}/j-1", Reply({**PROOF, "clean": True}))

    assert typist.types("memory", "prove", "--job-id", "j-1").status == 0
    assert [asked.method for asked in api.asked] == ["GET"]


SECRET = {"id": "k-1", "label": "backup", "scopes": ["admin"], "secret": "sk_k-1_x"}


def test_keys_are_made_listed_and_revoked(api: ScriptedApi, typist: Typist) -> None:
    api.on("POST", "/v1/keys", Reply(SECRET, 201))
    api.on("GET", "/v1/keys", Reply({"items": [{"id": "k-1", "label": "backup", "scopes": ["admin", "chat"]}]}))
    api.on("DELETE", "/v1/keys/k-1", Reply(b"", 204))

    made = typist.types("keys", "create", "backup", "--scope", "admin", "--table")
    listed = typist.types("keys", "list", "--table")
    revoked = typist.types("keys", "revoke", "k-1")

    assert "sk_k-1_x" in made.out
    assert api.asked[0].json == {"label": "backup", "scopes": ["admin"]}
    assert "admin, chat" in listed.out
    assert (revoked.status, revoked.err) == (0, "soma: k-1 is revoked\n")


@pytest.mark.parametrize("words", [("list",), ("create", "x"), ("revoke", "k-1")])
def test_a_gateway_without_keys_says_so(typist: Typist, words: tuple[str, ...]) -> None:
    printed = typist.types("keys", *words)

    assert (printed.status, printed.err) == (1, "soma: this gateway has no keys yet\n")


def test_a_key_that_is_not_there_is_the_gateways_sentence(api: ScriptedApi, typist: Typist) -> None:
    api.on("GET", "/v1/keys", Reply({"items": []}))
    api.on("DELETE", "/v1/keys/k-9", refusal(404, "There is no such key."))

    assert typist.types("keys", "revoke", "k-9").err == "soma: There is no such key.\n"


def test_a_drill_is_run_by_the_source_tree_with_everything_that_was_typed(
    typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def status(command: list[str]) -> int:
        started.append(command[1:])
        return 3

    monkeypatch.setattr(drill, "_status", status)

    assert typist.types("drill", "campaign", "--fault", "F12", "--help").status == 3
    assert started == [["-m", "drills", "campaign", "--fault", "F12", "--help"]]


def test_where_there_is_no_source_tree_there_are_no_drills(
    typist: Typist, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(drill, "TREE", tmp_path)

    assert "they come with the source tree" in typist.types("drill", "outage").err


def test_the_drills_help_comes_from_the_drills(typist: Typist) -> None:
    printed = typist.types("drill", "outage", "--help")

    assert (printed.status, printed.out.startswith("usage: ")) == (0, True)


def commands(group: Any = None, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command of the tree."""
    here = typer.main.get_command(root) if group is None else group
    below = getattr(here, "commands", {})
    return [path, *(found for name, one in below.items() for found in commands(one, (*path, name)))]


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_help_shows_examples(typist: Typist, path: tuple[str, ...]) -> None:
    printed = typist.types(*path, "--help")

    assert printed.status == 0
    lines = [line.strip() for line in printed.out.splitlines()]
    assert lines[lines.index("Examples:") + 1].startswith(("soma ", "SOMA_"))


@pytest.mark.parametrize(
    "words", [("nothing",), ("memory", "list", "--limit", "many"), ("memory", "get"), ("dlq", "replay")]
)
def test_wrong_usage_is_status_2_and_asks_nobody(api: ScriptedApi, typist: Typist, words: tuple[str, ...]) -> None:
    printed = typist.types(*words)

    assert (printed.status, printed.out) == (2, "")
    assert "Error: " in printed.err
    assert not api.asked


@pytest.mark.parametrize("words", [("work",), ("memory", "list"), ("recall", "x"), ("keys", "list")])
def test_a_gateway_that_is_away_is_one_sentence_that_says_what_to_do(typist: Typist, words: tuple[str, ...]) -> None:
    typist.base = "http://127.0.0.1:1"
    printed = typist.types(*words)

    assert (printed.status, printed.out, printed.err.count("\n")) == (1, "", 1)
    assert "make run starts it" in printed.err


@pytest.mark.parametrize("body", [b"<html>hello</html>", b""])
def test_something_else_that_answers_is_not_taken_for_the_gateway(
    api: ScriptedApi, typist: Typist, body: bytes
) -> None:
    api.on("GET", LIST, Reply(body))

    assert "is not the gateway" in typist.types("memory", "list").err


def test_a_redirect_is_not_followed_with_the_key(api: ScriptedApi, typist: Typist) -> None:
    api.on("GET", LIST, Reply({}, 302, {"Location": "/elsewhere"}))

    assert typist.types("memory", "list").status == 1
    assert len(api.asked) == 1
