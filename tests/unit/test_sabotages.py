"""The sabotages of the drills must fit the code as it is today, or the drills would be tested against nothing."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.sabotage.edits import SABOTAGES, edited


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_sabotage_fits_the_modules_that_it_changes(name: str) -> None:
    for module, edits in SABOTAGES[name].edits.items():
        spec = find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        text = Path(spec.origin).read_text(encoding="utf-8")

        changed = edited(text, edits)

        assert changed != text
        compile(changed, spec.origin, "exec")


def test_a_passage_that_is_gone_stops_the_sabotage() -> None:
    with pytest.raises(ValueError, match="0 times"):
        edited("x = 1\n", [("y = 2", "")])


@pytest.mark.parametrize(("sabotage", "swept"), [("", False), ("sweep off", True)])
def test_only_a_sabotaged_process_runs_the_changed_text(sabotage: str, swept: bool) -> None:
    ask = "from app.services.sweep import sweep; print(sweep(None, {}, None) == {})"
    path = f"{ROOT / 'tests' / 'sabotage' / 'inside'}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", ask],
        env={**os.environ, "PYTHONPATH": path, "SABOTAGE": sabotage},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode == 0) == swept, done.stderr
