"""One connection that goes through a drill's proxy: both of its sides, and the two ways in which it ends."""

import asyncio
import contextlib
import socket
import struct

from drills.commits import Transaction

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Line:
    """One client's connection and ours to the server on its behalf."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.task = asyncio.current_task()
        self.answered = 0
        self.transaction = Transaction()

    def end(self) -> None:
        """Close both sides; what was written before still arrives."""
        for side in (self.client, self.server):
            if side is not None:
                side.close()

    def reset(self) -> None:
        """Break both sides off; what is under way is lost."""
        for side in (self.client, self.server):
            if side is not None:
                with contextlib.suppress(OSError):
                    side.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                side.transport.abort()
