"""The pinned list of Apache Kafka's jars, and which of them a folder lacks."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

VERSION = "4.1.1"
LOCK = Path(__file__).parent / f"kafka-{VERSION}.lock"


@dataclass(frozen=True, slots=True)
class Jar:
    """One Maven artifact and the sum of its bytes."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name under which it is kept."""
        return f"{self.artifact}-{self.version}.jar"


def jars() -> list[Jar]:
    """All of them, in the order of the lock."""
    lines = LOCK.read_text().splitlines()
    return [_jar(*line.split()) for line in lines if line and not line.startswith("#")]


def _jar(coordinates: str, sha256: str) -> Jar:
    group, artifact, version = coordinates.split(":")
    return Jar(group, artifact, version, sha256)


def missing(folder: Path) -> list[Jar]:
    """Those that are absent or not the pinned bytes."""
    return [jar for jar in jars() if not _is_right(folder / jar.file_name, jar.sha256)]


def _is_right(path: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False
