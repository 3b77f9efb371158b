"""The lease mechanism against its model: 1,200 histories on the fakes, 60 on Postgres, each of up to 30 steps."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Engine

from tests.architecture.source import Module
from tests.property.lease_machine import LeaseMachine
from tests.property.lease_stage import MemoryStage, PostgresStage, Stage

_ON_FAKES = settings(max_examples=1200, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
# A history that fails here is shown as it was found: making it short takes minutes on a database.
_ON_POSTGRES = settings(_ON_FAKES, max_examples=60, phases=(Phase.explicit, Phase.reuse, Phase.generate))


class OnFakes(LeaseMachine):
    """In memory."""

    def make_stage(self, mark: str) -> Stage:
        return MemoryStage()


def test_the_fakes_lease_as_the_model_says() -> None:
    run_state_machine_as_test(OnFakes, settings=_ON_FAKES)  # type: ignore[no-untyped-call]


def test_postgres_leases_as_the_model_says(engine: Engine) -> None:
    class OnPostgres(LeaseMachine):
        """In the database."""

        def make_stage(self, mark: str) -> Stage:
            return PostgresStage(engine, mark)

    run_state_machine_as_test(OnPostgres, settings=_ON_POSTGRES)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", ["leases", "turns", "presence", "upkeep"])
def test_no_lease_asks_the_clock_of_a_process(name: str) -> None:
    """A worker's clock may jump by hours: leases and due times never look at it."""
    text = Module(Path(f"app/adapters/sql/{name}.py")).text

    assert "import time" not in text
    assert "datetime" not in text
