"""The lease mechanism against its model: for turns, deliveries and tool calls 700 histories each on the fakes and 60 on
Postgres, each of up to 40 steps.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Engine

from app.adapters.sql import acceptance
from tests.architecture.source import Module
from tests.conftest import PATIENT
from tests.property.call_machine import CallMachine
from tests.property.delivery_machine import DeliveryMachine
from tests.property.lease_machine import LeaseMachine
from tests.property.lease_stage import MemoryStage, PostgresStage, Stage
from tests.property.turn_machine import TurnMachine

_ON_FAKES = settings(max_examples=700, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
# A history that fails here is shown as it was found: making it short takes minutes on a database.
_ON_POSTGRES = settings(_ON_FAKES, max_examples=60, phases=(Phase.explicit, Phase.reuse, Phase.generate))
MACHINES = (TurnMachine, DeliveryMachine, CallMachine)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_fakes_lease_as_the_model_says(machine: type[LeaseMachine]) -> None:
    class OnFakes(machine):  # type: ignore[misc, valid-type]
        """In memory."""

        def make_stage(self, mark: str) -> Stage:
            return MemoryStage()

    run_state_machine_as_test(OnFakes, settings=_ON_FAKES)  # type: ignore[no-untyped-call]


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for these answers: a machine that stands still for two seconds refuses no message here."""
    for budget in ("_BUDGET", "_FIRST_TRY"):
        monkeypatch.setattr(acceptance, budget, PATIENT)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("machine", MACHINES)
def test_postgres_leases_as_the_model_says(machine: type[LeaseMachine], engine: Engine) -> None:
    class OnPostgres(machine):  # type: ignore[misc, valid-type]
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
