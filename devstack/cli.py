"""The command line of the launcher: `run`, and the commands that speak to a running one."""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.settings import Misconfigured, Settings, read
from devstack import control, dotenv, logs, place
from devstack.faults import CannotStart
from devstack.foreground import Foreground

_STOP_SECONDS = 25.0
_ACTIONS = {
    "kill": "SIGKILL a part's whole tree; it comes back by itself",
    "freeze": "stop a part's whole tree in its tracks (SIGSTOP)",
    "thaw": "let a frozen part go on (SIGCONT)",
    "restart": "end a part and start it again",
    "down": "end a part and keep it down",
    "up": "start a part that is down",
}


def main(arguments: Sequence[str]) -> int:
    """The exit status; what goes wrong is one line on the error stream."""
    chosen = _parser().parse_args(arguments)
    try:
        return _dispatch(chosen)
    except (CannotStart, Misconfigured) as error:
        sys.stderr.write(f"devstack: {error}\n")
        return 1


def _dispatch(chosen: argparse.Namespace) -> int:
    data_dir = _data_dir(chosen)
    match chosen.command:
        case "run":
            return _run(chosen, data_dir)
        case "status":
            return _status(data_dir)
        case "logs":
            return logs.show(data_dir, chosen.name, chosen.lines, chosen.follow)
        case "stop":
            return _stop(data_dir)
        case action:
            control.ask(data_dir, action, chosen.name)
            return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m devstack", description="every server and process on this machine")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data-dir", type=Path, help="where the stack keeps its data (default: var)")
    shared.add_argument(
        "--port-offset", help="shift all ports, or `free` for any free ones (default: PORT_OFFSET or 0)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", parents=[shared], help="start everything and stay in the foreground")
    run.add_argument("--only", type=_names, default=None, metavar="A,B", help="start these parts and no others")
    run.add_argument("--env-file", type=Path, default=place.ROOT / ".env", help="settings (default: .env, if there)")
    run.add_argument("--end-with-parent", action="store_true", help="end when the process that started this one ends")
    commands.add_parser("status", parents=[shared], help="every part: state, pid, restarts, memory")
    commands.add_parser("stop", parents=[shared], help="end the running stack")
    show = commands.add_parser("logs", parents=[shared], help="what a part printed")
    show.add_argument("name")
    show.add_argument("-n", "--lines", type=int, default=100)
    show.add_argument("-f", "--follow", action="store_true")
    for action, meaning in _ACTIONS.items():
        commands.add_parser(action, parents=[shared], help=meaning).add_argument("name")
    return parser


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


def _offset(chosen: argparse.Namespace) -> int | None:
    """By how much the ports are shifted; `None` lets each be any free one."""
    text = chosen.port_offset or os.environ.get("PORT_OFFSET") or "0"
    if text == "free":
        return None
    try:
        return int(text)
    except ValueError:
        raise CannotStart(f"PORT_OFFSET={text} is not a number; example: PORT_OFFSET=1000") from None


def _data_dir(chosen: argparse.Namespace) -> Path:
    """A stack on shifted ports has data of its own, so that both can run side by side."""
    if chosen.data_dir is not None:
        return Path(chosen.data_dir).resolve()
    offset = _offset(chosen)
    return place.ROOT / "var" if offset == 0 else place.ROOT / "var" / f"stack-{offset or 'free'}"


def given_settings(environment: Mapping[str, str], env_file: Path) -> dict[str, str]:
    """What a person has set: `.env` in the project's folder, and above it the environment."""
    known = {name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    given = dotenv.read(env_file)
    given |= {name: value for name, value in environment.items() if name in known}
    read(given)
    return given


def _run(chosen: argparse.Namespace, data_dir: Path) -> int:
    given = given_settings(os.environ, chosen.env_file)
    foreground = Foreground(data_dir, _offset(chosen), chosen.only, given)
    return foreground.run(chosen.end_with_parent)


def _status(data_dir: Path) -> int:
    parts = control.ask(data_dir, "status")["parts"]
    sys.stdout.write(f"{'part':<20} {'state':<11} {'pid':>8} {'restarts':>8} {'MB':>6}  last trouble\n")
    for name, part in parts.items():
        megabytes = part["rss_bytes"] // 1024**2
        row = f"{name:<20} {part['state']:<11} {part['pid']:>8} {part['restarts']:>8} {megabytes:>6}  {part['reason']}"
        sys.stdout.write(row.rstrip() + "\n")
    total = sum(part["rss_bytes"] for part in parts.values()) // 1024**2
    sys.stdout.write(f"{'sum':<20} {'':<11} {'':>8} {'':>8} {total:>6}\n")
    return 0


def _stop(data_dir: Path) -> int:
    control.ask(data_dir, "stop")
    until = time.monotonic() + _STOP_SECONDS
    while place.is_locked(data_dir):
        if time.monotonic() > until:
            raise CannotStart(f"the stack on {data_dir} has not ended after {_STOP_SECONDS:.0f} s")
        time.sleep(0.1)
    return 0
