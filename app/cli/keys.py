"""`soma keys`: who may ask this gateway."""

from typing import Annotated, Any

import typer

from app.cli.client import Call, Client, Refused, below
from app.cli.seat import AsJson, client_of, examples, tell, warn
from app.cli.tables import table

keys = typer.Typer(
    name="keys",
    help="Keys of the gateway: list, create, revoke.",
    no_args_is_help=True,
    epilog=examples("soma keys list", "soma keys create backup --scope admin", "soma keys revoke k-1"),
)
PATH = "/v1/keys"
_ABSENT = 404
_FIELDS = ("id", "label", "scopes", "expires_at", "last_used_at")


@keys.command("list", epilog=examples("soma keys list", "soma keys list --json"))
def list_keys(context: typer.Context, as_json: AsJson = None) -> None:
    """Every key without its secret."""
    found = _keys(client_of(context))
    rows = [[_cell(key.get(name)) for name in _FIELDS] for key in found]
    tell(as_json, found, lambda _: table(_FIELDS, rows) if rows else ["There are no keys."])


@keys.command(epilog=examples("soma keys create backup --scope admin --scope memory --expires-at 2027-01-01T00:00:00Z"))
def create(
    context: typer.Context,
    label: Annotated[str, typer.Argument(help="what it is for")],
    scopes: Annotated[list[str] | None, typer.Option("--scope", help="what it may do (repeatable)")] = None,
    expires_at: Annotated[str | None, typer.Option(metavar="TIME", help="until when, ISO 8601")] = None,
    as_json: AsJson = None,
) -> None:
    """Make a key; its secret is shown this once."""
    body: dict[str, Any] = {"label": label}
    body |= {"scopes": scopes} if scopes else {}
    body |= {"expires_at": expires_at} if expires_at else {}
    try:
        made = client_of(context).insist(Call("POST", PATH, body=body))
    except Refused as error:
        raise _explained(error) from None
    tell(as_json, [made], lambda _: table(("field", "value"), [[name, _cell(made[name])] for name in made]))
    warn("the secret is kept nowhere: write it down now")


@keys.command(epilog=examples("soma keys revoke k-1"))
def revoke(
    context: typer.Context, id: Annotated[str, typer.Argument(metavar="ID", help="as the list shows it")]
) -> None:
    """End a key at once."""
    client = client_of(context)
    try:
        client.call("DELETE", below(PATH, id))
    except Refused as error:
        if error.status == _ABSENT:
            _keys(client)  # Says so where this gateway has no keys at all.
        raise
    warn(f"{id} is revoked")


def _keys(client: Client) -> list[dict[str, Any]]:
    try:
        found = client.call("GET", PATH)
    except Refused as error:
        raise _explained(error) from None
    return list(found.get("items") or found.get("keys") or []) if isinstance(found, dict) else list(found)


def _explained(error: Refused) -> Refused:
    return Refused("this gateway has no keys yet", _ABSENT) if error.status == _ABSENT else error


def _cell(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
