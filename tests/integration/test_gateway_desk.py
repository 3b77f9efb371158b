"""The desk over HTTP, on the real Postgres: what an administrator sees, does, and is refused."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.adapters.sql.outboxes import SqlMemoryOutbox
from app.adapters.sql.presence import Presence
from app.domain.wal import Poison
from tests.builders import a_wal_body, an_id, wal_bytes
from tests.contracts.desk_rig import postgres_work
from tests.integration.gateway_process import Gateway, assert_problem


class Letters:
    """Dead letters of a topic of its own."""

    def __init__(self, gateway: Gateway, engine: Engine) -> None:
        self.topic = f"{an_id('wal-')}.dlq"
        self.path = f"/v1/admin/dlq/{self.topic}"
        self._gateway, self._engine = gateway, engine

    def bury(self, raw: bytes, error: str = "it was poison") -> int:
        sql = """INSERT INTO dlq_messages (topic, raw, error, error_kind, fingerprint)
                 VALUES (:topic, :raw, :error, 'bad_schema', :fingerprint) RETURNING id"""
        fingerprint = Poison(0, raw, "bad_schema", error).fingerprint
        return int(self.all(sql, topic=self.topic, raw=raw, error=error, fingerprint=fingerprint)[0]["id"])

    def all(self, sql: str, **values: Any) -> Sequence[Any]:
        with self._engine.begin() as connection:
            return connection.execute(text(sql), values).mappings().all()

    def listed(self, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._gateway.get(self.path, params=query).json()
        return found

    def owed(self) -> list[dict[str, Any]]:
        sql = "SELECT payload FROM message_outbox WHERE topic = :topic ORDER BY id"
        return [row["payload"] for row in self.all(sql, topic=self.topic.removesuffix(".dlq"))]

    def send(self, path: str, body: Any = None, **headers: str) -> Any:
        arguments = {} if body is None else {"json": body}
        return self._gateway.call("POST", f"{self.path}{path}", headers=headers, **arguments)

    def audit(self, request_id: str) -> list[tuple[str, str, str, dict[str, Any]]]:
        return audited(self._engine, request_id)

    def is_untouched(self) -> bool:
        return not self.owed() and {letter["state"] for letter in self.listed()} == {"open"}


def audited(engine: Engine, request_id: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    sql = "SELECT actor, action, subject, detail FROM audit_events WHERE request_id = :id ORDER BY id"
    with engine.begin() as connection:
        return [tuple(row) for row in connection.execute(text(sql), {"id": request_id})]  # type: ignore[misc]


@pytest.fixture
def letters(gateway: Gateway, engine: Engine) -> Letters:
    return Letters(gateway, engine)


def test_topics_show_their_depth_and_their_groups(gateway: Gateway, letters: Letters) -> None:
    for number in range(3):
        letters.bury(b"{", f"reason {number % 2}")

    topics = {topic["topic"]: topic for topic in gateway.get("/v1/admin/dlq").json()["topics"]}

    assert "memory.wal.dlq" in topics
    found = topics[letters.topic]
    assert (found["depth"], found["group_count"]) == (3, 2)
    assert [(group["error"], group["kind"], group["count"]) for group in found["groups"]] == [
        ("reason 0", "bad_schema", 2),
        ("reason 1", "bad_schema", 1),
    ]
    assert set(found["groups"][0]) == {"fingerprint", "kind", "error", "count", "oldest", "newest"}


def test_letters_are_listed_newest_first_page_by_page(gateway: Gateway, letters: Letters) -> None:
    made = [letters.bury(wal_bytes(), f"reason {number % 2}") for number in range(5)]

    first = gateway.get(letters.path, params={"limit": 2})
    second = gateway.get(letters.path + first.headers["Link"].split(">")[0][1:])
    last = gateway.get(letters.path, params={"limit": 2, "after": made[1]})

    assert [[letter["id"] for letter in page.json()] for page in (first, second, last)] == [
        made[:2:-1], made[2:0:-1], made[:1],
    ]  # fmt: skip
    assert "Link" not in last.headers
    assert set(first.json()[0]) == {
        "id", "topic", "event", "size", "error", "error_kind", "fingerprint", "state", "created_at",
    }  # fmt: skip
    fingerprint = first.json()[0]["fingerprint"]
    assert [letter["id"] for letter in letters.listed(fingerprint=fingerprint)] == [made[4], made[2], made[0]]
    assert letters.listed(state="discarded") == []


def test_a_letter_shows_its_record_as_json_or_as_text(letters: Letters) -> None:
    body = a_wal_body(schema=99)
    letters.bury(json.dumps(body).encode())
    letters.bury(b"\xff{ \x00 NaN")
    letters.bury(b'{"n": NaN}')

    events = [letter["event"] for letter in letters.listed()]

    assert events == ['{"n": NaN}', "\ufffd{ \x00 NaN", body]


def test_one_letter_is_replayed_without_a_word_more(letters: Letters) -> None:
    body = a_wal_body()
    letter_id, request = letters.bury(json.dumps(body).encode()), an_id("r-")

    answer = letters.send(f"/{letter_id}/reprocess", **{"X-Request-ID": request})

    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "topic": letters.topic, "dry_run": False, "count": 1,
        "items": [{"id": letter_id, "event_id": body["event_id"]}],
        "failed": [], "skipped": [], "remaining": 0, "next_after": None,
    }  # fmt: skip
    assert letters.owed() == [body]
    assert [(letter["id"], letter["state"]) for letter in letters.listed()] == [(letter_id, "replayed")]
    assert letters.audit(request) == [
        ("anonymous", "dlq.replay", letters.topic, {"count": 1, "ids": [letter_id]}),
    ]
    assert_problem(letters.send(f"/{letter_id}/reprocess"), 409, "replayed already")


def test_a_whole_group_is_corrected_and_replayed(letters: Letters) -> None:
    for number in range(3):
        letters.bury(wal_bytes(timestamp="now"), f"reason {number % 2}")
    fingerprint = letters.listed()[0]["fingerprint"]

    answer = letters.send("/reprocess", {"fingerprint": fingerprint, "patch": {"timestamp": 1}}).json()

    assert (answer["count"], answer["remaining"]) == (2, 0)
    assert [record["timestamp"] for record in letters.owed()] == [1, 1]
    assert [letter["state"] for letter in letters.listed()] == ["replayed", "open", "replayed"]


def test_a_dry_run_over_http_changes_nothing(letters: Letters) -> None:
    good, bad = letters.bury(wal_bytes()), letters.bury(wal_bytes(version=0))

    answer = letters.send("/reprocess", {"dry_run": True}).json()

    assert (answer["count"], answer["dry_run"]) == (1, True)
    assert [item["id"] for item in answer["items"]] == [good]
    assert answer["failed"] == [
        {"id": bad, "loc": ["letter", str(bad), "version"], "msg": "version must be a positive number"}
    ]
    assert letters.is_untouched()


def test_a_patch_that_breaks_the_schema_is_422_with_its_place_and_nothing_changed(letters: Letters) -> None:
    letter_id = letters.bury(wal_bytes())
    letters.bury(wal_bytes())

    for path, body in [
        (f"/{letter_id}/reprocess", {"patch": {"result": {"coord": ["x"]}}}),
        ("/reprocess", {"patch": {"result": {"coord": ["x"]}}}),
    ]:
        problem = assert_problem(letters.send(path, body), 422, "nothing was replayed")
        assert problem["errors"][0]["loc"] == ["body", "patch", "result", "coord"]
        assert f"letter {letter_id}: result.coord must be numbers" in problem["errors"][0]["msg"]

    assert letters.is_untouched()


BAD_BODIES: dict[str, Any] = {
    "no ids": {"ids": []},
    "ids of words": {"ids": ["1"]},
    "too many ids": {"ids": list(range(1, 502))},
    "an id beyond numbers": {"ids": [2**63]},
    "a rate of nothing": {"per_second": 0},
    "a negative rate": {"per_second": -1},
    "a rate in words": {"per_second": "fast"},
    "a patch that is no object": {"patch": [1]},
    "a dry run in words": {"dry_run": "yes"},
    "an unknown field": {"colour": "red"},
    "an empty fingerprint": {"fingerprint": ""},
    "a place before the beginning": {"after": -1},
    "text that cannot be stored": {"patch": {"x": "a\x00b"}},
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_wrong_request_to_replay_is_422_and_changes_nothing(letters: Letters, body: Any) -> None:
    letters.bury(wal_bytes())

    assert_problem(letters.send("/reprocess", body), 422)

    assert letters.is_untouched()


def test_a_body_that_is_not_json_is_refused(letters: Letters, gateway: Gateway) -> None:
    letter_id = letters.bury(wal_bytes())
    for path in (f"/{letter_id}/reprocess", "/reprocess"):
        url = f"{letters.path}{path}"
        assert_problem(gateway.call("POST", url, data=b"patch=1"), 415)
        assert_problem(gateway.call("POST", url, data=b"{", headers={"Content-Type": "application/json"}), 400)
        assert_problem(gateway.call("POST", url, data=iter([b"patch=1"])), 415)
    assert_problem(letters.send("/reprocess"), 415)

    assert letters.is_untouched()


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "after=x", "after=0", "state=dead", "fingerprint=", "colour=red", f"after={2**63}"],
)
def test_a_wrong_question_about_letters_is_422(gateway: Gateway, letters: Letters, query: str) -> None:
    letters.bury(b"{")

    assert_problem(gateway.get(f"{letters.path}?{query}"), 422)


def test_what_is_unknown_is_404(gateway: Gateway, letters: Letters) -> None:
    assert_problem(gateway.get("/v1/admin/dlq/nothing"), 404)
    assert_problem(gateway.call("DELETE", "/v1/admin/dlq/nothing"), 404)
    assert_problem(gateway.call("POST", "/v1/admin/dlq/nothing/reprocess", json={}), 404)
    letter_id = letters.bury(wal_bytes())
    for unknown in ("x", "0", "-1", "²", "9" * 30, str(letter_id + 1_000_000)):
        assert_problem(letters.send(f"/{unknown}/reprocess"), 404)
    assert_problem(letters.send("/reprocess", {"ids": [letter_id, letter_id + 1_000_000]}), 404, "nothing was replayed")
    assert_problem(gateway.call("DELETE", f"{letters.path}?colour=red"), 422)

    assert letters.is_untouched()


def test_the_logs_own_topic_is_known_before_its_first_letter(gateway: Gateway) -> None:
    assert gateway.get("/v1/admin/dlq/memory.wal.dlq?limit=1").status_code == 200


def test_two_operators_at_the_same_letter_replay_it_once(letters: Letters) -> None:
    for _ in range(10):
        path = f"/{letters.bury(wal_bytes())}/reprocess"
        with ThreadPoolExecutor(3) as operators:
            answers = list(operators.map(letters.send, [path] * 3))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409]

    assert len(letters.owed()) == 10


def test_twenty_thousand_letters_are_grouped_and_replayed_batch_by_batch(gateway: Gateway, letters: Letters) -> None:
    letters.all(
        """INSERT INTO dlq_messages (topic, raw, error, error_kind, fingerprint)
           SELECT :topic, convert_to(jsonb_build_object('type', 'memory.write', 'event_id', :topic || n, 'tenant', 't1',
                  'timestamp', 'late', 'payload', jsonb_build_object('content', repeat('x', 500)))::text, 'UTF8'),
                  'timestamp must be epoch seconds', 'bad_schema', 'fp-' || n % 3
           FROM generate_series(1, 20000) AS n RETURNING id""",
        topic=letters.topic,
    )

    topics = {topic["topic"]: topic for topic in gateway.get("/v1/admin/dlq").json()["topics"]}
    assert topics[letters.topic]["depth"] == 20_000
    body = {"fingerprint": "fp-1", "patch": {"timestamp": 1}, "per_second": 1000}
    first, second = (letters.send("/reprocess", body).json() for _ in range(2))
    assert (first["count"], second["count"]) == (500, 500)
    assert first["remaining"] - second["remaining"] == 500
    assert len(letters.owed()) == 1000

    discarded = gateway.call("DELETE", letters.path).json()
    assert discarded["discarded"] >= 2_000
    assert discarded["discarded"] + discarded["remaining"] == 19_000


def test_discarding_a_group_is_audited_and_kept(gateway: Gateway, letters: Letters) -> None:
    made = [letters.bury(b"{", f"reason {number % 2}") for number in range(3)]
    fingerprint, request = letters.listed()[0]["fingerprint"], an_id("r-")

    answer = gateway.call(
        "DELETE", f"{letters.path}?fingerprint={fingerprint}", headers={"X-Request-ID": request}
    ).json()

    assert answer == {"topic": letters.topic, "discarded": 2, "remaining": 0}
    assert [(letter["id"], letter["state"]) for letter in letters.listed(state="discarded")] == [
        (made[2], "discarded"),
        (made[0], "discarded"),
    ]
    assert letters.audit(request) == [
        ("anonymous", "dlq.discard", letters.topic, {"count": 2, "fingerprint": fingerprint})
    ]
    assert_problem(letters.send(f"/{made[0]}/reprocess"), 409, "discarded already")


# --- the work


@pytest.fixture
def outbox(engine: Engine) -> SqlMemoryOutbox:
    """A delivery worker's hands; what earlier tests left owed is set aside."""
    postgres_work(engine).store.close()
    return SqlMemoryOutbox(engine, Presence(engine, "owner", 30), 30, "memory.wal")


@pytest.fixture
def dead(gateway: Gateway, outbox: SqlMemoryOutbox) -> str:
    """A memory that SomaBrain called wrong."""
    event_id: str = gateway.say()["event_id"]
    (owed,) = outbox.claim_due(10)
    outbox.bury(owed, "SomaBrain refused it")
    return event_id


def test_the_work_shows_what_is_dead_and_why(gateway: Gateway, dead: str) -> None:
    found = gateway.get("/v1/admin/work", params={"kind": "memory", "state": "dead", "limit": 200}).json()

    assert [count["kind"] for count in found["counts"]] == [
        "turn",
        "memory",
        "record",
        "tool_call",
        "export",
        "webhook",
    ]
    assert set(found["counts"][0]) == {"kind", "owed", "waiting", "leased", "dead", "oldest_age_seconds"}
    (item,) = [item for item in found["items"] if item["id"] == dead]
    assert (item["state"], item["reason"], item["attempts"]) == ("dead", "SomaBrain refused it", 1)
    assert set(item) == {
        "kind", "id", "state", "tenant", "session_id", "topic", "attempts", "failures", "reason", "run_at",
        "created_at", "lease_owner",
    }  # fmt: skip


def test_the_work_is_paged_dead_first(gateway: Gateway, dead: str) -> None:
    for _ in range(3):
        gateway.say()
    every = gateway.get("/v1/admin/work", params={"limit": 200}).json()["items"]
    paged: list[dict[str, Any]] = []
    after = ""
    while True:
        page = gateway.get("/v1/admin/work", params={"limit": 3, "after": after}).json()
        assert bool(page["counts"]) is not bool(after), "counted with the first page only"
        paged += page["items"]
        if page["next_cursor"] is None:
            break
        after = page["next_cursor"]

    assert [item["id"] for item in paged] == [item["id"] for item in every]
    states = [item["state"] for item in paged]
    assert states == sorted(states, key=lambda state: state != "dead")


def test_a_dead_memory_is_retried(gateway: Gateway, engine: Engine, outbox: SqlMemoryOutbox, dead: str) -> None:
    request = an_id("r-")
    answer = gateway.call("POST", f"/v1/admin/work/memory/{dead}/retry", headers={"X-Request-ID": request})

    assert (answer.status_code, answer.json()["state"]) == (200, "owed")
    assert [owed.memory.event_id for owed in outbox.claim_due(10)] == [dead]
    detail = {"was": "dead", "reason": "SomaBrain refused it"}
    assert audited(engine, request) == [("anonymous", "work.retry", f"memory/{dead}", detail)]
    assert_problem(gateway.call("POST", f"/v1/admin/work/memory/{dead}/retry"), 409, "in hand")


def test_a_dead_memory_is_discarded_once(gateway: Gateway, engine: Engine, dead: str) -> None:
    request = an_id("r-")
    answer = gateway.call("POST", f"/v1/admin/work/memory/{dead}/discard", headers={"X-Request-ID": request})

    assert (answer.status_code, answer.json()["state"]) == (200, "discarded")
    assert [entry[1] for entry in audited(engine, request)] == ["work.discard"]
    assert_problem(gateway.call("POST", f"/v1/admin/work/memory/{dead}/discard"), 409)
    assert_problem(gateway.call("POST", f"/v1/admin/work/memory/{dead}/retry"), 409)


def test_a_dead_turn_tells_to_send_the_message_again(gateway: Gateway, engine: Engine) -> None:
    event_id = gateway.say()["event_id"]
    for state in ("running", "dead"):
        ended = "finished_at = now(), lease_owner = NULL" if state == "dead" else "lease_owner = 'x'"
        with engine.begin() as connection:
            sql = f"UPDATE turns SET state = '{state}', {ended} WHERE event_id = :id"
            connection.execute(text(sql), {"id": event_id})

    assert_problem(gateway.call("POST", f"/v1/admin/work/turn/{event_id}/retry"), 409, "sent again")
    assert gateway.call("POST", f"/v1/admin/work/turn/{event_id}/discard").json()["state"] == "discarded"


def test_what_is_not_dead_cannot_be_discarded(gateway: Gateway, outbox: SqlMemoryOutbox) -> None:
    event_id = gateway.say()["event_id"]

    assert_problem(gateway.call("POST", f"/v1/admin/work/memory/{event_id}/discard"), 409, "only what is dead")

    assert gateway.call("POST", f"/v1/admin/work/memory/{event_id}/retry").json()["state"] == "owed"


@pytest.mark.parametrize("deed", ["retry", "discard"])
@pytest.mark.parametrize("what", ["export/1", "turn/nothing", "memory/nothing", "record/nothing", "record/999999999"])
def test_unknown_work_is_404(gateway: Gateway, what: str, deed: str) -> None:
    assert_problem(gateway.call("POST", f"/v1/admin/work/{what}/{deed}"), 404)


WRONG_WORK = [
    "limit=0", "limit=201", "kind=letter", "state=done", "after=x", "colour=red", "after=WzEsIDIsIDMsIDRd",
    "after=WzAsICJ4IiwgInR1cm4iLCAiMSJd", "after=WzAsICIyMDI2LTAxLTAxVDAwOjAwOjAwIiwgInR1cm4iLCAiMSJd",
    "after=WzcsICIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsICJ0dXJuIiwgIjEiXQ",
]  # fmt: skip


@pytest.mark.parametrize("query", WRONG_WORK)
def test_a_wrong_question_about_work_is_422(gateway: Gateway, query: str) -> None:
    assert_problem(gateway.get(f"/v1/admin/work?{query}"), 422)
