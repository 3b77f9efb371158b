"""The filters that several commands share: each keeps only memories for which it holds."""

from typing import Annotated

import typer

from app.domain.shapes.found import moment

OfTenant = Annotated[str | None, typer.Option("--tenant", help="of this tenant")]
OfSession = Annotated[str | None, typer.Option("--session", help="of this session")]
OfPersona = Annotated[str | None, typer.Option("--persona", help="of this persona")]
OfRole = Annotated[str | None, typer.Option("--role", help="of this role: user, assistant, tool, system")]
OfUniverse = Annotated[str | None, typer.Option("--universe", help="of this universe")]
InNamespace = Annotated[str | None, typer.Option("--namespace", help="in this namespace")]
Words = Annotated[str | None, typer.Option("--q", help="with all these words")]
After = Annotated[str | None, typer.Option("--after", metavar="CURSOR", help="go on where the last page ended")]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="not older: 2026-01-31T12:00Z, or seconds")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="not newer")]


def seconds_of(time: str | None) -> float | None:
    """Epoch seconds of a time as people write it: ISO 8601 (UTC where it names no zone) or the seconds themselves."""
    if time is None:
        return None
    try:
        return float(time)
    except ValueError:
        told = moment(time)
    if told is None:
        raise typer.BadParameter(f"{time} is no time; examples: 2026-01-31T12:00Z, 1769860800")
    return told.timestamp()
