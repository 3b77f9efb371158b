"""Model profiles in and out of the shelf, their keys sealed on the way."""

from dataclasses import dataclass, replace

from app.domain.addresses import complaint_about_host
from app.domain.audit import Actor, AuditEntry
from app.domain.conversation import RequestKey
from app.domain.errors import NotFound, Rejected
from app.domain.profile_shelf import (
    KeptProfile,
    KeyUnreadable,
    ProfileShelf,
    SealedKey,
    key_use,
    opened,
    origin_of,
)
from app.domain.profiles import Profile
from app.domain.vault import Vault
from app.services.profile_form import NewProfileForm, ProfileForm, profile_in

_SHOWN = 4
_LEAST_HIDDEN = 8
_DROPPED = "The saved key was for another host and has been dropped; send api_key for the new one."


@dataclass(frozen=True, slots=True)
class ProfileDesk:
    """What keeping profiles needs."""

    shelf: ProfileShelf
    vault: Vault
    private_allowed: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A profile, and what a person should know about it."""

    kept: KeptProfile
    note: str | None = None
    replayed: bool = False


def add_profile(form: NewProfileForm, key: RequestKey | None, actor: Actor, desk: ProfileDesk) -> Shown:
    """Keep a new one; the same key again gives it as it stands now."""
    kept = _sealed(_checked(form.name, form, desk), form, None, desk.vault)
    receipt = desk.shelf.add(kept, key, _deed("add", kept, actor))
    return replace(show_profile(form.name, desk), replayed=receipt.replayed)


def change_profile(name: str, form: ProfileForm, actor: Actor, desk: ProfileDesk) -> Shown:
    """Put this in its place. A key stays where it is for the same place, and is dropped where it was for another."""
    wanted = _checked(name, form, desk)
    changed = desk.shelf.change(
        name, lambda old: _sealed(wanted, form, old.key, desk.vault), _deed("change", wanted, actor)
    )
    if changed is None:
        raise _unknown(name)
    before, after = changed
    dropped = before.key is not None and after.key is None and form.api_key is None
    return Shown(after, _DROPPED if dropped else note_on(after, desk.vault))


def show_profile(name: str, desk: ProfileDesk) -> Shown:
    """As it stands now; `NotFound`."""
    kept = desk.shelf.find(name)
    if kept is None:
        raise _unknown(name)
    return Shown(kept, note_on(kept, desk.vault))


def open_profile(name: str, desk: ProfileDesk) -> Profile:
    """With its key, ready to be asked; `NotFound`, or `KeyUnreadable`."""
    return opened(show_profile(name, desk).kept, desk.vault)


def remove_profile(name: str, actor: Actor, desk: ProfileDesk) -> None:
    """Forget it; turns that ask for it by name end with a reason."""
    if not desk.shelf.remove(name, AuditEntry(actor, "model_profile.remove", name)):
        raise _unknown(name)


def note_on(kept: KeptProfile, vault: Vault) -> str | None:
    """Why this profile cannot be used; None where it can."""
    try:
        opened(kept, vault)
    except KeyUnreadable as error:
        return f"This profile is not used: {error}."
    return None


def _checked(name: str, form: ProfileForm, desk: ProfileDesk) -> KeptProfile:
    kept = profile_in(name, form)
    host = origin_of(form.base_url).partition("://")[2].rpartition(":")[0]
    complaint = complaint_about_host(host, desk.private_allowed, "LLM_ALLOW_PRIVATE")
    if complaint is not None:
        raise Rejected(f"base_url cannot be used: {complaint}")
    return kept


def _sealed(kept: KeptProfile, form: ProfileForm, old: SealedKey | None, vault: Vault) -> KeptProfile:
    origin = origin_of(form.base_url)
    if form.api_key is None:
        return replace(kept, key=old if old is not None and old.origin == origin else None)
    secret = form.api_key.get_secret_value()
    if not secret:
        return kept
    ending = secret[-_SHOWN:] if len(secret) >= _SHOWN + _LEAST_HIDDEN else ""
    return replace(kept, key=SealedKey(vault.seal(secret, key_use(kept)), origin, ending))


def _deed(verb: str, kept: KeptProfile, actor: Actor) -> AuditEntry:
    profile = kept.profile
    detail = {"role": profile.role.value, "base_url": profile.base_url, "model": profile.model, "enabled": kept.enabled}
    return AuditEntry(actor, f"model_profile.{verb}", profile.name, detail)


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no model profile named {name}; GET /v1/model-profiles lists them")
