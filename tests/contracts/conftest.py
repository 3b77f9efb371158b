"""The stores that the suites of the core judge: the fake and the real one."""

from collections.abc import Iterator

import pytest

from tests.contracts.store_rig import MemoryRig, PostgresRig, StoreRig


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[StoreRig]:
    if request.param == "memory":
        yield MemoryRig()
        return
    rig = PostgresRig(request.getfixturevalue("engine"))
    yield rig
    rig.close()
