"""The data folder: what is refused before anything is started, and what is kept private."""

import json
import os
import stat
from pathlib import Path

import pytest

from devstack import place
from devstack.faults import CannotStart


def test_a_full_disk_is_refused_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"12 MB free and \d+ MB are needed"):
        place.check_space(12 * 1024**2, tmp_path)


def test_a_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(CannotStart, match=r"format 99 .* move the folder away"):
        place.claim(tmp_path)


def test_a_broken_stamp_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("[]")
    with pytest.raises(CannotStart, match="format unknown"):
        place.claim(tmp_path)


def test_a_folder_has_one_launcher_at_a_time(tmp_path: Path) -> None:
    _, lock = place.claim(tmp_path)
    try:
        with pytest.raises(CannotStart, match=f"process {os.getpid()}.*PORT_OFFSET"):
            place.claim(tmp_path)
    finally:
        os.close(lock)
    os.close(place.claim(tmp_path)[1])


def test_a_refused_folder_can_be_claimed_once_it_is_put_right(tmp_path: Path) -> None:
    stamp = tmp_path / "stack.json"
    stamp.write_text(json.dumps({"format": 99}))
    with pytest.raises(CannotStart):
        place.claim(tmp_path)
    stamp.unlink()
    os.close(place.claim(tmp_path)[1])


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="--data-dir"):
        place.claim(tmp_path / "file" / "var")


def test_secrets_are_made_once_and_only_the_owner_can_read_them(tmp_path: Path) -> None:
    made = place.read_secrets(tmp_path)
    assert place.read_secrets(tmp_path) == made
    assert len(set(made.values())) == len(made)
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_data_without_its_secrets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    with pytest.raises(CannotStart, match=r"secrets\.json is missing"):
        place.read_secrets(tmp_path)
