"""Small questions of the drill's own, asked without any driver that would try again by itself."""

import socket
import struct
from pathlib import Path

_METADATA_REQUEST = struct.pack(">ihhihi", 14, 3, 0, 1, -1, 0)


def kafka_is_silent(servers: str) -> bool:
    """Whether the broker does not answer a plain request within 2 s."""
    host, port = servers.split(",")[0].rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), 2.0) as link:
            link.sendall(_METADATA_REQUEST)
            return not link.recv(16)
    except OSError:
        return True


def said_since(log: Path, before: int) -> str:
    """What stands in this log after so many bytes."""
    with log.open("rb") as file:
        file.seek(before)
        return file.read().decode(errors="replace")
