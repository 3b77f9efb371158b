"""A worker starts without going over what it loads, and collects its garbage as soon as it is ready."""

import os
import subprocess
import sys

import pytest

READY = """
import gc
import tasks.__main__
from celery.signals import beat_init, worker_ready

assert not gc.isenabled()
{signal}.send(sender=None)
assert gc.isenabled()
assert gc.get_freeze_count() > 0
"""


@pytest.mark.parametrize("signal", ["worker_ready", "beat_init"])
def test_garbage_is_collected_once_a_process_is_ready(signal: str) -> None:
    nowhere = {"REDIS_URL": "redis://127.0.0.1:1/0", "POSTGRES_DSN": "postgresql://127.0.0.1:1/none"}

    done = subprocess.run(
        [sys.executable, "-c", READY.format(signal=signal)],
        env={**os.environ, **nowhere, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
