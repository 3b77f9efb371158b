"""From a bare clone to an installed one: each step is done once, and again when what it was done for has changed."""

from pathlib import Path

import pytest

from devstack import bootstrap


@pytest.fixture
def cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a step depends on, beside an environment that is there."""
    python = tmp_path / "python"
    python.touch()
    monkeypatch.setattr(bootstrap, "VENV", tmp_path)
    monkeypatch.setattr(bootstrap, "PYTHON", python)
    lock = tmp_path / "lock"
    lock.write_text("a==1")
    return lock


def is_due(cause: Path) -> bool:
    with bootstrap._once(".installed-x", cause) as due:
        return due


def test_a_step_is_done_once_and_again_when_its_cause_changes(cause: Path) -> None:
    assert [is_due(cause), is_due(cause)] == [True, False]

    cause.write_text("a==2")
    assert [is_due(cause), is_due(cause)] == [True, False]


def test_a_step_is_done_again_when_the_environment_is_gone(cause: Path) -> None:
    assert is_due(cause)
    bootstrap.PYTHON.unlink()

    assert is_due(cause)


def test_a_step_that_failed_is_still_due(cause: Path) -> None:
    assert is_due(cause)
    cause.write_text("a==2")
    with pytest.raises(bootstrap.Stopped), bootstrap._once(".installed-x", cause):
        raise bootstrap.Stopped("no network")
    cause.write_text("a==1")

    assert is_due(cause)


def test_what_makes_soma_is_pinned() -> None:
    assert "--hash=sha256:" in bootstrap.BACKEND.read_text(encoding="utf-8")
    assert all(path.exists() for path in bootstrap.PROJECT)
