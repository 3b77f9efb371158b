"""A crew works beside whoever hands it jobs, takes no more than it has threads for, and survives what goes wrong."""

import logging
import threading

import pytest

from app.adapters.crew import ThreadCrew
from tests.conftest import eventually


def test_a_slow_job_holds_up_nobody_and_a_full_crew_takes_no_more() -> None:
    crew, go_on, done = ThreadCrew("test", 2), threading.Event(), threading.Event()

    assert crew.hand(lambda: bool(go_on.wait(10)) or None)
    assert crew.free == 1
    assert crew.hand(done.set)
    assert done.wait(10)
    eventually(lambda: crew.free == 1)
    assert crew.hand(lambda: bool(go_on.wait(10)) or None)
    assert not crew.hand(done.set)

    go_on.set()
    eventually(lambda: crew.free == 2)


def test_an_error_ends_its_job_alone_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    crew = ThreadCrew("test", 1)

    with caplog.at_level(logging.WARNING):
        crew.hand(lambda: print(1 / 0))
        eventually(lambda: crew.free == 1 and "division by zero" in caplog.text)
    done = threading.Event()
    crew.hand(done.set)

    assert done.wait(10)
