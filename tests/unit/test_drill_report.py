"""What a drill tells people: a verdict in one line at the end, the reasons above it, and the same for programs."""

import io
import json
from pathlib import Path

from drills.checker import Verdict
from drills.faults import BrainDown
from drills.report import Timeline, as_json, summary, write_json

KEPT = Verdict("I1", "accepted, but without an answer", ())
BROKEN = Verdict("I5", "memories missing", tuple(f"memory {number} is not in SomaBrain" for number in range(5)))


def test_when_every_promise_was_kept_the_last_word_is_pass() -> None:
    assert summary([KEPT], {"lost": 0}).splitlines()[-1] == "PASS"


def test_a_broken_promise_is_named_in_the_last_line_with_examples_above() -> None:
    lines = summary([KEPT, BROKEN], {"seconds to drain": None}).splitlines()

    assert lines[-1] == "FAIL: I5 memories missing"
    assert sum("is not in SomaBrain" in line for line in lines) == 3
    assert any("and 2 more" in line for line in lines)
    assert any(line.split() == ["seconds", "to", "drain", "never"] for line in lines)


def test_programs_get_every_problem(tmp_path: Path) -> None:
    timeline = Timeline(io.StringIO())
    timeline.say("fault", "SomaBrain is down")
    path = tmp_path / "drill.json"

    write_json(path, as_json("outage", [KEPT, BROKEN], {"lost": 5}, timeline, {"rate": 10}))

    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["passed"] is False
    assert [len(found["problems"]) for found in told["invariants"]] == [0, 5]
    assert told["timeline"][0]["words"] == "SomaBrain is down"
    assert list(tmp_path.iterdir()) == [path]


def test_a_drill_believes_health_only_when_it_speaks_of_the_fault() -> None:
    fault = BrainDown()

    assert fault.shown({"components": {"somabrain_http": {"status": "down"}}})
    assert not fault.shown({"components": {"somabrain_http": {"status": "ok"}, "model": {"status": "down"}}})
    assert not fault.shown({"components": {}})
