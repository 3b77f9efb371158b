"""A campaign that cannot turn red proves nothing: what makes the promises true is taken out, and the drill must say so.

Takes minutes on a stack of its own for every case, so it is not part of `make test`: `make test-sabotage`.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.sabotage.edits import SABOTAGES

ROOT = Path(__file__).resolve().parents[2]
INSIDE = ROOT / "tests" / "sabotage" / "inside"

pytestmark = [pytest.mark.sabotage, pytest.mark.timeout(600)]


def campaign(folder: Path, fault: str, settings: Mapping[str, str]) -> tuple[int, dict[str, list[str]], str]:
    """Exit status, broken promises by number, and what was printed, of one fault in short."""
    result = folder / "drill.json"
    argv = [sys.executable, "-m", "drills", "campaign", "--smoke", "--rate", "2", "--fault", fault]
    argv += ["--data", str(folder), "--json", str(result)]
    argv += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    row: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))["faults"][0]
    broken = {name: problems for name, problems in row["invariants"].items() if problems}
    return done.returncode, broken, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that the unprivileged database server can reach as well."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("name", SABOTAGES)
def test_what_was_taken_out_turns_the_campaign_red(name: str, folder: Path) -> None:
    settings = {"SABOTAGE": name, "PYTHONPATH": f"{INSIDE}:{ROOT}"}

    status, broken, heard = campaign(folder, SABOTAGES[name].fault, settings)

    assert status == 1, heard
    assert SABOTAGES[name].breaks in broken, heard


@pytest.mark.parametrize("fault", sorted({sabotage.fault for sabotage in SABOTAGES.values()}))
def test_the_same_campaign_passes_where_nothing_was_taken_out(fault: str, folder: Path) -> None:
    status, broken, heard = campaign(folder, fault, {})

    assert (status, broken) == (0, {}), heard
