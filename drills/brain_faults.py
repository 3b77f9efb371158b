"""What can happen to SomaBrain."""

import requests

from drills.trouble import Stage

NAME = "brain"


def silent(stage: Stage) -> bool:
    """Whether SomaBrain does not answer now."""
    try:
        requests.get(f"{stage.stack.url(NAME)}/health", timeout=2)
    except requests.RequestException:
        return True
    return False


def down(stage: Stage) -> None:
    """Away for 40 s."""
    with stage.without(NAME):
        stage.feel(lambda: silent(stage))
        stage.rest(40)
