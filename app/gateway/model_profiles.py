"""Model profiles, for administrators: which models there are, what each is for, and whether it answers."""

from typing import Annotated, Any

from flask import Response
from pydantic import AwareDatetime, Field

from app.domain.profile_shelf import KeptProfile
from app.domain.profiles import DEFAULT_PROFILE, Profile
from app.domain.rate_limit import Rate, within_rate
from app.gateway.api import Answer, Area, Deleted, Query
from app.gateway.paging import cut, decode
from app.gateway.request_keys import REPEATABLE, key_of, repeatable
from app.gateway.room import actor, room
from app.services.keep_profiles import (
    Shown,
    add_profile,
    change_profile,
    note_on,
    open_profile,
    remove_profile,
    show_profile,
)
from app.services.profile_form import NewProfileForm, ProfileForm
from app.wiring.modelling import own_profile

model_profiles = Area("model profiles")
_TRIALS = Rate(20, 60.0)
_PATH = "/v1/model-profiles"
_ONE = f"{_PATH}/<name>"


class ProfileInfo(Answer):
    """One profile. Of its key only whether there is one, and how it ends; `note` says what a person should know."""

    name: str
    role: str
    deployment_mode: str
    base_url: str
    path: str
    model: str
    temperature: float
    context_tokens: int
    output_tokens: int
    extra: dict[str, Any]
    input_price: float
    output_price: float
    position: int
    enabled: bool
    has_key: bool
    key_ending: str
    note: str | None
    created_at: AwareDatetime | None
    updated_at: AwareDatetime | None


class ProfilesQuery(Query):
    """Which profiles."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    after: str = ""


class Profiles(Answer):
    """A page of profiles by name; `settings` is the one that `LLM_*` describe."""

    items: list[ProfileInfo]
    next_cursor: str | None
    settings: ProfileInfo | None


class TrialAnswer(Answer):
    """What came back; `detail` says it all in words. `tools`: used, taken (offered and not used) or refused."""

    ok: bool
    detail: str
    model: str | None
    said: str | None
    first_token_ms: int | None
    total_ms: int | None
    reports_usage: bool | None
    tools: str | None


@model_profiles.route("GET", _PATH, "Model profiles by name", query=ProfilesQuery, answer=Profiles, errors=(422, 503))
def list_profiles(query: ProfilesQuery) -> Profiles:
    """One page."""
    desk = room().serving.profile_desk
    (after,) = decode(query.after, str) or ("",)
    found = desk.shelf.page(after, query.limit + 1)
    page, cursor = cut(found, query.limit, lambda kept: (kept.profile.name,))
    items = [_info(Shown(kept, note_on(kept, desk.vault))) for kept in page]
    return Profiles(items=items, next_cursor=cursor, settings=_of_settings())


@model_profiles.route(
    "POST",
    _PATH,
    "Add a model profile; its key is sealed, and sent only to the host that it was saved for",
    body=NewProfileForm,
    answer=ProfileInfo,
    statuses=(201,),
    errors=(400, 409, 413, 415, 422, 503),
    headers=REPEATABLE,
)
def post_profile(body: NewProfileForm) -> Response:
    """Parse, keep, answer 201."""
    serving = room().serving
    shown = add_profile(body, key_of(body, serving.settings.soma_tenant_id), actor(), serving.profile_desk)
    return repeatable(_info(shown).model_dump(mode="json"), shown.replayed, 201)


@model_profiles.route("GET", _ONE, "One model profile", answer=ProfileInfo, errors=(404, 503))
def get_profile(name: str) -> ProfileInfo:
    """As it stands now."""
    return _info(show_profile(name, room().serving.profile_desk))


@model_profiles.route(
    "PUT",
    _ONE,
    "Change a model profile; without api_key its key stays, as long as the host does",
    body=ProfileForm,
    answer=ProfileInfo,
    errors=(400, 404, 413, 415, 422, 503),
)
def put_profile(name: str, body: ProfileForm) -> ProfileInfo:
    """As it stands then."""
    return _info(change_profile(name, body, actor(), room().serving.profile_desk))


@model_profiles.route("DELETE", _ONE, "Remove a model profile and its key", answer=Deleted, errors=(404, 503))
def delete_profile(name: str) -> Deleted:
    """For good."""
    remove_profile(name, actor(), room().serving.profile_desk)
    return Deleted(deleted=True)


@model_profiles.route(
    "POST",
    f"{_ONE}/test",
    "Ask this model one short question, and say what came back",
    answer=TrialAnswer,
    errors=(404, 422, 429, 503),
)
def test_profile(name: str) -> TrialAnswer:
    """Within half a minute, also when the model is away: that is an answer too."""
    serving = room().serving
    within_rate(serving.limiter, "model trial:anonymous", _TRIALS)
    return TrialAnswer.model_validate(serving.trials.run(_to_try(name)))


def _to_try(name: str) -> Profile:
    serving = room().serving
    own = own_profile(serving.settings)
    if own is not None and name == DEFAULT_PROFILE:
        return own
    return open_profile(name, serving.profile_desk)


def _of_settings() -> ProfileInfo | None:
    own = own_profile(room().serving.settings)
    return None if own is None else _info(Shown(KeptProfile(own, position=0)))


def _info(shown: Shown) -> ProfileInfo:
    kept = shown.kept
    profile, key = kept.profile, kept.key
    return ProfileInfo(
        name=profile.name,
        role=profile.role.value,
        deployment_mode=kept.deployment_mode,
        base_url=profile.base_url,
        path=profile.path,
        model=profile.model,
        temperature=profile.temperature,
        context_tokens=profile.context_tokens,
        output_tokens=profile.output_tokens,
        extra=dict(profile.extra),
        input_price=profile.input_price,
        output_price=profile.output_price,
        position=kept.position,
        enabled=kept.enabled,
        has_key=key is not None or bool(profile.key),
        key_ending=key.ending if key else "",
        note=shown.note,
        created_at=kept.created_at,
        updated_at=kept.updated_at,
    )
