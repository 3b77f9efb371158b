"""Secrets at rest."""

import pytest

from app.adapters.key_vault import KeyVault
from app.domain.errors import Rejected
from app.domain.vault import Unreadable

VAULT = KeyVault("0123456789abcdef")


def test_what_is_sealed_is_opened_again() -> None:
    assert VAULT.open(VAULT.seal("sk-ü", "p-1"), "p-1") == "sk-ü"


def test_nothing_of_a_secret_shows_and_no_two_seals_are_alike() -> None:
    one, other = VAULT.seal("sk-secret", "p-1"), VAULT.seal("sk-secret", "p-1")

    assert one != other
    assert b"secret" not in one


@pytest.mark.parametrize("sealed", [b"", b"x", b"x" * 12, b"x" * 40])
def test_what_is_no_seal_is_unreadable(sealed: bytes) -> None:
    with pytest.raises(Unreadable):
        VAULT.open(sealed, "p-1")


def test_every_changed_byte_is_noticed() -> None:
    sealed = VAULT.seal("sk-1", "p-1")
    for place in range(len(sealed)):
        with pytest.raises(Unreadable):
            VAULT.open(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], "p-1")


def test_another_use_or_another_secret_opens_nothing() -> None:
    sealed = VAULT.seal("sk-1", "p-1")

    with pytest.raises(Unreadable):
        VAULT.open(sealed, "p-2")
    with pytest.raises(Unreadable, match="another GATEWAY_ENC_KEY"):
        KeyVault("another").open(sealed, "p-1")


def test_without_a_secret_nothing_is_kept_and_nothing_crashes() -> None:
    with pytest.raises(Rejected, match="GATEWAY_ENC_KEY is not set"):
        KeyVault("").seal("sk-1", "p-1")
    with pytest.raises(Unreadable):
        KeyVault("").open(VAULT.seal("sk-1", "p-1"), "p-1")
