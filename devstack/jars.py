"""Fetching Apache Kafka: the 46 pinned jars, checked against their SHA-256 sums, kept in the user's cache.

Run as `python -m devstack.jars FOLDER`, so that the launcher does not carry the downloader for the rest of its life.
A jar appears under its final name only when it is whole and right.
"""

import hashlib
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests
from jgo.maven import MavenContext, PythonResolver

from devstack.kafka_lock import Jar, missing

_AT_ONCE = 8
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class WrongSum(Exception):
    """What was downloaded is not what was pinned."""

    jar: Jar


def fetch(jar: Jar, folder: Path) -> None:
    """Download one jar; anything but the pinned bytes raises `WrongSum`."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        context = MavenContext(repo_cache=Path(scratch), resolver=PythonResolver(), timeout=30)
        component = context.project(jar.group, jar.artifact).at_version(jar.version)
        path = component.artifact(packaging="jar").resolve()
        if hashlib.sha256(path.read_bytes()).hexdigest() != jar.sha256:
            raise WrongSum(jar)
        os.replace(path, folder / jar.file_name)


def fetch_patiently(jar: Jar, folder: Path) -> None:
    """Try a few times: a repository may answer one of many requests with an error."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return fetch(jar, folder)
        except (requests.RequestException, RuntimeError, OSError, AssertionError):
            if attempt == _ATTEMPTS:
                raise
    return None


def main(folder: Path) -> int:
    """Fetch what is missing; on failure one line and status 1."""
    wanted = missing(folder)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = {pool.submit(fetch_patiently, jar, folder): jar for jar in wanted}
        for future, jar in futures.items():
            error = future.exception()
            if error is not None:
                pool.shutdown(cancel_futures=True)
                sys.stdout.write(f"{jar.file_name}: {_told(error)}\n")
                return 1
    return 0


def _told(error: BaseException) -> str:
    if isinstance(error, WrongSum):
        return "its SHA-256 sum is not the pinned one"
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
