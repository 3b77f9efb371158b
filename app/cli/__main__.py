"""`python -m app.cli` and `soma`: the exit status of a command, and its trouble in one sentence."""

import sys
from collections.abc import Sequence
from typing import Protocol, cast

import typer

from app.cli.client import Refused
from app.cli.progress import Stopped
from app.cli.root import root
from app.cli.seat import warn
from app.settings import Misconfigured

_WRONG_USAGE = 2
_STOPPED = 130
_command = typer.main.get_command(root)


class _Shown(Protocol):
    """What a wrong usage has and typer's public base class does not declare."""

    def show(self) -> None: ...


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 done, 1 refused, 2 asked wrongly, 130 stopped by Ctrl-C before it was done. Trouble is one
    sentence on the error stream.
    """
    try:
        ended = _command.main(list(arguments), prog_name="soma", standalone_mode=False)
        return ended if isinstance(ended, int) else 0
    except (Refused, Misconfigured) as error:
        warn(str(error))
        return 1
    except Stopped as stopped:
        warn(str(stopped))
        return _STOPPED
    except typer.TyperException as wrong:
        cast(_Shown, wrong).show()
        return _WRONG_USAGE
    except typer.Abort:
        warn("nothing was done")
        return 1
    except BrokenPipeError:
        return 0


def run() -> None:
    """`soma`, as the package installs it."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
