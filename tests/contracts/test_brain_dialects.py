"""What the client learns of SomaBrain's version, how often it asks before it knows, and what it never does."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.domain.coordinates import coordinate_of
from app.domain.errors import BatchRefused, BrainCannotForget, BrainUnavailable, MemoryRefused
from app.domain.memory import Place
from app.domain.recall import Question
from tests.contracts.brain_rig import a_memory
from tests.contracts.scripted_brain import ScriptedBrain, a_client, status
from tests.contracts.scripted_recall import Speech

HOME = Place("t1", "wm", "u-1")
ASKED = Question("kitten", HOME)
FORMS = ["object", "text", "address"]

Serve = Callable[..., ScriptedBrain]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[ScriptedBrain] = []

    def start(prefix: str = "", **speech: object) -> ScriptedBrain:
        running.append(ScriptedBrain(prefix=prefix, speech=Speech(**speech)))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for server in running:
        server.close()


def paths(server: ScriptedBrain) -> list[str]:
    """The paths asked for since the last look, without what stood behind them."""
    found = [urlsplit(seen.path).path for seen in server.seen]
    server.seen.clear()
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrong_form", [400, 415, 422])
def test_the_form_of_recall_is_learnt_by_the_first_question(serve: Serve, form: str, wrong_form: int) -> None:
    server = serve(form=form, wrong_form=wrong_form)
    client = a_client(server)
    client.remember(a_memory("m-1", content="a kitten"))
    server.seen.clear()
    assert [found.event_id for found in client.recall(ASKED)] == ["m-1"]
    assert len(paths(server)) == FORMS.index(form) + 1
    client.recall(ASKED)
    assert len(paths(server)) == 1
    assert not client.breaker_open


def test_every_form_asks_the_same_under_the_same_request_id(serve: Serve) -> None:
    server = serve(form="address")
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    a_client(server).recall(Question("ünï & kitten", HOME, 7, session_id="s-1", traceparent=trace))
    first, second, third = server.seen
    asked = {
        "tenant": "t1", "namespace": "wm", "universe": "u-1", "query": "ünï & kitten", "top_k": 7, "layer": "all",
        "session_id": "s-1",
    }  # fmt: skip
    assert first.json == json.loads(second.json) == asked
    assert json.loads(parse_qs(urlsplit(third.path).query)["payload"][0]) == asked
    assert third.body == b""
    for name, value in {"x-tenant-id": "t1", "traceparent": trace}.items():
        assert [seen.headers[name] for seen in server.seen] == [value] * 3
    assert len({seen.headers["x-request-id"] for seen in server.seen}) == 1


def test_a_question_that_every_form_refuses_teaches_nothing_and_is_no_outage(serve: Serve) -> None:
    server = serve(form="text")
    client = a_client(server)
    server.always = status(422, {"detail": "what a question"})
    for _ in range(6):
        with pytest.raises(BrainUnavailable, match="422"):
            client.recall(ASKED)
    assert not client.breaker_open
    assert len(paths(server)) == 18
    server.always = None
    client.recall(ASKED)
    assert len(paths(server)) == 2


def test_a_known_form_is_not_doubted_within_a_question_but_with_the_next(serve: Serve) -> None:
    server = serve(form="text")
    client = a_client(server)
    client.recall(ASKED)
    server.speech = replace(server.speech, form="object")
    server.seen.clear()
    with pytest.raises(BrainUnavailable):
        client.recall(ASKED)
    assert len(paths(server)) == 1
    client.recall(ASKED)
    assert len(paths(server)) == 1


@pytest.mark.parametrize("code", [404, 500, 503])
def test_no_other_form_is_tried_when_the_answer_is_not_about_the_form(serve: Serve, code: int) -> None:
    server = serve()
    server.next_answers.append(status(code))
    with pytest.raises(BrainUnavailable):
        a_client(server).recall(ASKED)
    assert len(paths(server)) == 1


def test_first_questions_that_come_together_are_all_answered(serve: Serve) -> None:
    server = serve(form="address")
    client = a_client(server, SOMA_TIMEOUT_SECONDS="20", SOMA_SLOW_SECONDS="20")
    client.remember(a_memory("m-1", content="a kitten"))
    ahead, behind = threading.Event(), threading.Event()

    def wait_until_another_has_learnt(handler: Any, brain: ScriptedBrain, body: bytes) -> None:
        ahead.set()
        behind.wait(15)
        handler._answer(brain, body)

    server.next_answers.append(wait_until_another_has_learnt)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.recall, ASKED)
        assert ahead.wait(15)
        assert [found.event_id for found in client.recall(ASKED)] == ["m-1"]
        behind.set()
        assert [found.event_id for found in slow.result()] == ["m-1"]


def test_the_older_routes_are_left_alone_unless_they_are_allowed(serve: Serve) -> None:
    server = serve(older=True)
    client = a_client(server)
    with pytest.raises(BrainUnavailable, match="404"):
        client.remember(a_memory())
    with pytest.raises(BrainUnavailable, match="404"):
        client.recall(ASKED)
    assert paths(server) == ["/memory/remember", "/memory/recall"]


@pytest.mark.parametrize("form", FORMS)
def test_the_older_routes_are_learnt_once_where_they_are_allowed(serve: Serve, form: str) -> None:
    server = serve("/api", older=True, form=form, list_name="memory", find="task")
    client = a_client(server, SOMA_ALLOW_LEGACY="true", SOMA_API_PREFIX="/api")
    assert client.remember(a_memory("m-1", content="a kitten")).kept
    assert paths(server) == ["/api/memory/remember", "/api/remember"]
    assert client.remember(a_memory("m-2", content="another kitten")).kept
    assert paths(server) == ["/api/remember"]
    assert {found.event_id for found in client.recall(ASKED)} == {"m-1", "m-2"}
    assert paths(server) == ["/api/memory/recall"] + ["/api/recall"] * (FORMS.index(form) + 1)
    assert {found.content for found in client.recall(ASKED)} == {"a kitten", "another kitten"}
    assert paths(server) == ["/api/recall"]


def test_the_older_routes_say_what_they_can(serve: Serve) -> None:
    server = serve(older=True)
    client = a_client(server, SOMA_ALLOW_LEGACY="true")
    memory = a_memory("m-1", content="a kitten")
    client.remember(memory)
    client.recall(ASKED)
    written, asked = server.seen[1].json, server.seen[3].json
    assert written["universe"] == "u-1"
    assert written["payload"].items() >= memory.payload.items()
    assert written["payload"]["idempotency_key"] == memory.idempotency_key
    assert asked == {"query": "kitten", "top_k": 5, "universe": "u-1"}
    assert server.seen[1].headers["idempotency-key"] == memory.idempotency_key


def test_the_older_route_shows_no_memory_of_another_tenant_nor_of_nobody(serve: Serve) -> None:
    server = serve(older=True)
    client = a_client(server, SOMA_ALLOW_LEGACY="true")
    for key, place in [("m-1", HOME), ("m-2", Place("t2", "wm", "u-1")), ("m-3", Place("t1", "notes", "u-1"))]:
        client.remember(a_memory(key, place, content="a kitten"))
    server.kept["", "", "u-1", "m-4"] = {"id": "m-4", "content": "a kitten of somebody else"}
    assert [found.event_id for found in client.recall(ASKED)] == ["m-1"]


@pytest.mark.parametrize("code", [400, 401, 405, 422, 500])
def test_only_a_missing_route_leads_to_the_older_one(serve: Serve, code: int) -> None:
    server = serve()
    server.always = status(code)
    client = a_client(server, SOMA_ALLOW_LEGACY="true")
    with pytest.raises((BrainUnavailable, MemoryRefused)):
        client.remember(a_memory())
    with pytest.raises(BrainUnavailable):
        client.recall(ASKED)
    assert not {"/remember", "/recall"} & set(paths(server))


def test_a_route_that_is_missing_for_a_moment_does_not_make_the_client_lossy(serve: Serve) -> None:
    server = serve()
    client = a_client(server, SOMA_ALLOW_LEGACY="true")
    server.always = status(404)
    with pytest.raises(BrainUnavailable):
        client.remember(a_memory("m-1"))
    with pytest.raises(BrainUnavailable):
        client.recall(ASKED)
    server.always = None
    server.seen.clear()
    client.remember(a_memory("m-1"))
    client.recall(ASKED)
    assert paths(server) == ["/memory/remember", "/memory/recall"]


def test_a_newer_version_behind_the_same_address_is_noticed(serve: Serve) -> None:
    server = serve(older=True)
    client = a_client(server, SOMA_ALLOW_LEGACY="true")
    client.remember(a_memory("m-1"))
    client.recall(ASKED)
    server.speech = Speech()
    for call in (lambda: client.remember(a_memory("m-2")), lambda: client.recall(ASKED)):
        with pytest.raises(BrainUnavailable):
            call()
    server.seen.clear()
    client.remember(a_memory("m-2", content="a kitten"))
    assert [found.event_id for found in client.recall(ASKED)] == ["m-2"]
    assert paths(server) == ["/memory/remember", "/memory/recall"]


def test_a_batch_for_an_older_version_is_offered_one_by_one(serve: Serve) -> None:
    server = serve(older=True)
    client = a_client(server, SOMA_ALLOW_LEGACY="true")
    for _ in range(2):
        with pytest.raises(BatchRefused):
            client.remember_all([a_memory(), a_memory()])
    assert paths(server) == ["/memory/remember/batch"]


def test_deletion_names_the_memory_in_every_way_there_is(serve: Serve) -> None:
    server = serve()
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    a_client(server).forget("m-1", HOME, "r-1", traceparent=trace, idempotency_key="t1/wm/ü")
    (seen,) = server.seen
    assert seen.json == {
        "tenant": "t1", "namespace": "wm", "universe": "u-1", "id": "m-1", "key": "m-1",
        "coordinate": coordinate_of("u-1", "m-1"), "idempotency_key": "t1/wm/ü",
    }  # fmt: skip
    assert (seen.headers["x-request-id"], seen.headers["x-tenant-id"]) == ("r-1", "t1")
    assert (seen.headers["traceparent"], seen.headers["idempotency-key"]) == (trace, "t1/wm/%C3%BC")


def test_a_tenant_of_any_script_is_whole_in_the_body_and_plain_in_the_header(serve: Serve) -> None:
    server = serve(form="text")
    client = a_client(server)
    place = Place("münchen/\n東", "wm", "u-1")
    client.recall(Question("kitten", place))
    client.forget("m-1", place, "r-1\r\nX: y")
    assert {seen.headers["x-tenant-id"] for seen in server.seen} == {"m%C3%BCnchen/%0A%E6%9D%B1"}
    assert json.loads(server.seen[1].json)["tenant"] == server.seen[2].json["tenant"] == place.tenant
    assert server.seen[2].headers["x-request-id"] == "r-1%0D%0AX:%20y"


def test_the_route_of_deletion_is_learnt_by_the_first_one(serve: Serve) -> None:
    server = serve(deletes_at="/delete")
    client = a_client(server)
    client.remember(a_memory("m-1"))
    server.seen.clear()
    client.forget("m-1", HOME, "r-1")
    assert len({seen.headers["x-request-id"] for seen in server.seen}) == 1
    assert paths(server) == ["/recall/delete", "/delete"]
    client.forget("m-1", HOME, "r-1")
    assert paths(server) == ["/delete"]
    assert not server.kept


@pytest.mark.parametrize("code", [404, 405, 500, 501])
def test_a_version_that_cannot_delete_is_told_from_one_that_is_away(serve: Serve, code: int) -> None:
    server = serve()
    server.always = status(code, {"detail": "no such thing"}, retry_after="9")
    client = a_client(server)
    for _ in range(6):
        with pytest.raises(BrainCannotForget, match=str(code)) as caught:
            client.forget("m-1", HOME, "r-1")
    assert caught.value.retry_after == 9
    assert not client.breaker_open
    assert paths(server) == (["/recall/delete", "/delete"] if code == 404 else ["/recall/delete"]) * 6
