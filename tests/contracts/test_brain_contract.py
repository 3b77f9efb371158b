"""What every `Brain` promises: the built-in service behind our client, other versions behind it, and the fake."""

import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pytest
import requests

from app.adapters.http.brain import HttpBrain
from app.domain.brain_ports import Brain
from app.domain.errors import BatchRefused, BrainCannotForget, BrainUnavailable, MemoryRefused
from app.domain.memory import Place
from app.domain.recall import BrainFigures, Question, Recollection
from app.settings import read
from tests.conftest import eventually
from tests.contracts.brain_rig import ServedBrain, a_memory, brain_database
from tests.contracts.scripted_brain import ScriptedBrain, drop_at_once
from tests.contracts.scripted_recall import Speech
from tests.fakes import InMemoryBrain

Items = dict[tuple[str, str, str, str], tuple[dict[str, Any], int]]
HOME = Place("t1", "wm", "u-1")


class WholeBrain(Brain, Protocol):
    """What our client can beyond what services need of it."""

    def link(self, place: Place, from_id: str, to_id: str) -> None: ...

    def figures(self, place: Place) -> BrainFigures: ...


@dataclass
class Rig:
    """A brain, what it keeps by (tenant, namespace, universe, key) with the number of writes, and its switch."""

    brain: WholeBrain
    items: Callable[[], Items]
    switch: Callable[[bool], None]


@pytest.fixture(scope="module")
def served(servers: Any) -> Iterator[ServedBrain]:
    with brain_database(servers.environment["POSTGRES_DSN"]) as dsn:
        brain = ServedBrain(dsn)
        yield brain
        brain.close()


def built_in(request: pytest.FixtureRequest) -> Iterator[Rig]:
    served: ServedBrain = request.getfixturevalue("served")
    tenant = f"t-{request.node.name}"[:100]
    on = True

    def switch(wanted: bool) -> None:
        nonlocal on
        if wanted != on:
            (served.start if wanted else served.stop)()
        on = wanted

    def items() -> Items:
        found: Items = {}
        for each in (tenant, f"other-{tenant}"):
            page = requests.get(f"{served.url}/memory/items", params={"tenant": each}, timeout=5).json()
            for item in page["items"]:
                address = (each.replace(tenant, "t1"), item["namespace"], item["universe"], item["key"])
                found[address] = (item["value"], item["writes"])
        return found

    client = HttpBrain.from_settings(read({"SOMA_BASE_URL": served.url}))
    yield Rig(_InTenant(client, tenant), items, switch)
    switch(True)


class _InTenant:
    """A brain whose tenants `t1` and `other-t1` are this test's own, because the service is shared by a module."""

    def __init__(self, brain: HttpBrain, tenant: str) -> None:
        self._brain, self._tenant = brain, tenant
        self.healthy, self.close_breaker = brain.healthy, brain.close_breaker

    @property
    def breaker_open(self) -> bool:
        return self._brain.breaker_open

    @property
    def refuses_us(self) -> bool:
        return self._brain.refuses_us

    def remember(self, memory: Any) -> Any:
        return self._brain.remember(self._mine(memory))

    def remember_all(self, memories: Any) -> Any:
        return self._brain.remember_all([self._mine(memory) for memory in memories])

    def recall(self, question: Any, seconds: Any = None) -> Any:
        return self._brain.recall(self._mine(question), seconds)

    def forget(self, event_id: str, place: Place, request_id: str, **named: Any) -> None:
        self._brain.forget(event_id, self._here(place), request_id, **named)

    def link(self, place: Place, from_id: str, to_id: str) -> None:
        self._brain.link(self._here(place), from_id, to_id)

    def figures(self, place: Place) -> BrainFigures:
        return self._brain.figures(self._here(place))

    def _mine(self, placed: Any) -> Any:
        return replace(placed, place=self._here(placed.place))

    def _here(self, place: Place) -> Place:
        return replace(place, tenant=place.tenant.replace("t1", self._tenant))


def scripted(dialect: str, prefix: str = "", **speech: Any) -> Callable[[pytest.FixtureRequest], Iterator[Rig]]:
    def build(_request: pytest.FixtureRequest) -> Iterator[Rig]:
        server = ScriptedBrain(prefix=prefix, dialect=dialect, speech=Speech(**speech))

        def switch(wanted: bool) -> None:
            server.always = None if wanted else drop_at_once

        client = HttpBrain.from_settings(read({"SOMA_BASE_URL": server.url, "SOMA_API_PREFIX": prefix}))
        yield Rig(client, lambda: {at: (value, server.writes[at]) for at, value in server.kept.items()}, switch)
        server.close()

    return build


def fake(_request: pytest.FixtureRequest) -> Iterator[Rig]:
    brain = InMemoryBrain()

    def switch(wanted: bool) -> None:
        brain.down = not wanted

    def items() -> Items:
        return {
            (place.tenant, place.namespace, place.universe or "real", key): (kept.value, kept.writes)
            for (place, key), kept in brain.kept.items()
        }

    yield Rig(brain, items, switch)


BRAINS = {
    "built_in": built_in,
    "newest": scripted("newest"),
    "under_api": scripted("newest", "/api"),
    "without_later_fields": scripted("without the later fields"),
    "success": scripted("success", deletes_at="/delete"),
    "newer": scripted("newest", find="content"),
    "json_string": scripted("newest", form="text", list_name="memories", find="text"),
    "in_the_address": scripted("newest", form="address", wrong_form=400, list_name="wm", find="what"),
    "plain": scripted("newest", form="text", wrong_form=415, list_name="memory", find="plain content"),
    "bare": scripted("newest", list_name="memory", find="the memory itself"),
    "task": scripted("newest", "/api", find="task", deletes_at="/delete"),
    "fake": fake,
}


@pytest.fixture(params=BRAINS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    yield from BRAINS[request.param](request)


def test_a_memory_is_kept_with_its_key_its_universe_and_its_payload(rig: Rig) -> None:
    memory = a_memory("m-1", content="ünïcode \U0001f600", attachments=["a-1"], number=1e-7)
    rig.brain.remember(memory)
    expected = {**memory.payload, "idempotency_key": memory.idempotency_key, "universe": "u-1"}
    assert rig.items() == {("t1", "wm", "u-1", "m-1"): (expected, 1)}


def test_the_receipt_holds_the_coordinate_of_universe_and_key(rig: Rig) -> None:
    receipt = rig.brain.remember(a_memory("m-1"))
    numbers = struct.unpack(">III", hashlib.blake2b(b"u-1::m-1", digest_size=12).digest())
    assert receipt.coordinate == tuple(2 * u / 2**32 - 1 for u in numbers)
    assert receipt.kept
    assert receipt.request_id


def test_a_repeat_is_one_memory_written_once(rig: Rig) -> None:
    memory = a_memory("m-1")
    first, second = rig.brain.remember(memory), rig.brain.remember(memory)
    assert first.coordinate == second.coordinate
    assert [writes for _, writes in rig.items().values()] == [1]


def test_a_changed_memory_replaces_the_earlier_one(rig: Rig) -> None:
    memory = a_memory("m-1", content="before")
    rig.brain.remember(memory)
    rig.brain.remember(replace(memory, payload={**memory.payload, "content": "after"}))
    assert [(value["content"], writes) for value, writes in rig.items().values()] == [("after", 2)]


def test_tenants_namespaces_and_universes_do_not_meet(rig: Rig) -> None:
    places = [
        Place("t1", "wm", "u-1"),
        Place("t1", "wm", "u-2"),
        Place("t1", "wm", ""),
        Place("t1", "notes", "u-1"),
        Place("other-t1", "wm", "u-1"),
    ]
    for place in places:
        rig.brain.remember(a_memory("m-1", place, content=repr(place)))
    expected = {(p.tenant, p.namespace, p.universe or "real", "m-1"): repr(p) for p in places}
    assert {address: value["content"] for address, (value, _) in rig.items().items()} == expected


@pytest.mark.parametrize("text", ["\x00", "a\x00b"], ids=["nul", "nul within"])
def test_a_text_that_cannot_be_stored_is_refused_for_good(rig: Rig, text: str) -> None:
    with pytest.raises(MemoryRefused):
        rig.brain.remember(a_memory(content=text))
    assert rig.items() == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"], ids=["nan", "infinity", "half a pair"])
def test_what_is_not_json_is_refused_for_good(rig: Rig, value: object) -> None:
    with pytest.raises(MemoryRefused):
        rig.brain.remember(a_memory(extra=value))
    assert rig.items() == {}


def test_a_payload_nested_too_deeply_is_refused_for_good(rig: Rig) -> None:
    deep: object = json.loads("[" * 80 + "]" * 80)
    with pytest.raises(MemoryRefused):
        rig.brain.remember(a_memory(extra=deep))


def test_a_brain_that_is_away_is_unavailable_and_takes_up_again(rig: Rig) -> None:
    memory = a_memory("m-1")
    eventually(rig.brain.healthy)  # a busy machine may need more than its second
    rig.switch(False)
    assert not rig.brain.healthy()
    with pytest.raises(BrainUnavailable):
        rig.brain.remember(memory)
    rig.switch(True)
    eventually(rig.brain.healthy)
    rig.brain.remember(memory)
    assert [writes for _, writes in rig.items().values()] == [1]


def test_five_failures_open_the_breaker_and_a_healthy_brain_closes_it(rig: Rig) -> None:
    rig.switch(False)
    for _ in range(5):
        assert not rig.brain.breaker_open
        with pytest.raises(BrainUnavailable):
            rig.brain.remember(a_memory())
    assert rig.brain.breaker_open
    rig.switch(True)
    with pytest.raises(BrainUnavailable):
        rig.brain.remember(a_memory())
    rig.brain.close_breaker()
    assert not rig.brain.breaker_open
    rig.brain.remember(a_memory("m-1"))
    assert len(rig.items()) == 1


def test_a_batch_keeps_what_single_calls_would_keep(rig: Rig) -> None:
    memories = [a_memory(f"m-{number}", content=f"text {number}") for number in range(5)]
    receipts = rig.brain.remember_all(memories)
    again = [rig.brain.remember(memory) for memory in memories]
    assert [receipt.coordinate for receipt in receipts] == [receipt.coordinate for receipt in again]
    assert all(receipt.kept and receipt.request_id for receipt in receipts)
    found = {address[3]: (value["content"], writes) for address, (value, writes) in rig.items().items()}
    assert found == {f"m-{number}": (f"text {number}", 1) for number in range(5)}


def test_a_batch_with_a_wrong_memory_is_refused_as_a_whole(rig: Rig) -> None:
    with pytest.raises(BatchRefused):
        rig.brain.remember_all([a_memory("m-1"), a_memory("m-2", content="a\x00b"), a_memory("m-3")])
    assert rig.items() == {}


def test_a_batch_to_a_brain_that_is_away_is_unavailable_and_counts_once(rig: Rig) -> None:
    rig.switch(False)
    for _ in range(5):
        assert not rig.brain.breaker_open
        with pytest.raises(BrainUnavailable):
            rig.brain.remember_all([a_memory(), a_memory()])
    assert rig.brain.breaker_open


def test_a_question_finds_the_memory_with_its_words_and_says_which_it_is(rig: Rig) -> None:
    rig.brain.remember(a_memory("m-1", content="my kitten is called Miso"))
    rig.brain.remember(a_memory("m-2", content="the weather in Lisbon"))
    first = _recalled(rig, "kitten Miso")[0]
    assert (first.event_id, first.content) == ("m-1", "my kitten is called Miso")
    assert first.score is None or first.score > 0


def test_what_is_recalled_holds_what_was_remembered(rig: Rig) -> None:
    rig.brain.remember(a_memory("m-1", content="ünïcode \U0001f600 kitten", metadata={"mood": "good"}))
    (found,) = _recalled(rig, "kitten")
    assert found.content == "ünïcode \U0001f600 kitten"
    assert found.payload.get("metadata", {"mood": "good"}) == {"mood": "good"}


def test_a_question_is_answered_from_its_own_place(rig: Rig) -> None:
    places = [HOME, Place("t1", "wm", "u-2"), Place("t1", "wm", ""), Place("t1", "notes", "u-1")]
    places.append(Place("other-t1", "wm", "u-1"))
    for number, place in enumerate(places):
        rig.brain.remember(a_memory(f"m-{number}", place, content="the same kitten"))
    for number, place in enumerate(places):
        assert [found.event_id for found in _recalled(rig, "kitten", place)] == [f"m-{number}"]


def test_where_nothing_is_kept_nothing_is_recalled(rig: Rig) -> None:
    assert _recalled(rig, "kitten") == []


def test_a_question_says_how_many_memories_it_wants(rig: Rig) -> None:
    for number in range(5):
        rig.brain.remember(a_memory(f"m-{number}", content=f"kitten number {number}"))
    assert len(rig.brain.recall(Question("kitten", HOME, top_k=3))) == 3
    assert len({found.event_id for found in _recalled(rig, "kitten")}) == 5


@pytest.mark.parametrize(
    "query",
    ["", "'; DROP", "a\x00b", "\ud800", "%_\\", "x" * 8_000, "☃ {}[]&=#?+"],
    ids=["empty", "quote", "nul", "half a pair", "wildcards", "long", "signs"],
)
def test_any_text_can_be_asked_for(rig: Rig, query: str) -> None:
    assert _recalled(rig, query + " kitten") == []


def test_a_memory_that_was_forgotten_is_not_recalled(rig: Rig) -> None:
    rig.brain.remember_all([a_memory("m-1", content="a kitten"), a_memory("m-2", content="another kitten")])
    rig.brain.forget("m-1", HOME, "r-1")
    assert [found.event_id for found in _recalled(rig, "kitten")] == ["m-2"]
    assert {address[3] for address in rig.items()} == {"m-2"}


def test_forgetting_stays_inside_the_place(rig: Rig) -> None:
    places = [HOME, Place("t1", "wm", "u-2"), Place("t1", "wm", ""), Place("t1", "notes", "u-1")]
    places.append(Place("other-t1", "wm", "u-1"))
    for place in places:
        rig.brain.remember(a_memory("m-1", place))
    rig.brain.forget("m-1", Place("t1", "wm", ""), "r-1")
    rig.brain.forget("m-1", HOME, "r-2")
    expected = {("t1", "wm", "u-2", "m-1"), ("t1", "notes", "u-1", "m-1"), ("other-t1", "wm", "u-1", "m-1")}
    assert set(rig.items()) == expected


def test_what_is_not_there_is_forgotten_already(rig: Rig) -> None:
    rig.brain.forget("m-1", HOME, "r-1")
    rig.brain.forget("m-1", HOME, "r-1")
    assert rig.items() == {}


def test_another_memory_may_take_the_id_of_one_that_was_forgotten(rig: Rig) -> None:
    memory = a_memory("m-1", content="a puppy")
    rig.brain.remember(memory)
    rig.brain.forget("m-1", HOME, "r-1", idempotency_key=memory.idempotency_key)
    rig.brain.remember(replace(a_memory("m-1", content="a kitten"), idempotency_key="another"))
    assert [found.event_id for found in _recalled(rig, "kitten")] == ["m-1"]


def test_a_brain_that_is_away_neither_recalls_nor_forgets_and_says_so(rig: Rig) -> None:
    rig.brain.remember(a_memory("m-1", content="a kitten"))
    rig.switch(False)
    with pytest.raises(BrainUnavailable):
        _recalled(rig, "kitten")
    with pytest.raises(BrainUnavailable) as caught:
        rig.brain.forget("m-1", HOME, "r-1")
    assert not isinstance(caught.value, BrainCannotForget)
    rig.switch(True)
    assert [found.event_id for found in _recalled(rig, "kitten")] == ["m-1"]


def test_questions_to_a_brain_that_is_away_open_the_breaker(rig: Rig) -> None:
    rig.switch(False)
    for _ in range(5):
        assert not rig.brain.breaker_open
        with pytest.raises(BrainUnavailable):
            _recalled(rig, "kitten")
    assert rig.brain.breaker_open
    rig.switch(True)
    with pytest.raises(BrainUnavailable):
        rig.brain.forget("m-1", HOME, "r-1")
    with pytest.raises(BrainUnavailable):
        _recalled(rig, "kitten")


def test_the_figures_count_one_drawer(rig: Rig) -> None:
    rig.brain.remember_all([a_memory("m-1"), a_memory("m-2")])
    rig.brain.remember(a_memory("m-3", Place("t1", "notes", "u-1")))
    assert rig.brain.figures(HOME) == BrainFigures(wm_items=2, circuit_open=False, outbox_pending=0)


def test_memories_of_one_place_can_be_linked(rig: Rig) -> None:
    rig.brain.remember_all([a_memory("m-1"), a_memory("m-2")])
    for _ in range(2):
        rig.brain.link(HOME, "m-1", "m-2")


def _recalled(rig: Rig, query: str, place: Place = HOME) -> list[Recollection]:
    return rig.brain.recall(Question(query, place, top_k=50))
