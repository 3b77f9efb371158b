"""`python -m app.cli`: the parser, the printing and the exit status of the command line."""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from app.cli import commands
from app.cli.client import Client, Refused
from app.cli.progress import Stopped
from app.domain.desk import WorkName, WorkState
from app.settings import Misconfigured, settings

_STOPPED = 130
_WATCH_SECONDS = 2.0
_CLEAR = "\x1b[H\x1b[2J"


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 done, 1 refused, 2 asked wrongly, 130 stopped by Ctrl-C before it was done. Trouble is one
    sentence on the error stream. Watching is done whenever somebody has seen enough.
    """
    chosen = parser().parse_args(arguments)
    try:
        client = Client(chosen.gateway or settings().gateway_base)
        _run(chosen, client)
    except (Refused, Misconfigured) as error:
        sys.stderr.write(f"soma: {error}\n")
        return 1
    except Stopped as stopped:
        sys.stderr.write(f"soma: {stopped}\n")
        return _STOPPED
    except KeyboardInterrupt:
        return 0 if getattr(chosen, "watch", False) else _STOPPED
    except BrokenPipeError:
        return 0
    return 0


def _run(chosen: argparse.Namespace, client: Client) -> None:
    while True:
        lines = chosen.command(chosen, client, datetime.now(UTC))
        watching = getattr(chosen, "watch", False)
        sys.stdout.write((_CLEAR if watching else "") + "\n".join(lines) + "\n")
        sys.stdout.flush()
        if not watching:
            return
        time.sleep(_WATCH_SECONDS)


def parser() -> argparse.ArgumentParser:
    """Every command with its help."""
    root = argparse.ArgumentParser("soma", description="Look after a running SomaAgent01.")
    root.add_argument("--gateway", metavar="URL", help="where the gateway is (default: from the settings)")
    areas = root.add_subparsers(metavar="command", required=True)
    _work(areas.add_parser("work", help="everything that is owed or dead, and why"))
    _dlq(areas.add_parser("dlq", help="dead letters: records that could not be replicated"))
    return root


def _work(work: argparse.ArgumentParser) -> None:
    work.description = "Everything that is owed or dead: the dead first, then the oldest."
    work.set_defaults(command=commands.show_work)
    work.add_argument("--kind", choices=[str(kind) for kind in WorkName], help="only this kind")
    work.add_argument("--state", choices=[str(state) for state in WorkState], help="only rows that stand so")
    work.add_argument("--limit", type=int, default=50, help="how many rows (default: 50, at most 200)")
    work.add_argument("--watch", action="store_true", help="look again every two seconds, until Ctrl-C")
    deeds = work.add_subparsers(metavar="deed")
    for name, command, meaning in (
        ("retry", commands.retry_work, "try a row now; a dead memory or record gets another life"),
        ("discard", commands.discard_work, "put a dead row away for good"),
    ):
        deed = deeds.add_parser(name, help=meaning, description=meaning)
        deed.add_argument("work_kind", metavar="kind", help=", ".join(WorkName))
        deed.add_argument("id", help="as the list shows it")
        deed.set_defaults(command=command, watch=False)


def _dlq(dlq: argparse.ArgumentParser) -> None:
    dlq.description = "Dead letters by topic and reason."
    dlq.set_defaults(command=commands.show_topics)
    deeds = dlq.add_subparsers(metavar="deed")
    show = deeds.add_parser("show", help="the newest letters of a topic")
    show.add_argument("--limit", type=int, default=50, help="how many (default: 50, at most 200)")
    show.set_defaults(command=commands.show_letters)
    replay = deeds.add_parser("replay", help="send letters to their topic again")
    replay.add_argument("--id", dest="ids", type=int, action="append", metavar="ID", help="this letter (repeatable)")
    replay.add_argument("--patch", metavar="JSON", help="correct each record by this JSON merge patch")
    replay.add_argument("--dry-run", action="store_true", help="only say what would happen")
    replay.add_argument("--per-second", type=float, metavar="N", help="no more than so many in a second")
    replay.set_defaults(command=commands.replay)
    discard = deeds.add_parser("discard", help="put letters away for good")
    discard.set_defaults(command=commands.discard_letters)
    which = discard.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every open letter of the topic")
    for deed, options in ((show, show), (replay, replay), (discard, which)):
        deed.add_argument("topic", help="as the list shows it, for example memory.wal.dlq")
        options.add_argument("--fingerprint", help="only letters that failed for this reason")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
