"""A turn in a process of its own: what it says, how its death is told, and that it ends with its worker."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.adapters.own_process import OwnProcess
from app.domain.conversation import Turn
from app.domain.errors import LeaseLost, ProcessDied, StoreUnavailable
from tests.conftest import eventually
from tests.integration import own_process_children as children
from tests.integration.own_process_children import TURN


def test_what_the_child_says_comes_back_from_another_process_that_is_gone_then() -> None:
    said = OwnProcess(children.says_done)(TURN)

    assert (said["outcome"], said["saw"]) == ("done", TURN)
    assert said["pid"] != os.getpid()
    eventually(lambda: not psutil.pid_exists(said["pid"]), 10)


@pytest.mark.parametrize(
    ("answer", "words"),
    [(children.is_killed, "by SIGSEGV"), (children.gives_up, "with status 3"), (children.raises, "with status 1")],
)
def test_a_child_that_ends_without_a_word_is_a_death_that_says_how(
    answer: Callable[[Turn], Mapping[str, Any]], words: str
) -> None:
    with pytest.raises(ProcessDied, match=words):
        OwnProcess(answer)(TURN)


def test_a_lost_lease_and_an_outage_are_what_they_would_be_in_the_worker() -> None:
    with pytest.raises(LeaseLost):
        OwnProcess(children.lost_it)(TURN)
    with pytest.raises(StoreUnavailable, match="not answering"):
        OwnProcess(children.store_is_away)(TURN)


def test_the_child_ends_with_its_worker(tmp_path: Path) -> None:
    says = tmp_path / "pid"
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.own_process_children"], env={**os.environ, "CHILD_SAYS": str(says)}
    )
    try:
        child = int(eventually(lambda: says.exists() and says.read_text(), 30))
        assert psutil.pid_exists(child)
    finally:
        worker.kill()
        worker.wait()

    eventually(lambda: not psutil.pid_exists(child), 10)
