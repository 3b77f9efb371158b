"""Where the gateway is and who asks: from the option, else from the environment, else this machine.

These are a client's variables, not settings of a server: the command line may run where no server does.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from app.cli.client import Client, Refused
from app.settings import settings


def client_for(gateway: str, environment: Mapping[str, str] | None = None) -> Client:
    """A client of `gateway`, of SOMA_GATEWAY_URL, or of the gateway whose port the settings name; key: SOMA_KEY."""
    known = os.environ if environment is None else environment
    base = gateway or known.get("SOMA_GATEWAY_URL", "") or settings().gateway_base
    return Client(base, _key(known))


def _key(known: Mapping[str, str]) -> str:
    path = known.get("SOMA_KEY_FILE", "")
    try:
        key = Path(path).read_text(encoding="utf-8").strip() if path else known.get("SOMA_KEY", "").strip()
    except (OSError, UnicodeDecodeError):
        raise Refused(f"SOMA_KEY_FILE names {path}, which cannot be read as text") from None
    if not (key.isascii() and key.isprintable()):
        raise Refused("SOMA_KEY holds signs that no key has; copy it again")
    return key
