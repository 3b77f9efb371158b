"""The drill on the real stack: it passes when nothing is sabotaged, and it must be able to fail."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--calm", "4", "--fault", "10", "--rate", "5")


@dataclass(frozen=True)
class Drill:
    """A running `python -m drills outage` and where it writes."""

    process: subprocess.Popen[str]
    folder: Path

    def read_until(self, word: str) -> str:
        """Everything it prints up to and including the line with this word."""
        heard = ""
        for line in self.process.stdout or ():
            heard += line
            if word in line:
                return heard
        raise AssertionError(f"the drill ended without {word!r}:\n{heard}")

    def finish(self) -> tuple[int, str]:
        """Its exit status and the rest of what it prints."""
        rest, _ = self.process.communicate(timeout=300)
        return self.process.returncode, rest

    def result(self) -> dict[str, Any]:
        """What it wrote for programs."""
        found: dict[str, Any] = json.loads((self.folder / "drill.json").read_text(encoding="utf-8"))
        return found

    def left_behind(self) -> list[str]:
        """Processes that still name the drill's folder, by their command line or working directory."""
        return [str(process.info) for process in psutil.process_iter(["pid", "cmdline", "cwd"]) if self._ours(process)]

    def _ours(self, process: psutil.Process) -> bool:
        words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        return process.pid != os.getpid() and any(str(self.folder) in word for word in words)


def start(folder: Path, *arguments: str) -> Drill:
    argv = [sys.executable, "-m", "drills", "outage", "--data", str(folder), "--json", str(folder / "drill.json")]
    return Drill(
        subprocess.Popen(
            [*argv, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        ),
        folder,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that the unprivileged database server can reach as well."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    return tmp_path


@pytest.mark.servers
@pytest.mark.timeout(400)
def test_an_outage_of_somabrain_loses_and_doubles_nothing(folder: Path) -> None:
    drill = start(folder, *SHORT)

    status, heard = drill.finish()

    assert status == 0, heard
    assert heard.rstrip().splitlines()[-2] == "PASS"
    figures = drill.result()["figures"]
    assert (figures["lost"], figures["doubled"]) == (0, 0)
    assert figures["accepted during the fault"] > 30
    assert figures["answered"] == figures["accepted"]
    assert figures["backlog at its highest"] > figures["accepted during the fault"]
    assert not drill.left_behind()


@pytest.mark.servers
@pytest.mark.sabotage
@pytest.mark.timeout(400)
def test_a_drill_with_memory_sync_held_back_fails(folder: Path) -> None:
    drill = start(folder, *SHORT, "--sabotage", "hold-memory-sync", "--patience", "8")

    status, heard = drill.finish()

    assert status == 1, heard
    assert "FAIL: " in heard
    broken = {found["id"] for found in drill.result()["invariants"] if not found["kept"]}
    assert {"I5", "I9"} <= broken
    assert not drill.left_behind()


@pytest.mark.servers
@pytest.mark.timeout(300)
def test_a_drill_that_is_stopped_leaves_nothing_behind(folder: Path) -> None:
    drill = start(folder, *SHORT)
    drill.read_until("ready")

    drill.process.send_signal(signal.SIGINT)
    status, heard = drill.finish()

    assert status == 130, heard
    deadline = time.monotonic() + 30
    while drill.left_behind() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not drill.left_behind()


def test_an_unknown_drill_is_answered_with_the_known_ones() -> None:
    argv = [sys.executable, "-m", "drills", "F99"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "F99" in done.stderr
    assert "outage" in done.stderr


def test_help_says_what_each_drill_does() -> None:
    argv = [sys.executable, "-m", "drills", "--help"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "SomaBrain is down" in done.stdout
    assert "--sabotage" in done.stdout
