"""The data folder: its layout, its lock, its version stamp, its secrets, and whether the disk has room.

Whatever the stack writes is below this folder, apart from the cache of downloads.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from devstack import tree
from devstack.faults import CannotStart

FORMAT = 1
LEAST_FREE_BYTES = 768 * 1024 * 1024
ROOT = Path(__file__).resolve().parent.parent
_SECRETS = ("postgres_admin", "postgres", "redis", "flower", "encryption")


@dataclass(frozen=True, slots=True)
class Place:
    """Paths of one stack's data."""

    data_dir: Path

    @property
    def logs(self) -> Path:
        """One file per part."""
        return self.data_dir / "logs"

    @property
    def run(self) -> Path:
        """What is of no use after a restart: sockets, schedules, metrics of processes."""
        return self.data_dir / "run"

    def folder(self, name: str) -> Path:
        """A folder of one part, made when it is missing."""
        path = self.data_dir / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def cache_dir() -> Path:
    """Where downloads are kept for every clone of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "somaagent01"


def claim(data_dir: Path) -> tuple[Place, int]:
    """Take the data folder for this launcher: checked, locked, stamped. Returns the lock's descriptor too."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        check_space(shutil.disk_usage(data_dir).free, data_dir)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CannotStart(f"cannot write to {data_dir}: {error.strerror}; choose another with --data-dir") from None
    try:
        _take(lock, data_dir)
        _check_stamp(data_dir / "stack.json")
        tree.kill(data_dir)
        place = Place(data_dir)
        shutil.rmtree(place.run, ignore_errors=True)
        for folder in (place.logs, place.run):
            folder.mkdir(exist_ok=True)
    except BaseException:
        os.close(lock)
        raise
    return place, lock


def check_space(free: int, data_dir: Path) -> None:
    """Refuse a disk that would be full before the first message."""
    if free < LEAST_FREE_BYTES:
        need = LEAST_FREE_BYTES // 1024**2
        raise CannotStart(
            f"the disk of {data_dir} has {free // 1024**2} MB free and {need} MB are needed;"
            " free some space or choose another folder with --data-dir"
        )


def _take(lock: int, data_dir: Path, patience: float = 15.0) -> None:
    """Lock, waiting only for the guard of a launcher that is dead already."""
    until = time.monotonic() + patience
    while not _try_lock(lock):
        holder = holder_of(data_dir)
        if (holder and _lives(holder)) or time.monotonic() > until:
            raise CannotStart(
                f"a stack already runs on {data_dir} (process {holder}); see `python -m devstack status`,"
                " stop it with `python -m devstack stop`, or run a second one with PORT_OFFSET=1000"
            )
        time.sleep(0.2)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder_of(data_dir: Path) -> int:
    """The process that last locked this folder; 0 when unknown."""
    with contextlib.suppress(OSError, ValueError):
        return int((data_dir / "lock").read_text())
    return 0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_locked(data_dir: Path) -> bool:
    """True while a launcher or its guard holds this folder."""
    try:
        lock = os.open(data_dir / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_lock(lock)
    finally:
        os.close(lock)


def _check_stamp(path: Path) -> None:
    if not path.exists():
        path.write_text(json.dumps({"format": FORMAT}) + "\n")
    try:
        found = json.loads(path.read_text())["format"]
    except (ValueError, KeyError, TypeError):
        found = "unknown"
    if found != FORMAT:
        raise CannotStart(
            f"{path.parent} holds data of format {found} and this version reads format {FORMAT};"
            " run the version that made it, or move the folder away to begin anew"
        )


def read_secrets(data_dir: Path) -> dict[str, str]:
    """The generated passwords, made on first use; only the owner can read the file."""
    path = data_dir / "secrets.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if not known and (data_dir / "postgres" / "PG_VERSION").exists():
        raise CannotStart(f"{path} is missing, and {data_dir}/postgres cannot be opened without it; restore that file")
    missing = [name for name in _SECRETS if name not in known]
    if missing:
        known |= {name: secrets.token_hex(16) for name in missing}
        write_private(path, json.dumps(known, indent=1) + "\n")
    return known


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read."""
    fresh = path.with_name(f"{path.name}.part")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
