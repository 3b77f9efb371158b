"""Secrets at rest, as a role: each sealed for exactly one use."""

from typing import Protocol

from app.domain.errors import Rejected


class Unreadable(Rejected):
    """A kept secret cannot be read: it was sealed with another GATEWAY_ENC_KEY, or for another use."""


class Vault(Protocol):
    """Seals secrets."""

    def seal(self, secret: str, bound_to: str) -> bytes:
        """The secret for exactly this use; `Rejected` where there is no key to seal with."""

    def open(self, sealed: bytes, bound_to: str) -> str:
        """What was sealed for this use; `Unreadable`."""
