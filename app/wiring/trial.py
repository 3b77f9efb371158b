"""The process of one trial of a model: the profile comes on standard input, the result goes to standard output."""

import json
import sys
import time
from dataclasses import asdict
from typing import Any

from app.adapters.http.model import Limits, OpenAIModel
from app.domain.profiles import Profile, ProfileRole
from app.services.try_profile import try_profile

_LIMITS = Limits(total_seconds=15.0, first_seconds=10.0, idle_seconds=10.0)


def main() -> int:
    """One trial, by a client without a past: what others met at an endpoint does not count."""
    asked: dict[str, Any] = json.load(sys.stdin)
    profile = Profile(**{**asked["profile"], "role": ProfileRole(asked["profile"]["role"])})
    trial = try_profile(profile, OpenAIModel(_LIMITS, asked["private_allowed"]), time.monotonic)
    json.dump(asdict(trial), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
