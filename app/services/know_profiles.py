"""Which model answers: the profiles that are kept, and the one of the settings, in the order in which they are tried.

They are read again every two seconds; while Postgres is away, what was known last goes on.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from app.domain.errors import ModelRefused, StoreUnavailable
from app.domain.ports import Clock
from app.domain.profile_shelf import MOST_PROFILES, KeptProfile, KeyUnreadable, ProfileShelf, opened
from app.domain.profiles import DEFAULT_PROFILE, Profile, ProfileRole, ProfileWish
from app.domain.vault import Vault

_FRESH_SECONDS = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Own:
    """The profile of the settings, if there is one, and what this installation is for."""

    profile: Profile | None
    deployment_mode: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    """A profile that may be used; `trouble` says why it cannot."""

    kept: KeptProfile
    trouble: str | None = None


class KnownProfiles:
    """`Roster` and `ModelNames`; safe for many threads."""

    def __init__(self, shelf: ProfileShelf, vault: Vault, own: Own, clock: Clock) -> None:
        self._shelf = shelf
        self._vault = vault
        self._own = own
        self._clock = clock
        self._known: Sequence[_Known] | None = None
        self._read_at = 0.0

    def candidates(self, wish: ProfileWish, /) -> Sequence[Profile]:
        """Who is wished by name stands alone: nobody is handed to a model that he did not choose. Else those of the
        role, and behind them those for everyday talk; a toy only where nobody else was ever meant to answer.
        """
        known = self._current()
        if wish.name:
            return (self._named(wish.name, known),)
        able = sorted((one.kept for one in known if one.trouble is None), key=_order)
        roles = dict.fromkeys((wish.role, ProfileRole.DIALOGUE))
        found = tuple(kept.profile for role in roles for kept in able if kept.profile.role is role)
        real = tuple(profile for profile in found if not profile.is_toy)
        if not real:
            _refuse_if_one_is_unusable(known)
        if not found:
            raise ModelRefused("There is no model that could answer; set LLM_BASE_URL, or add a model profile.")
        return real or found

    def known(self, _tenant: str, /) -> Mapping[str, str]:
        """Every profile by its name, and by its model's where no profile is called so: then the first that has it."""
        able = [one.kept for one in self._current() if one.trouble is None]
        profiles = [kept.profile for kept in sorted(able, key=_order)]
        by_model = {profile.model: profile.name for profile in reversed(profiles) if profile.model}
        return {DEFAULT_PROFILE: DEFAULT_PROFILE, **by_model, **{profile.name: profile.name for profile in profiles}}

    def _named(self, name: str, known: Iterable[_Known]) -> Profile:
        found = next((one for one in known if one.kept.profile.name == name), None)
        if found is None:
            raise ModelRefused(f"There is no model profile named {name[:100]}; GET /v1/model-profiles lists them.")
        if found.trouble is not None:
            raise _unusable(found)
        return found.kept.profile

    def _current(self) -> Sequence[_Known]:
        if self._known is not None and self._clock.monotonic() < self._read_at + _FRESH_SECONDS:
            return self._known
        # One reads, the others go on with what was known.
        self._read_at = self._clock.monotonic()
        try:
            found = self._shelf.page("", MOST_PROFILES)
        except StoreUnavailable as error:
            if self._known is None:
                raise
            _log.warning("model profiles cannot be read: %s", error)
            return self._known
        own = [_Known(KeptProfile(self._own.profile, position=0))] if self._own.profile else []
        self._known = own + [self._opened(kept) for kept in found if self._is_meant(kept)]
        return self._known

    def _is_meant(self, kept: KeptProfile) -> bool:
        return kept.enabled and kept.deployment_mode in ("", self._own.deployment_mode)

    def _opened(self, kept: KeptProfile) -> _Known:
        try:
            return _Known(replace(kept, profile=opened(kept, self._vault)))
        except KeyUnreadable as error:
            return _Known(kept, str(error))


def _order(kept: KeptProfile) -> tuple[int, str]:
    return kept.position, kept.profile.name


def _refuse_if_one_is_unusable(known: Iterable[_Known]) -> None:
    """Who added a model is told what is wrong with it; a toy's words in its place would tell nothing."""
    for one in sorted(known, key=lambda one: _order(one.kept)):
        if one.trouble is not None and one.kept.profile.role is ProfileRole.DIALOGUE:
            raise _unusable(one)


def _unusable(one: _Known) -> ModelRefused:
    return ModelRefused(f"The model profile {one.kept.profile.name} cannot be used: {one.trouble}.")
