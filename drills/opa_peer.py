"""An OPA of the drill's own, that can be down, slow or talk nonsense; it says yes to whatever it is asked when well."""

import time
from enum import Enum
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from drills.http_peer import HttpPeer, QuietHandler

SLOW_SECONDS: Final = 6.0
_NONSENSE: Final = (b'{"result": "true"}', b"{}", b"<html>yes</html>", b'{"result": 1}', b'[{"result": true}]')


class Manner(Enum):
    """How it answers."""

    YES = "yes"
    SLOW = "slow"
    NONSENSE = "nonsense"


class OpaPeer:
    """Listens on loopback at `url` while entered and not `down`; `answered` counts what it said in each manner."""

    def __init__(self) -> None:
        self._peer = _Peer(0, self)
        self.url = self._peer.address
        self.manner = Manner.YES
        self.answered: dict[Manner, int] = dict.fromkeys(Manner, 0)

    def down(self) -> None:
        """Refuse every connection from now on."""
        self._peer.__exit__(None, None, None)

    def up(self) -> None:
        """Listen again, at the same address."""
        self._peer = _Peer(urlsplit(self.url).port or 0, self)
        self._peer.__enter__()

    def __enter__(self) -> Self:
        self._peer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._peer.__exit__(kind, error, trace)


class _Peer(HttpPeer):
    def __init__(self, port: int, opa: OpaPeer) -> None:
        super().__init__("opa", _Handler, port)
        self.opa = opa


class _Handler(QuietHandler):
    def get(self) -> None:
        self._say(b"{}")

    def post(self, _body: bytes) -> None:
        opa = self.server.peer.opa
        manner = opa.manner
        if manner is Manner.SLOW:
            time.sleep(SLOW_SECONDS)
        opa.answered[manner] += 1
        self._say(
            _NONSENSE[opa.answered[manner] % len(_NONSENSE)] if manner is Manner.NONSENSE else b'{"result": true}'
        )

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
