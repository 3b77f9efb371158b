"""A TCP proxy that breaks one link on purpose: between any two processes that find each other by an address.

    with Proxy("127.0.0.1", postgres_port) as link:
        start_gateway(port=link.port)
        link.mode = Mode.BLACK_HOLE          # connections stay open, and nothing comes through them
        link.mode = Mode.PASS                # what was held flows on, as after a broken cable
        link.cut_at_commit()                 # the next COMMIT arrives, its answer does not

One thread serves all connections. Every method may be called from any thread and is in force when it returns.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, Self, TypeVar

from drills.commits import CommitCut
from drills.line import Line

T = TypeVar("T")

_PIECE_BYTES = 65_536
_BOUND_SECONDS = 5.0


class Mode(Enum):
    """What becomes of connections, the open ones and the new ones."""

    PASS = "pass"
    REFUSE = "refuse"
    """Nobody listens and open connections end, as when the server's process is gone."""
    BLACK_HOLE = "black-hole"
    """Connections are taken and stay open; nothing comes through, not even an end, until the mode changes."""
    RESET = "reset"
    """Open connections are reset, and new ones as soon as they are taken."""
    DELAY = "delay"
    """Each piece waits `delay_seconds`, in both directions."""
    DRIP = "drip"
    """Answers come one byte every `drip_seconds`."""


class Proxy:
    """Listens on loopback at `port` (any free one by default) and passes everything on to the target.

    `accepted` counts connections, `cuts` what `cut_at_bytes` and `cut_at_commit` have broken: a drill feels its fault.
    """

    def __init__(self, target_host: str, target_port: int, port: int = 0) -> None:
        self.port = port
        self.delay_seconds = 0.2
        self.drip_seconds = 0.2
        self.accepted = 0
        self.cuts = 0
        self._target = (target_host, target_port)
        self._mode = Mode.PASS
        self._longest_answer: int | None = None
        self._commits = CommitCut(0)
        self._lines: set[Line] = set()
        self._place = socket.socket()
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    # --- what a drill does

    def __enter__(self) -> Self:
        # A socket that is bound and does not listen keeps the port ours while connections are refused.
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind(("127.0.0.1", self.port))
        self.port = self._place.getsockname()[1]
        self._thread.start()
        self._ask(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._ask(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_BOUND_SECONDS)
        self._loop.close()
        self._place.close()

    @property
    def mode(self) -> Mode:
        """What happens to connections now."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._ask(self._enter(mode))

    @property
    def open_connections(self) -> int:
        """How many clients hold a connection now."""
        return len(self._lines)

    def cut_at_bytes(self, count: int | None) -> None:
        """From now on each connection ends when so many bytes of answers have passed; `None` ends that."""
        self._ask(self._limit(count))

    def cut_at_commit(self, times: int = 1, containing: bytes = b"", delivered: bool = True) -> None:
        """Reset the connection of the next `times` transactions at their COMMIT, once Postgres has done it (or, when
        not `delivered`, before it hears of it); only transactions with a statement that contains these bytes.
        """
        self._commits = CommitCut(times, containing, delivered)

    def drop_connections(self) -> None:
        """Reset every open connection; new ones are welcome."""
        self._ask(self._drop(Line.reset))

    # --- in the proxy's thread

    def _ask(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(_BOUND_SECONDS)

    async def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", self.port))
        self._server = await asyncio.start_server(self._serve, sock=listener, backlog=256)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._drop(Line.end)

    async def _enter(self, mode: Mode) -> None:
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode is Mode.REFUSE:
            await self._close()
        elif self._server is None:
            await self._listen()
        if mode is Mode.RESET:
            await self._drop(Line.reset)

    async def _limit(self, count: int | None) -> None:
        self._longest_answer = count
        for line in self._lines:
            line.answered = 0

    async def _drop(self, how: Callable[[Line], None]) -> None:
        tasks = [line.task for line in self._lines if line.task is not None]
        for line in list(self._lines):
            how(line)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        line = Line(client)
        self._lines.add(line)
        self.accepted += 1
        try:
            # Only `_drop` cancels, and has dealt with both sides; Python 3.11's own callback would print a traceback.
            with contextlib.suppress(asyncio.CancelledError):
                await self._carry(line, requests)
        except (OSError, TimeoutError):
            line.reset()
        finally:
            self._lines.discard(line)
            line.end()

    async def _carry(self, line: Line, requests: asyncio.StreamReader) -> None:
        if self._mode is Mode.RESET:
            line.reset()
            return
        await self._held()
        answers, line.server = await asyncio.wait_for(asyncio.open_connection(*self._target), _BOUND_SECONDS)
        pumps = [asyncio.create_task(self._forth(line, requests)), asyncio.create_task(self._back(line, answers))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _held(self) -> None:
        while self._mode is Mode.BLACK_HOLE:
            await self._changed.wait()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """The next piece when it may pass; empty at the end, which is held back like everything else."""
        piece = await reader.read(_PIECE_BYTES)
        if self._mode is Mode.DELAY:
            await asyncio.sleep(self.delay_seconds)
        await self._held()
        return piece

    async def _forth(self, line: Line, requests: asyncio.StreamReader) -> None:
        while (piece := await self._read(requests)) and line.server is not None:
            if self._commits.begins(line.transaction, piece) and not self._commits.delivered:
                self._cut(line)
                return
            line.server.write(piece)
            await line.server.drain()

    async def _back(self, line: Line, answers: asyncio.StreamReader) -> None:
        while piece := await self._read(answers):
            if line.transaction.is_cut:
                self._cut(line)
                return
            if self._longest_answer is not None and line.answered + len(piece) >= self._longest_answer:
                line.client.write(piece[: self._longest_answer - line.answered])
                self.cuts += 1
                return
            line.answered += len(piece)
            await self._write(line.client, piece)

    def _cut(self, line: Line) -> None:
        self.cuts += 1
        line.reset()

    async def _write(self, client: asyncio.StreamWriter, piece: bytes) -> None:
        passed = 0
        while self._mode is Mode.DRIP and passed < len(piece):
            client.write(piece[passed : passed + 1])
            passed += 1
            await asyncio.sleep(self.drip_seconds)
        client.write(piece[passed:])
        await client.drain()
