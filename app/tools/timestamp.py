"""`timestamp`: the time, where the tools run."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated

from pydantic import Field

from app.domain.tools import Effect
from app.tools.built_in import Arguments, BuiltInTool


class TimestampArguments(Arguments):
    """Whose clock."""

    offset_minutes: Annotated[int, Field(ge=-720, le=840, description="Minutes ahead of UTC")] = 0


def timestamp(arguments: TimestampArguments) -> dict[str, str | float]:
    """Now, in that zone and as seconds since the epoch."""
    now = datetime.now(UTC)
    there = now.astimezone(timezone(timedelta(minutes=arguments.offset_minutes)))
    return {"time": there.isoformat(timespec="seconds"), "epoch_seconds": round(now.timestamp(), 3)}


TOOLS = (BuiltInTool("timestamp", "Tells the date and the time.", Effect.READ, TimestampArguments, timestamp),)
