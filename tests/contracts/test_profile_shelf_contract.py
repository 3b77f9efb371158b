"""What every `ProfileShelf` promises, and what every `Roster` makes of one: in memory and in Postgres."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from app.adapters.key_vault import KeyVault
from app.adapters.sql.profile_shelf import SqlProfileShelf
from app.domain.audit import Actor, AuditEntry
from app.domain.conversation import RequestKey
from app.domain.errors import Conflict, KeyReused, ModelRefused, StoreUnavailable
from app.domain.profile_shelf import KeptProfile, ProfileShelf, SealedKey, key_use, origin_of
from app.domain.profiles import Profile, ProfileRole, ProfileWish
from app.services.know_profiles import KnownProfiles, Own
from tests.builders import an_id
from tests.fakes import FakeClock
from tests.fakes_profiles import InMemoryProfileShelf

VAULT = KeyVault("a secret of this installation")
OWN = Own(Profile("default", "http://own.test/v1"), "PROD")
TOY = Own(Profile("default", "http://own.test/v1", is_toy=True), "PROD")
TALK = ProfileWish(ProfileRole.DIALOGUE, "t-1")
STRONG = ProfileWish(ProfileRole.ESCALATION, "t-1")


@pytest.fixture(params=["memory", "postgres"])
def shelf(request: pytest.FixtureRequest) -> ProfileShelf:
    if request.param == "memory":
        return InMemoryProfileShelf()
    engine = request.getfixturevalue("engine")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM model_profiles"))
    return SqlProfileShelf(engine)


def entry(name: str) -> AuditEntry:
    return AuditEntry(Actor("somebody", "r-1"), "model_profile.add", name)


def kept(name: str, role: ProfileRole = ProfileRole.DIALOGUE, position: int = 10, **fields: object) -> KeptProfile:
    profile = Profile(name, "https://models.test/v1", "m-1", role, extra={"top_k": [1, None, {"x": "ü"}]})
    return KeptProfile(profile, position=position, **fields)  # type: ignore[arg-type]


def with_key(made: KeptProfile, vault: KeyVault = VAULT) -> KeptProfile:
    origin = origin_of(made.profile.base_url)
    return replace(made, key=SealedKey(vault.seal("sk-1", key_use(made)), origin, "sk-1"))


def put(shelf: ProfileShelf, *profiles: KeptProfile) -> None:
    for one in profiles:
        shelf.add(one, None, entry(one.profile.name))


def plain(found: KeptProfile | None) -> KeptProfile | None:
    """Without its times."""
    return found and replace(found, created_at=None, updated_at=None)


def roster(shelf: ProfileShelf, clock: FakeClock | None = None, own: Own = OWN) -> KnownProfiles:
    return KnownProfiles(shelf, VAULT, own, clock or FakeClock())


def names(found: KnownProfiles, wish: ProfileWish = TALK) -> list[str]:
    return [profile.name for profile in found.candidates(wish)]


def test_what_is_kept_is_found_again_as_it_was(shelf: ProfileShelf) -> None:
    made = with_key(kept("a", ProfileRole.UTILITY, -3, deployment_mode="DEV", enabled=False))

    put(shelf, made)

    found = shelf.find("a")
    assert plain(found) == made
    assert found is not None
    assert found.created_at is not None
    assert found.updated_at is not None
    assert shelf.find("b") is None


def test_pages_go_by_name(shelf: ProfileShelf) -> None:
    put(shelf, kept("c"), kept("a"), kept("b-1"), kept("b.1"))

    assert [one.profile.name for one in shelf.page("", 2)] == ["a", "b-1"]
    assert [one.profile.name for one in shelf.page("b-1", 9)] == ["b.1", "c"]


def test_a_name_is_taken_once(shelf: ProfileShelf) -> None:
    put(shelf, kept("a"))

    with pytest.raises(Conflict):
        put(shelf, kept("a", position=3))

    found = shelf.find("a")
    assert found is not None
    assert found.position == 10


def test_a_repeated_request_adds_nothing_and_says_so(shelf: ProfileShelf) -> None:
    key = RequestKey(an_id(), "t-1", "POST /v1/model-profiles", "anonymous", "digest")

    first, second = (shelf.add(kept("a"), key, entry("a")) for _ in range(2))

    assert (first.event_id, first.replayed, second.event_id, second.replayed) == ("a", False, "a", True)
    with pytest.raises(KeyReused):
        shelf.add(kept("b"), replace(key, body_digest="another"), entry("b"))
    assert shelf.find("b") is None


def test_a_change_sees_what_was_and_leaves_what_is(shelf: ProfileShelf) -> None:
    put(shelf, with_key(kept("a")))

    changed = shelf.change("a", lambda old: replace(old, position=old.position + 1, key=None), entry("a"))

    assert changed is not None
    before, after = changed
    assert (before.position, after.position, before.key is None, after.key is None) == (10, 11, False, True)
    assert shelf.find("a") == after
    assert shelf.change("b", lambda old: old, entry("b")) is None


def test_what_is_removed_is_gone_and_its_name_free(shelf: ProfileShelf) -> None:
    put(shelf, kept("a"))

    assert shelf.remove("a", entry("a"))
    assert not shelf.remove("a", entry("a"))
    put(shelf, kept("a"))


def test_every_deed_is_written_down_and_no_misdeed(shelf: ProfileShelf, request: pytest.FixtureRequest) -> None:
    name = an_id("p-").lower()
    put(shelf, kept(name))
    shelf.change(name, lambda old: old, entry(name))
    shelf.remove(name, entry(name))
    shelf.remove(name, entry(name))

    if isinstance(shelf, InMemoryProfileShelf):
        assert len(shelf.audit) == 3
        return
    with request.getfixturevalue("engine").connect() as connection:
        counted = connection.execute(text("SELECT count(*) FROM audit_events WHERE subject = :name"), {"name": name})
        assert counted.scalar_one() == 3


# ---- what a roster makes of it


def test_the_settings_profile_needs_no_row(shelf: ProfileShelf) -> None:
    assert names(roster(shelf)) == ["default"]
    assert names(roster(shelf), STRONG) == ["default"]


def test_profiles_are_tried_by_their_position(shelf: ProfileShelf) -> None:
    put(shelf, kept("b"), kept("a"), kept("first", position=-1), kept("strong", ProfileRole.ESCALATION))

    assert names(roster(shelf)) == ["first", "default", "a", "b"]


def test_behind_the_strong_ones_stand_those_for_everyday_talk(shelf: ProfileShelf) -> None:
    put(shelf, kept("a"), kept("strong", ProfileRole.ESCALATION, 50), kept("utility", ProfileRole.UTILITY))

    assert names(roster(shelf), STRONG) == ["strong", "default", "a"]


def test_what_is_off_or_meant_for_elsewhere_is_not_asked(shelf: ProfileShelf) -> None:
    put(shelf, kept("off", enabled=False), kept("dev", deployment_mode="DEV"), kept("prod", deployment_mode="PROD"))

    assert names(roster(shelf)) == ["default", "prod"]


def test_who_is_asked_for_by_name_stands_alone(shelf: ProfileShelf) -> None:
    put(shelf, with_key(kept("a")), kept("utility", ProfileRole.UTILITY))
    known = roster(shelf)

    for name in ("a", "default", "utility"):
        assert names(known, replace(TALK, name=name)) == [name]
    assert known.candidates(replace(TALK, name="a"))[0].key == "sk-1"


@pytest.mark.parametrize("name", ["nobody", "off"])
def test_who_is_not_there_is_said_to_be_not_there(shelf: ProfileShelf, name: str) -> None:
    put(shelf, kept("off", enabled=False))

    with pytest.raises(ModelRefused, match=f"no model profile named {name}"):
        roster(shelf).candidates(replace(TALK, name=name))


def test_a_key_of_another_secret_makes_a_profile_unusable_and_nothing_else(shelf: ProfileShelf) -> None:
    put(shelf, with_key(kept("a"), KeyVault("another secret")), kept("b"))
    known = roster(shelf)

    assert names(known) == ["default", "b"]
    with pytest.raises(ModelRefused, match="save the key again"):
        known.candidates(replace(TALK, name="a"))


def test_a_key_is_of_no_use_at_another_place(shelf: ProfileShelf) -> None:
    put(shelf, with_key(kept("a")))
    shelf.change(
        "a", lambda old: replace(old, profile=replace(old.profile, base_url="https://evil.test/v1")), entry("a")
    )

    with pytest.raises(ModelRefused, match="cannot be used"):
        roster(shelf).candidates(replace(TALK, name="a"))


def test_a_toy_answers_only_where_nobody_else_can_or_who_asks_for_it(shelf: ProfileShelf) -> None:
    assert names(roster(shelf, own=TOY)) == ["default"]

    put(shelf, kept("strong", ProfileRole.ESCALATION), kept("small", ProfileRole.UTILITY), kept("off", enabled=False))
    assert names(roster(shelf, own=TOY)) == ["default"]
    assert names(roster(shelf, own=TOY), STRONG) == ["strong"]

    put(shelf, kept("mine", position=99))
    assert names(roster(shelf, own=TOY)) == ["mine"]
    assert names(roster(shelf, own=TOY), replace(TALK, name="default")) == ["default"]


def test_a_toy_does_not_answer_in_place_of_a_model_whose_key_cannot_be_read(shelf: ProfileShelf) -> None:
    put(shelf, with_key(kept("strong", ProfileRole.ESCALATION), KeyVault("another secret")))
    assert names(roster(shelf, own=TOY)) == names(roster(shelf, own=TOY), STRONG) == ["default"]

    put(shelf, with_key(kept("mine"), KeyVault("another secret")))
    with pytest.raises(ModelRefused, match=r"The model profile mine cannot be used: .* save the key again"):
        roster(shelf, own=TOY).candidates(TALK)
    with pytest.raises(ModelRefused, match="The model profile mine"):
        roster(shelf, own=Own(None)).candidates(TALK)
    assert names(roster(shelf, own=TOY), replace(TALK, name="default")) == ["default"]
    assert names(roster(shelf)) == ["default"], "the settings' own model is no toy"


def test_without_any_profile_somebody_is_told_what_to_do(shelf: ProfileShelf) -> None:
    with pytest.raises(ModelRefused, match="LLM_BASE_URL"):
        roster(shelf, own=Own(None)).candidates(TALK)


def test_a_change_is_known_within_two_seconds_and_not_read_more_often(shelf: ProfileShelf) -> None:
    clock = FakeClock()
    known = roster(shelf, clock)
    assert names(known) == ["default"]
    put(shelf, kept("a"))

    assert names(known) == ["default"]
    clock.advance(2)
    assert names(known) == ["default", "a"]


def test_while_postgres_is_away_what_was_known_goes_on() -> None:
    shelf, clock = InMemoryProfileShelf(), FakeClock()
    known = roster(shelf, clock)
    put(shelf, kept("a"))
    assert names(known) == ["default", "a"]

    shelf.down = True
    clock.advance(60)

    assert names(known) == ["default", "a"]


def test_who_never_knew_anything_waits_for_postgres() -> None:
    with pytest.raises(StoreUnavailable):
        names(roster(InMemoryProfileShelf(down=True)))
