"""Schedules over HTTP: kept once, found, changed, removed, run once for each time, refused with a sentence."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, text

from app.adapters.sql.due_schedules import SqlDueSchedules
from app.adapters.sql.inbox import MemoryDefaults, SqlInbox
from app.services.run_schedules import Timetable, run_due_schedules
from tests.builders import an_id
from tests.fakes import RecordingBroadcast, RecordingDoorbell
from tests.integration.gateway_process import Answerer, Gateway, assert_problem

SOON = (datetime.now(UTC) + timedelta(days=2)).isoformat(timespec="seconds")
JSON = {"Content-Type": "application/json"}


class Schedules:
    """A client of the routes, and the worker behind them."""

    def __init__(self, gateway: Gateway, engine: Engine) -> None:
        self.gateway = gateway
        self.engine = engine
        self.doorbell = RecordingDoorbell()
        due = SqlDueSchedules(engine, SqlInbox(engine, MemoryDefaults("", "wm")), 60)
        self._timetable = Timetable(due, self.doorbell, RecordingBroadcast())

    def post(self, key: str = "", **fields: Any) -> requests.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self.gateway.call("POST", "/v1/schedules", json={"message": "hello", **fields}, headers=headers)

    def made(self, **fields: Any) -> dict[str, Any]:
        answer = self.post(**fields)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def get(self, path: str) -> Any:
        answer = self.gateway.get(f"/v1/schedules/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def patch(self, schedule_id: str, **fields: Any) -> requests.Response:
        return self.gateway.call("PATCH", f"/v1/schedules/{schedule_id}", json=fields)

    def runs(self, schedule_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"{schedule_id}/runs")["items"]
        return found

    def age(self, schedule_id: str, seconds: float) -> None:
        """Make its next time lie so far in the past."""
        with self.engine.begin() as connection:
            connection.execute(
                text("""
                    UPDATE schedules SET next_run_at = past, at = CASE WHEN at IS NULL THEN NULL ELSE past END
                    FROM (SELECT date_trunc('second', now()) - make_interval(secs => :seconds) AS past) t
                    WHERE schedule_id = :id"""),
                {"seconds": seconds, "id": schedule_id},
            )

    def run(self) -> None:
        run_due_schedules(self._timetable)

    def said(self, session_id: str) -> list[dict[str, Any]]:
        events = self.gateway.get(f"/v1/sessions/{session_id}/events").json()["events"]
        return [event["payload"] for event in events if event["payload"]["type"] == "user"]


@pytest.fixture
def schedules(gateway: Gateway, engine: Engine) -> Iterator[Schedules]:
    client = Schedules(gateway, engine)
    yield client
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM schedules"))


def test_a_schedule_is_kept_and_found_as_it_was_asked_for(schedules: Schedules) -> None:
    asked = {"session_id": an_id("s-"), "persona_id": "p-1", "metadata": {"mood": "good"}, "cron": "30 8 * * 1-5"}

    made = schedules.made(**asked, time_zone="Europe/Berlin", missed="skip")

    assert made["message"] == "hello"
    assert {name: made[name] for name in asked} == asked
    assert (made["time_zone"], made["missed"], made["enabled"], made["at"]) == ("Europe/Berlin", "skip", True, None)
    assert datetime.fromisoformat(made["next_run_at"]) > datetime.now(UTC)
    assert schedules.get(made["id"]) == made
    assert schedules.runs(made["id"]) == []


def test_a_schedule_without_a_session_has_one_of_its_own(schedules: Schedules) -> None:
    one, other = schedules.made(at=SOON), schedules.made(at=SOON)

    assert one["session_id"] != other["session_id"]
    assert datetime.fromisoformat(one["next_run_at"]) == datetime.fromisoformat(SOON)


def test_the_same_key_makes_one_schedule(schedules: Schedules) -> None:
    key = an_id()
    first, again = schedules.post(key, at=SOON), schedules.post(key, at=SOON)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert_problem(schedules.post(key, cron="* * * * *"), 422, "another body")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({}, "give either at"),
        ({"at": SOON, "cron": "* * * * *"}, "give either at"),
        ({"at": SOON, "time_zone": "UTC"}, "time_zone belongs to cron"),
        ({"at": "2020-01-01T00:00:00Z"}, "over"),
        ({"at": "2030-01-01T00:00:00"}, "timezone"),
        ({"at": 4102444800}, "write a moment"),
        ({"at": "9999-12-31T23:59:59-14:00"}, "beyond the year"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "over"),
        ({"cron": "0 0 31 2 *"}, "day-of-month"),
        ({"cron": "* * * * * *"}, "seconds are finer"),
        ({"cron": "whenever"}, "five fields"),
        ({"cron": "0 0 * * 1L/2"}, "no cron expression"),
        ({"cron": "0 0 * * *\u0000"}, ""),
        ({"cron": "1," * 200 + "1 * * * *"}, "five fields"),
        ({"cron": "* * * * *", "time_zone": "Mars/Phobos"}, "no such time zone"),
        ({"cron": "* * * * *", "time_zone": "../../etc/passwd"}, "no such time zone"),
        ({"cron": "* * * * *", "missed": "never"}, "missed"),
        ({"cron": "* * * * *", "enabled": "yes"}, "enabled"),
        ({"cron": "* * * * *", "every": 5}, "there is no such field"),
    ],
)
def test_what_can_never_run_is_refused_with_a_sentence(schedules: Schedules, fields: dict[str, Any], word: str) -> None:
    assert_problem(schedules.post(**fields), 422, word)


def test_a_session_of_another_tenant_does_not_exist(schedules: Schedules, gateway: Gateway) -> None:
    receipt = gateway.say(metadata={"tenant": "a"})

    refused = schedules.post(at=SOON, session_id=receipt["session_id"], metadata={"tenant": "b"})

    assert_problem(refused, 404, "no such session")


def test_a_due_schedule_is_answered_in_its_session_once(schedules: Schedules, answerer: Answerer) -> None:
    made = schedules.made(at=SOON, metadata={"mood": "good"})
    schedules.age(made["id"], 1)

    schedules.run()
    schedules.run()

    (message,) = schedules.said(made["session_id"])
    (run,) = schedules.runs(made["id"])
    assert (run["outcome"], run["times"], run["event_id"]) == ("ran", 1, message["event_id"])
    assert message["message"] == "hello"
    assert message["metadata"] == {
        "mood": "good",
        "schedule_id": made["id"],
        "due_at": run["due_at"].replace("Z", "+00:00"),
    }
    assert ("conversation.respond", (message["event_id"],)) in [(r.task, r.ids) for r in schedules.doorbell.rings]
    assert schedules.get(made["id"])["next_run_at"] is None
    assert answerer.answer(message["event_id"]) == "done"


def test_a_missed_time_runs_once_or_is_skipped_as_chosen(schedules: Schedules) -> None:
    late = schedules.made(cron="0 * * * *")
    skipped = schedules.made(cron="0 * * * *", missed="skip")
    for made in (late, skipped):
        schedules.age(made["id"], 3 * 3600 + 600)

    schedules.run()

    (run,), (other,) = schedules.runs(late["id"]), schedules.runs(skipped["id"])
    assert (run["outcome"], len(schedules.said(late["session_id"]))) == ("ran_late", 1)
    assert run["times"] >= 3
    assert (other["outcome"], other["event_id"], other["times"]) == ("skipped", None, run["times"])
    assert schedules.gateway.get(f"/v1/sessions/{skipped['session_id']}/events").status_code == 404
    assert schedules.get(late["id"])["next_run_at"] == late["next_run_at"]


def test_a_schedule_that_cannot_run_stops_no_other_and_says_why(schedules: Schedules) -> None:
    mine, foreign, broken = (schedules.made(cron="* * * * *", metadata={"tenant": "a"}) for _ in range(3))
    schedules.gateway.say(session_id=foreign["session_id"], metadata={"tenant": "b"})
    with schedules.engine.begin() as connection:
        sql = "UPDATE schedules SET time_zone = 'Gone/Away' WHERE schedule_id = :id"
        connection.execute(text(sql), {"id": broken["id"]})
    for made in (mine, foreign, broken):
        schedules.age(made["id"], 1)

    schedules.run()

    assert len(schedules.said(mine["session_id"])) == 1
    (run,), (other,) = schedules.runs(foreign["id"]), schedules.runs(broken["id"])
    assert (run["outcome"], run["reason"]) == ("failed", "there is no such session")
    assert (other["outcome"], "no such time zone" in other["reason"]) == ("failed", True)
    assert schedules.get(foreign["id"])["next_run_at"] is not None
    found = schedules.get(broken["id"])
    assert (found["enabled"], found["next_run_at"], "no such time zone" in found["reason"]) == (False, None, True)


def test_a_change_is_checked_as_the_whole_that_it_makes(schedules: Schedules) -> None:
    made = schedules.made(cron="0 8 * * *", time_zone="Europe/Berlin", persona_id="p-1")

    changed = schedules.patch(made["id"], cron="0 9 * * *", message="good morning", persona_id=None).json()

    assert (changed["cron"], changed["time_zone"], changed["message"], changed["persona_id"]) == (
        "0 9 * * *", "Europe/Berlin", "good morning", None,
    )  # fmt: skip
    assert changed["next_run_at"] != made["next_run_at"]
    once = schedules.patch(made["id"], at=SOON).json()
    assert (once["cron"], once["time_zone"]) == (None, "UTC")
    assert_problem(schedules.patch(made["id"], time_zone="Europe/Berlin"), 422, "belongs to cron")
    assert_problem(schedules.patch(made["id"], at=SOON, cron="* * * * *"), 422, "either at")
    assert_problem(schedules.patch(made["id"], at="2020-01-01T00:00:00Z"), 422, "over")
    assert_problem(schedules.patch(made["id"], message=None), 422, "message")
    assert_problem(schedules.patch(made["id"], metadata={"tenant": "other"}), 422, "its tenant")
    assert_problem(schedules.patch(made["id"], session_id="s-1"), 422, "session_id")
    assert_problem(schedules.patch("nobody", message="x"), 404)


def test_times_that_pass_while_it_is_off_are_not_missed(schedules: Schedules) -> None:
    made = schedules.made(cron="* * * * *")
    assert schedules.patch(made["id"], enabled=False).json()["next_run_at"] is None

    schedules.run()
    again = schedules.patch(made["id"], enabled=True).json()

    assert datetime.fromisoformat(again["next_run_at"]) > datetime.now(UTC) - timedelta(seconds=1)
    assert schedules.runs(made["id"]) == []


def test_a_deleted_schedule_is_gone_with_its_runs_and_what_it_sent_stays(schedules: Schedules) -> None:
    made = schedules.made(cron="* * * * *")
    schedules.age(made["id"], 1)
    schedules.run()

    assert schedules.gateway.call("DELETE", f"/v1/schedules/{made['id']}").json() == {"deleted": True}

    for path in ("", "/runs"):
        assert_problem(schedules.gateway.get(f"/v1/schedules/{made['id']}{path}"), 404)
    assert_problem(schedules.gateway.call("DELETE", f"/v1/schedules/{made['id']}"), 404)
    assert len(schedules.said(made["session_id"])) == 1


def test_pages_show_every_schedule_of_a_tenant_once_newest_first(schedules: Schedules) -> None:
    tenant = an_id("t-")
    made = [schedules.made(at=SOON, metadata={"tenant": tenant})["id"] for _ in range(5)]
    schedules.made(at=SOON)
    seen: list[str] = []
    cursor: str | None = ""

    while cursor is not None:
        page = schedules.gateway.get("/v1/schedules", params={"tenant": tenant, "limit": 2, "after": cursor}).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]

    assert seen == made[::-1]
    assert_problem(schedules.gateway.get("/v1/schedules?after=x"), 422, "cursor")
    assert_problem(schedules.gateway.get(f"/v1/schedules/{made[0]}/runs?after=x"), 422, "cursor")
