"""The full disk of the campaign: Postgres's data lies on it, wherever the drill was started."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drills import disk_faults
from drills.disk_faults import on_a_small_disk


@contextmanager
def a_folder(place: Path, _megabytes: int) -> Iterator[None]:
    """`small_disk` without a disk of its own: mounting needs root."""
    place.mkdir()
    yield


@contextmanager
def a_stack(folder: Path, *_: Any, **__: Any) -> Iterator[None]:
    """`Stack` that only makes Postgres's data."""
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "PG_VERSION").write_text("18")
    yield


def test_the_data_is_found_on_the_disk_also_from_a_folder_without_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(disk_faults, "small_disk", a_folder)
    monkeypatch.setattr(disk_faults, "Stack", a_stack)

    with on_a_small_disk(Path("drills/stack-1")):
        assert Path("drills/stack-1/postgres").is_symlink()
        assert Path("drills/stack-1/postgres/PG_VERSION").read_text() == "18"
