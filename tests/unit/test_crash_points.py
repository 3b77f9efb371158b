"""Crash points: nothing while nothing is wished, refused where people rely on it, and exactly as often as wished."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.crash_points import CrashStep, CrashWish
from app.settings import Misconfigured, Settings, read
from app.wiring.crashing import CRASH_STATUS, ends_after
from tests.architecture.source import ROOT, modules


@dataclass
class Bell:
    """A part with one method that matters and one that does not."""

    rung: list[str] = field(default_factory=list)
    loud: bool = True

    def ring(self, name: str, twice: bool = False) -> int:
        self.rung.append(name * (2 if twice else 1))
        return len(self.rung)

    def fail(self) -> None:
        raise ValueError("cracked")


def test_without_a_crash_point_nothing_is_in_the_way() -> None:
    bell = Bell()

    assert ends_after(bell, CrashStep.PUBLISH, Settings(), "ring") is bell


def test_a_wrapped_part_behaves_as_it_is(tmp_path: Path) -> None:
    bell = Bell()

    wrapped = ends_after(bell, CrashStep.PUBLISH, read({"CRASH_POINT": f"@{tmp_path / 'wish'}"}), "ring")

    assert (wrapped.ring("a", twice=True), wrapped.rung, wrapped.loud) == (1, ["aa"], True)
    with pytest.raises(ValueError, match="cracked"):
        wrapped.fail()


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("after_publish", CrashWish(CrashStep.PUBLISH, 1, 1)),
        ("after_remember:3", CrashWish(CrashStep.REMEMBER, 3, 1)),
        ("after_mark_sent:2:10", CrashWish(CrashStep.MARK_SENT, 2, 10)),
    ],
)
def test_a_wish_names_a_step_a_passing_and_how_often(text: str, wish: CrashWish) -> None:
    assert CrashWish.parse(text) == wish
    assert read({"CRASH_POINT": text}).crash_point == text


@pytest.mark.parametrize("text", ["after_lunch", "after_publish:0", "after_publish:x", "after_publish:1:2:3", ":1"])
def test_an_unknown_crash_point_is_refused_with_the_setting_named(text: str) -> None:
    with pytest.raises(Misconfigured, match=r"^CRASH_POINT is wrong: "):
        read({"CRASH_POINT": text})


def test_an_unknown_step_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    wish = tmp_path / "wish"
    wish.write_text("after_lunch\n")

    for text in ("after_lunch", f"@{wish}"):
        with pytest.raises(Misconfigured) as refused:
            read({"CRASH_POINT": text})

        assert all(step in str(refused.value) for step in CrashStep)


@pytest.mark.parametrize("text", ["after_publish", "@nowhere"])
def test_an_installation_that_people_rely_on_has_no_crash_points(text: str) -> None:
    with pytest.raises(Misconfigured, match="SA01_ENV=PROD"):
        read({"CRASH_POINT": text, "SA01_ENV": "PROD"})

    assert read({"SA01_ENV": "PROD"}).crash_point == ""


PASSING_FIVE_TIMES = """
import sys
from app.crash_points import CrashStep
from app.settings import settings
from app.wiring.crashing import ends_after
from tests.unit.test_crash_points import Bell

bell = ends_after(Bell(), CrashStep.PUBLISH, settings(), "ring")
other = ends_after(Bell(), CrashStep.REMEMBER, settings(), "ring")
for number in range(5):
    other.ring("b")
    print(bell.ring("a"), flush=True)
"""


def one_life(crash_point: str, folder: Path) -> tuple[int, int]:
    """Exit status of a process that passes the step five times, and how often it could say so."""
    environment = {"PYTHONPATH": str(ROOT), "CRASH_POINT": crash_point}
    argv = [sys.executable, "-c", PASSING_FIVE_TIMES]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, len(done.stdout.splitlines())


def test_a_process_ends_once_and_the_next_one_lives(tmp_path: Path) -> None:
    lives = [one_life("after_publish", tmp_path) for _ in range(3)]

    assert lives == [(CRASH_STATUS, 0), (0, 5), (0, 5)]


def test_a_process_ends_at_the_passing_and_as_often_as_wished(tmp_path: Path) -> None:
    lives = [one_life("after_publish:3:2", tmp_path) for _ in range(3)]

    assert lives == [(CRASH_STATUS, 2), (CRASH_STATUS, 2), (0, 5)]


def test_a_wish_in_a_file_is_done_and_may_be_made_again(tmp_path: Path) -> None:
    wish = tmp_path / "wish"
    setting = f"@{wish}"
    assert one_life(setting, tmp_path) == (0, 5)

    wish.write_text("after_publish:2")
    assert one_life(setting, tmp_path) == (CRASH_STATUS, 1)
    assert wish.read_text() == ""
    assert one_life(setting, tmp_path) == (0, 5)

    wish.write_text("after_publish:2")
    assert one_life(setting, tmp_path) == (CRASH_STATUS, 1)


def test_every_step_is_somewhere_in_the_wiring() -> None:
    wiring = "".join(module.text for module in modules("app") if module.path.parent == Path("app/wiring"))

    assert all(f"CrashStep.{step.name}" in wiring for step in CrashStep)
