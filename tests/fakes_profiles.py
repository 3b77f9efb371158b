"""Model profiles in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from app.adapters.key_vault import KeyVault
from app.domain.audit import AuditEntry
from app.domain.conversation import Receipt, RequestKey
from app.domain.errors import Conflict, KeyReused, StoreUnavailable
from app.domain.profile_shelf import MOST_PROFILES, KeptProfile
from app.domain.profiles import Profile
from app.services.know_profiles import KnownProfiles, Own
from tests.fakes_parts import FakeClock


@dataclass
class InMemoryProfileShelf:
    """`ProfileShelf`; `down` makes it unavailable."""

    down: bool = False
    reads: int = 0
    audit: list[AuditEntry] = field(default_factory=list)
    _kept: dict[str, KeptProfile] = field(default_factory=dict)
    _keys: dict[tuple[str, str, str, str], tuple[str, Receipt]] = field(default_factory=dict)

    def put(self, *kept: KeptProfile) -> None:
        """Have these, as if they had been added."""
        self._kept |= {one.profile.name: one for one in kept}

    def page(self, after: str, limit: int) -> Sequence[KeptProfile]:
        self.reads += 1
        self._check()
        return [self._kept[name] for name in sorted(self._kept) if name > after][:limit]

    def find(self, name: str) -> KeptProfile | None:
        self._check()
        return self._kept.get(name)

    def add(self, kept: KeptProfile, key: RequestKey | None, entry: AuditEntry) -> Receipt:
        self._check()
        scope = (key.tenant, key.route, key.principal, key.key) if key else None
        if scope in self._keys and key is not None:
            digest, receipt = self._keys[scope]
            if digest != key.body_digest:
                raise KeyReused("this Idempotency-Key was used with another body; use a new key for a new request")
            return replace(receipt, replayed=True)
        if kept.profile.name in self._kept or len(self._kept) >= MOST_PROFILES:
            raise Conflict("there is one already, or too many")
        now = datetime.now(UTC)
        self._kept[kept.profile.name] = replace(kept, created_at=now, updated_at=now)
        self.audit.append(entry)
        receipt = Receipt("", kept.profile.name)
        if scope is not None and key is not None:
            self._keys[scope] = key.body_digest, receipt
        return receipt

    def change(
        self, name: str, deed: Callable[[KeptProfile], KeptProfile], entry: AuditEntry
    ) -> tuple[KeptProfile, KeptProfile] | None:
        self._check()
        before = self._kept.get(name)
        if before is None:
            return None
        after = replace(deed(before), created_at=before.created_at, updated_at=datetime.now(UTC))
        self._kept[name] = after
        self.audit.append(entry)
        return before, after

    def remove(self, name: str, entry: AuditEntry) -> bool:
        self._check()
        if self._kept.pop(name, None) is None:
            return False
        self.audit.append(entry)
        return True

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("Postgres is not answering")


def a_roster(own: Profile, *profiles: Profile) -> KnownProfiles:
    """The endpoint of the settings and the profiles that were added."""
    shelf = InMemoryProfileShelf()
    shelf.put(*(KeptProfile(profile) for profile in profiles))
    return KnownProfiles(shelf, KeyVault(""), Own(own), FakeClock())
