"""Model profiles as they are kept: with their keys sealed, each for one place, and with the order of falling back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit

from app.domain.audit import AuditEntry
from app.domain.conversation import Receipt, RequestKey
from app.domain.errors import Rejected
from app.domain.profiles import Profile
from app.domain.vault import Unreadable, Vault

MOST_PROFILES = 500
_USUAL_PORTS = {"http": 80, "https": 443}
_UNREADABLE = "the saved key of this model profile cannot be read with this GATEWAY_ENC_KEY; save the key again"


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A key that only the vault can read, for one profile at one origin; `ending` is what people may see of it."""

    sealed: bytes = field(repr=False)
    origin: str
    ending: str


@dataclass(frozen=True, slots=True)
class KeptProfile:
    """One row; `profile` is without its key. An empty `deployment_mode` means every one; low positions go first."""

    profile: Profile
    deployment_mode: str = ""
    position: int = 10
    enabled: bool = True
    key: SealedKey | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class KeyUnreadable(Rejected):
    """A kept key cannot be read: it was sealed with another GATEWAY_ENC_KEY, or for another place."""


class ProfileShelf(Protocol):
    """Keeps profiles."""

    def page(self, after: str, limit: int) -> Sequence[KeptProfile]:
        """Profiles by name, behind this one."""

    def find(self, name: str) -> KeptProfile | None:
        """The one of this name."""

    def add(self, kept: KeptProfile, key: RequestKey | None, entry: AuditEntry) -> Receipt:
        """Keep a new one; `Conflict` where the name is taken or there are too many."""

    def change(
        self, name: str, deed: Callable[[KeptProfile], KeptProfile], entry: AuditEntry
    ) -> tuple[KeptProfile, KeptProfile] | None:
        """Put what `deed` makes of it in its place; what was and what is, None where there is none."""

    def remove(self, name: str, entry: AuditEntry) -> bool:
        """Forget it; whether there was one."""


def origin_of(base_url: str) -> str:
    """Scheme, host and port of an address, in one spelling: the place for which a key is kept."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{(parts.hostname or '').rstrip('.')}:{parts.port or _USUAL_PORTS.get(parts.scheme, 0)}"


def key_use(kept: KeptProfile) -> str:
    """What a profile's key is bound to: it is of no use under another name or for another place."""
    return f"model key\n{kept.profile.name}\n{origin_of(kept.profile.base_url)}"


def opened(kept: KeptProfile, vault: Vault) -> Profile:
    """The profile with its key; `KeyUnreadable` says in a sentence what to do."""
    if kept.key is None:
        return kept.profile
    try:
        return replace(kept.profile, key=vault.open(kept.key.sealed, key_use(kept)))
    except Unreadable:
        raise KeyUnreadable(_UNREADABLE) from None
