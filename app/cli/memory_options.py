"""The filters that several commands share: each keeps only memories for which it holds."""

from typing import Annotated

import typer

OfTenant = Annotated[str | None, typer.Option("--tenant", help="of this tenant")]
OfSession = Annotated[str | None, typer.Option("--session", help="of this session")]
OfPersona = Annotated[str | None, typer.Option("--persona", help="of this persona")]
OfRole = Annotated[str | None, typer.Option("--role", help="of this role: user, assistant, tool, system")]
OfUniverse = Annotated[str | None, typer.Option("--universe", help="of this universe")]
InNamespace = Annotated[str | None, typer.Option("--namespace", help="in this namespace")]
Words = Annotated[str | None, typer.Option("--q", help="with all these words")]
After = Annotated[str | None, typer.Option("--after", metavar="CURSOR", help="go on where the last page ended")]
