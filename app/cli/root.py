"""The tree of commands."""

from typing import Annotated

import typer

from app.cli.dead_letters import dlq
from app.cli.drill import drill
from app.cli.keys import keys
from app.cli.memory import memory, recall
from app.cli.seat import Seat, examples
from app.cli.speech import send
from app.cli.work import work

root = typer.Typer(
    name="soma",
    help="Talk to a running SomaAgent01 and look after it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        'soma send "What is my name?"',
        "soma memory import chats.json --format openwebui",
        "soma work --state dead",
        "SOMA_GATEWAY_URL=http://127.0.0.1:21016 SOMA_KEY=sk-... soma work",
    ),
)
root.command(
    epilog=examples('soma send "My name is Ada."', 'soma send "And yours?" --session s-1', "soma send - < a.txt")
)(send)
root.command(epilog=examples('soma recall "what is my name?"', "soma recall tea --tenant t1 --top-k 20 --json"))(recall)
root.add_typer(memory)
root.add_typer(work)
root.add_typer(dlq)
root.add_typer(keys)
root.command(
    epilog=examples("soma drill outage", "soma drill campaign --fault F12"),
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True},
)(drill)


@root.callback()
def begin(
    context: typer.Context,
    gateway: Annotated[
        str,
        typer.Option(metavar="URL", help="where the gateway is (else SOMA_GATEWAY_URL, else this machine)"),
    ] = "",
) -> None:
    """Talk to a running SomaAgent01 and look after it."""
    context.obj = Seat(gateway)
