"""The campaign's own manners: it knows its faults, refuses what is not its own, and never calls unrun faults passed."""

import fcntl
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from drills import catalogue, ground, poison, table, tour
from drills.brain_front import BrainFront, Manner
from drills.checker import Verdict
from drills.record import mark_of
from drills.trouble import NotHere, Trouble
from drills.worker_faults import FATAL

KEPT = Verdict("I1", "accepted, but without an answer", ())
BROKEN = Verdict("I5", "memories missing", ("memory a is not in SomaBrain",))
NUMBERS = {f"F{number}" for number in range(1, 34)} - {"F6", "F11", "F18", "F32"} | {
    f"F{number}" for number in range(40, 46)
}


def test_every_fault_of_the_campaign_is_there_once_run_or_with_a_reason() -> None:
    known = [fault.id for fault in catalogue.CATALOGUE]

    assert sorted(known) == sorted(NUMBERS)
    assert all(fault.reason for fault in catalogue.CATALOGUE if isinstance(fault, NotHere))


def test_the_smoke_run_has_its_five_faults() -> None:
    chosen = catalogue.chosen([], smoke=True)

    assert [fault.id for fault in chosen] == ["F1", "F7", "F12", "F19", "F23"]
    assert all(isinstance(fault, Trouble) for fault in chosen)


def test_an_unknown_fault_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert tour.main(["--fault", "F99"]) == 2

    told = capsys.readouterr().err
    assert "F99" in told
    assert "F12" in told


def test_a_setting_without_a_value_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        tour.main(["--set", "LEASE_SECONDS"])

    assert "is not NAME=VALUE" in capsys.readouterr().err


def test_a_stack_that_is_not_the_drills_own_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)

    assert tour.main(["--fault", "F1", "--data", str(tmp_path)]) == 2

    os.close(lock)
    assert "a drill breaks only a stack that it has started itself" in capsys.readouterr().err


def test_the_data_of_a_stack_that_is_stopped_is_refused_as_well(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{}")

    with pytest.raises(ground.NotOurs):
        ground.refuse_foreign(tmp_path)
    ground.refuse_foreign(tmp_path / "another")


def test_a_fault_that_was_not_run_is_neither_passed_nor_failed() -> None:
    row = table.Row("F17", "disk full", reason="no room for a small disk")

    assert not row.failed
    assert row.word == "not run here: no room for a small disk"
    assert table.table([row]).endswith("PASS: 0 faults")


def test_a_broken_promise_or_a_drill_that_broke_off_fails_the_campaign() -> None:
    rows = [
        table.Row("F1", "one", (KEPT,)),
        table.Row("F2", "two", (KEPT, BROKEN)),
        table.Row("F3", "three", reason="broke off: no stack", broke_off=True),
    ]

    assert [row.failed for row in rows] == [False, True, True]
    assert table.table(rows).splitlines()[-1] == "FAIL: F2, F3"
    assert table.as_json(rows, {})["passed"] is False
    assert table.as_json(rows[:1], {})["passed"] is True


def test_as_many_answers_at_any_load_are_slow_enough_to_be_killed_in_the_middle() -> None:
    for rate, each in ((1, 3), (5, 3), (20, 12)):
        pace = ground.pace_at(rate)
        slow = [number for number in range(60) if pace(f"m{number:06} hello") == ground.SLOW_PAUSE]
        assert slow == list(range(0, 60, each))
    assert mark_of(FATAL)


def test_poison_comes_in_eight_kinds_of_five() -> None:
    records = list(poison.records("t1"))

    # Each twin stands beside a good record of the same id, which is no poison.
    assert len(records) == (poison.KINDS + 1) * poison.EACH
    assert max(len(value) for _, value in records) > 1_048_576


class _Brain(BaseHTTPRequestHandler):
    taken = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).taken += 1
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def front() -> Iterator[BrainFront]:
    """A front before a SomaBrain that counts."""
    _Brain.taken = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Brain)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with BrainFront(f"http://127.0.0.1:{server.server_address[1]}") as made:
        yield made
    server.shutdown()
    server.server_close()


def test_a_front_passes_on_and_tells_what_was_said(front: BrainFront) -> None:
    answer = requests.post(f"{front.url}/memory/remember", json={}, timeout=5)

    assert (answer.status_code, answer.text, _Brain.taken) == (200, "{}", 1)


def test_a_front_can_let_the_deed_through_and_lose_the_reply(front: BrainFront) -> None:
    front.manner = Manner.APPLY_AND_DROP

    with pytest.raises(requests.ConnectionError):
        requests.post(f"{front.url}/memory/remember", json={}, timeout=5)
    assert _Brain.taken == 1


@pytest.mark.parametrize(
    ("manner", "status"), [(Manner.ERROR, 500), (Manner.REFUSE, 429), (Manner.GARBAGE, 200), (Manner.HUGE, 200)]
)
def test_a_front_answers_in_its_own_manner(front: BrainFront, manner: Manner, status: int) -> None:
    front.manner = manner

    answer = requests.post(f"{front.url}/memory/remember", json={}, timeout=5)

    assert answer.status_code == status
    assert _Brain.taken == 0
    assert answer.headers.get("Retry-After") == ("7" if manner is Manner.REFUSE else None)
    assert front.answered[manner] == 1
