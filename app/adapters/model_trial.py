"""Every trial of a model is a process of its own: doors load no client of models, and no wait holds them.

The profile goes there on standard input, so that its key is in no list of processes and in no environment.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict

from app.domain.profiles import Profile, Trial
from app.settings import Settings

_SECONDS = 25.0
_NOT_IN_TIME = Trial(False, f"The trial did not come to an end within {_SECONDS:.0f} s.")
_BROKEN = Trial(False, "The trial ended without a result; the log of the gateway says why.")


class TrialProcesses:
    """Tries profiles; `private_allowed` is the policy about inner addresses."""

    def __init__(self, private_allowed: bool) -> None:
        self._private_allowed = private_allowed

    def run(self, profile: Profile) -> Trial:
        """What came back, whatever became of the process."""
        asked = {"profile": asdict(profile), "private_allowed": self._private_allowed}
        argv = (sys.executable, "-m", "app.wiring.trial")
        try:
            done = subprocess.run(
                argv, input=json.dumps(asked).encode(), stdout=subprocess.PIPE, env=_environment(), timeout=_SECONDS,
                check=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return _NOT_IN_TIME
        except subprocess.CalledProcessError:
            return _BROKEN
        return Trial(**json.loads(done.stdout))


def _environment() -> dict[str, str]:
    """Ours without our settings."""
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in ours}
