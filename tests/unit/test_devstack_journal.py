"""Logs of parts: complete in their files, bounded in size, and only the worrying lines told."""

import os
from pathlib import Path

import pytest

from devstack import journal, logs
from devstack.faults import CannotStart
from devstack.journal import Journal, RotatingFile
from devstack.trouble import trouble_in


@pytest.fixture
def alarms() -> list[str]:
    return []


@pytest.fixture
def kept(tmp_path: Path, alarms: list[str]) -> Journal:
    return Journal(tmp_path, lambda name, line: alarms.append(f"{name}: {line}"))


def write(kept: Journal, text: bytes, name: str = "redis") -> None:
    """Print as a child would, and wait until it has been read."""
    descriptor = kept.pipe(name)
    os.write(descriptor, text)
    os.close(descriptor)


def test_every_line_is_kept_and_only_trouble_is_told(kept: Journal, tmp_path: Path, alarms: list[str]) -> None:
    write(kept, b"all is well\n2026 WARNING low on memory\nno newline at the end")
    kept.close()
    assert (tmp_path / "redis.log").read_text().splitlines() == [
        "all is well",
        "2026 WARNING low on memory",
        "no newline at the end",
    ]
    assert alarms == ["redis: 2026 WARNING low on memory"]


def test_the_last_words_are_the_reason_when_there_is_one(kept: Journal) -> None:
    write(kept, b"starting\nFATAL could not bind\nbye\n")
    kept.close()
    assert kept.last_words("redis") == "FATAL could not bind"
    assert kept.last_words("nobody") == ""


def test_the_reason_in_a_traceback_is_its_exception(kept: Journal, alarms: list[str]) -> None:
    write(kept, b"Traceback (most recent call last):\n  File x\nsome.lib.FooError: no such host\n\tIs it running?\n")
    kept.close()
    assert kept.last_words("redis") == "some.lib.FooError: no such host"
    assert alarms == ["redis: some.lib.FooError: no such host"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"level": "INFO", "message": "an error was handled"}', ""),
        ('{"level": "WARNING", "message": "the brain is away"}', "WARNING the brain is away"),
        (
            '{"level": "ERROR", "message": "failed", "exception": "Trace\\n  x\\nFooError: bar"}',
            "ERROR failed (FooError: bar)",
        ),
        ('{"half of a line', ""),
        ("{}", ""),
        ("[2026] [ERROR] Worker exited", "[2026] [ERROR] Worker exited"),
    ],
)
def test_json_is_unwrapped_and_its_level_decides(line: str, shown: str) -> None:
    assert trouble_in(line) == shown


def test_bytes_that_are_no_text_do_no_harm(kept: Journal, alarms: list[str]) -> None:
    write(kept, b"ERROR \xff\xfe\n")
    kept.close()
    assert alarms == ["redis: ERROR \ufffd\ufffd"]


def test_a_log_never_grows_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "ROTATE_BYTES", 1000)
    file = RotatingFile(tmp_path / "kafka.log")
    for _ in range(100):
        file.write(b"x" * 99 + b"\n")
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["kafka.log", "kafka.log.1", "kafka.log.2"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * 1200


def test_the_end_of_a_log_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "beat.log").write_text("one\ntwo\nthree\n")
    assert logs.show(tmp_path, "beat", 2, follow=False) == 0
    assert capsys.readouterr().out == "two\nthree\n"


def test_an_unknown_log_names_those_that_exist(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "beat.log").write_text("")
    with pytest.raises(CannotStart, match="there are: beat"):
        logs.show(tmp_path, "../secrets", 2, follow=False)
