"""The model's own process: there while there is work, replaced when it dies, harmless when a text kills it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.brain.aside import Aside
from app.brain.embeddings import E5, NoModel, NoVector
from tests.conftest import eventually


@pytest.fixture
def aside() -> Iterator[Aside]:
    made = Aside()
    yield made
    made.close()


def own() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "app.brain.aside" in _command(child)]


def _command(child: psutil.Process) -> list[str]:
    """What it was started with; nothing where it has just ended."""
    try:
        return child.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_it_says_what_the_model_says_and_steps_back(aside: Aside) -> None:
    said = aside.passage("my kitten's name is Miso ☃\nand it sleeps")
    assert said == pytest.approx(E5().passage("my kitten's name is Miso ☃\nand it sleeps"), abs=1e-6)
    assert [child.nice() for child in own()] == [10]


def test_a_kill_costs_nothing(aside: Aside) -> None:
    aside.passage("one")
    os.kill(own()[0].pid, signal.SIGKILL)
    assert len(aside.passage("two")) == 384


def test_it_ends_when_there_is_nothing_to_do_and_begins_again() -> None:
    aside = Aside(idle_seconds=0.05)
    aside.passage("one")
    eventually(lambda: not own(), seconds=10)
    assert len(aside.passage("two")) == 384
    aside.close()
    assert own() == []


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("import os; os._exit(1)", NoVector),
        ('print(\'{"fault": "NoModel", "reason": "no memory"}\', flush=True); input()', NoModel),
        ('print(\'{"fault": "NoVector", "reason": "no numbers"}\', flush=True); input()', NoVector),
    ],
    ids=["the text kills it", "it cannot load", "it makes nothing of the text"],
)
def test_what_goes_wrong_there_is_told_here(
    aside: Aside, program: str, fault: type[NoVector], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/usr/bin/env python3\n{program}\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr("app.brain.aside.sys.executable", str(script))
    with pytest.raises(NoVector) as told:
        aside.passage("one")
    assert type(told.value) is fault
