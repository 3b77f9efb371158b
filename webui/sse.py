"""Reading and writing server-sent events, as far as our streams use them: id, data, comments."""

from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST_EVENT = 4_194_304


class BadStream(Exception):
    """What came is no stream of events."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; `data` is None for a comment, which only says that the other side is alive."""

    id: str = ""
    data: str | None = None


class Parser:
    """Bytes in as they come, whole events out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """The events that are complete now. `BadStream` when one grows beyond all measure."""
        *blocks, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
        if len(self._rest) > _LONGEST_EVENT:
            raise BadStream
        for block in blocks:
            event = _parse(block.decode("utf-8", "replace"))
            if event is not None:
                yield event


def _parse(block: str) -> ServerEvent | None:
    fields: dict[str, list[str]] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.removeprefix(" "))
    if "data" in fields:
        return ServerEvent(fields.get("id", [""])[-1], "\n".join(fields["data"]))
    return ServerEvent() if "" in fields else None


def write(event: ServerEvent) -> str:
    """The event as it stands on the line."""
    if event.data is None:
        return ":\n\n"
    place = f"id: {event.id}\n" if event.id else ""
    return f"{place}data: {event.data}\n\n"
