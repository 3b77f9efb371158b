"""What the brain's tests stand on: its own database on the real Postgres, the service over real sockets, memories."""

import importlib
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from app.adapters.sql.engine import create_engine
from app.brain.app import create_app
from app.brain.embeddings import Model
from app.domain.memory import Memory, Place
from app.settings import read
from tests.own_database import EMPTY, a_database


def a_memory(event_id: str = "", place: Place | None = None, content: str = "hello", **payload: Any) -> Memory:
    """A user's memory with an id of its own; more payload fields by name."""
    key = event_id or str(uuid.uuid4())
    where = place or Place("t1", "wm", "u-1")
    return Memory(
        event_id=key,
        place=where,
        session_id="s-1",
        persona_id=None,
        role="user",
        payload={"id": key, "role": "user", "content": content, "metadata": {}, **payload},
        idempotency_key=f"{where.tenant}/{where.namespace}/s-1/user/2026-01-01T00:00:00Z/{key[:16]}",
    )


@contextmanager
def brain_database(dsn: str) -> Iterator[str]:
    """A fresh database that holds the brain's schema and nothing else; gone afterwards."""
    with a_database(dsn, EMPTY) as fresh:
        engine = create_engine(fresh, pool_size=1)
        with engine.begin() as connection:
            migrate(connection, "upgrade")
        engine.dispose()
        yield fresh


def migrate(connection: Connection, direction: str) -> None:
    """Run the brain's revisions up or down."""
    names = ("0002_brain", "0006_brain_vectors")
    with Operations.context(MigrationContext.configure(connection)):
        for name in names if direction == "upgrade" else reversed(names):
            getattr(importlib.import_module(f"migrations.versions.{name}"), direction)()


class ServedBrain:
    """The service on a port of its own that survives `stop` and `start`."""

    def __init__(self, dsn: str, model: Model | None = None, **variables: str) -> None:
        self._app = create_app(read({"POSTGRES_DSN": dsn, **variables}), model)
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", self._port, self._app, threaded=True, request_handler=_Quiet
        )
        self._port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def catch_up(self) -> int:
        """Give every memory its vector, as the process does in the background."""
        return int(self._app.extensions["brain_upkeep"].once())

    def close(self) -> None:
        self.stop()
        self._app.extensions["brain_upkeep"].close()
        self._app.extensions["brain"].engine.dispose()


class Cable:
    """A TCP line to a server that can be cut (connections reset, new ones refused) or frozen (nothing gets through)."""

    def __init__(self, host: str, port: int) -> None:
        self._far = (host, port)
        self._ends: list[socket.socket] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def freeze(self) -> None:
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._far)
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                self._flowing.wait()
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_RDWR)


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Quiet."""
