"""Secrets at rest: AES-GCM under a key derived from `GATEWAY_ENC_KEY`, each sealed for exactly one use."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.domain.errors import Rejected
from app.domain.vault import Unreadable

_NONCE_BYTES = 12
_UNREADABLE = "this was sealed with another GATEWAY_ENC_KEY, or for another use"


class KeyVault:
    """`Vault`; with an empty secret it can neither seal nor open."""

    def __init__(self, secret: str) -> None:
        self._cipher = AESGCM(_derived(secret)) if secret else None

    def seal(self, secret: str, bound_to: str) -> bytes:
        """Nonce and cipher text."""
        if self._cipher is None:
            raise Rejected("GATEWAY_ENC_KEY is not set, so no secret can be kept; set it, the same for every process")
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), bound_to.encode())

    def open(self, sealed: bytes, bound_to: str) -> str:
        """The secret."""
        if self._cipher is None:
            raise Unreadable(_UNREADABLE)
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode()).decode()
        except (InvalidTag, ValueError):
            raise Unreadable(_UNREADABLE) from None


def _derived(secret: str) -> bytes:
    """The setting is random already: it is spread over the length that the cipher wants, not stretched.

    What is sealed for one use is told apart from the next by what it is bound to.
    """
    return HKDF(SHA256(), 32, salt=None, info=b"soma model profile keys").derive(secret.encode())
