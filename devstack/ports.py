"""Which port each part opens: fixed defaults, shifted as a block, or each chosen free."""

import random
import socket
import sys
from collections import deque
from collections.abc import Iterable, Mapping

from devstack.faults import CannotStart

DEFAULTS: Mapping[str, int] = {
    "postgres": 25432,
    "redis": 26379,
    "kafka": 29092,
    "kafka-controller": 29093,
    "model": 28080,
    "brain": 9696,
    "gateway": 20016,
    "webui": 20015,
    "flower": 5555,
    "worker-conversation": 20021,
    "worker-tools": 20022,
    "worker-delivery": 20023,
    "worker-replicator": 20024,
    "worker-conversation-2": 20025,
    "worker-delivery-2": 20026,
    "worker-replicator-2": 20027,
}
# Below the range from which outgoing connections take theirs: a restart must find its port as it left it.
_FREE_FROM, _FREE_TO = 10_000, 32_000
_DRAWN = 40 * len(DEFAULTS)


def shifted(offset: int) -> dict[str, int]:
    """The default ports, all shifted by the offset."""
    ports = {name: port + offset for name, port in DEFAULTS.items()}
    for name, port in ports.items():
        if not 1024 <= port <= 65535:
            raise CannotStart(f"PORT_OFFSET={offset} gives {name} the port {port}; choose an offset from 0 to 36000")
    return ports


def free() -> dict[str, int]:
    """A port for everybody that nobody listens on now."""
    dice = random.SystemRandom()
    candidates = dice.sample(range(_FREE_FROM, _FREE_TO), _DRAWN)
    found = (port for port in candidates if _is_ours(port) and not is_busy(port))
    return dict(zip(DEFAULTS, found, strict=False))


_claims: deque[socket.socket] = deque()
_MOST_CLAIMS = 4 * len(DEFAULTS)


def _is_ours(port: int) -> bool:
    """Whether no other stack that is about to start has chosen this port; from now on, and for a good while, we have.

    Nobody listens between the choice and the start, so the port itself does not tell. A name in Linux's abstract
    namespace does, and goes with its process; elsewhere luck has to do.
    """
    if sys.platform != "linux":
        return True
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0devstack port {port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    if len(_claims) > _MOST_CLAIMS:  # the oldest belong to stacks that listen by now, or have ended
        _claims.popleft().close()
    return True


def is_busy(port: int) -> bool:
    """True when somebody listens on this port, on loopback or everywhere."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def check(wanted: Iterable[tuple[str, int]]) -> None:
    """Refuse to start while another program holds a port that is wanted."""
    busy = [f"{port} ({name})" for name, port in wanted if is_busy(port)]
    if busy:
        noun = "port" if len(busy) == 1 else "ports"
        raise CannotStart(
            f"{noun} {', '.join(busy)} taken by another program; end it, or shift all ports: make run PORT_OFFSET=1000"
        )
