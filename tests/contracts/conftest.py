"""The stores that the suites of the core judge, the fake and the real one; a scripted SomaBrain and a client of it."""

from collections.abc import Iterator

import pytest

from app.adapters.http.brain import HttpBrain
from tests.contracts.scripted_brain import ScriptedBrain, a_client
from tests.contracts.store_rig import MemoryRig, PostgresRig, StoreRig


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[StoreRig]:
    if request.param == "memory":
        yield MemoryRig()
        return
    rig = PostgresRig(request.getfixturevalue("engine"))
    yield rig
    rig.close()


@pytest.fixture
def server() -> Iterator[ScriptedBrain]:
    brain = ScriptedBrain()
    yield brain
    brain.close()


@pytest.fixture
def client(server: ScriptedBrain) -> HttpBrain:
    return a_client(server)
