"""Model profiles in Postgres."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.acceptance import accept
from app.adapters.sql.audit import write_audit
from app.adapters.sql.engine import transaction
from app.adapters.sql.rows import as_json
from app.domain.audit import AuditEntry
from app.domain.conversation import Receipt, RequestKey
from app.domain.errors import Conflict
from app.domain.events import SessionEvent
from app.domain.profile_shelf import MOST_PROFILES, KeptProfile, SealedKey
from app.domain.profiles import Profile, ProfileRole

_OF_PROFILE = (
    "name", "base_url", "model", "path", "temperature", "context_tokens", "output_tokens", "extra", "input_price",
    "output_price",
)  # fmt: skip
_CHANGED = (
    "role", *_OF_PROFILE[1:], "deployment_mode", "position", "enabled", "key_sealed", "key_origin", "key_ending",
)  # fmt: skip
_PAGE = text("SELECT * FROM model_profiles WHERE name > :after ORDER BY name LIMIT :limit")
_FIND = text("SELECT * FROM model_profiles WHERE name = :name")
_HOLD = text("SELECT * FROM model_profiles WHERE name = :name FOR UPDATE")
_COUNT = text("SELECT count(*) FROM model_profiles")
_ADD = text(f"""
    INSERT INTO model_profiles (name, {", ".join(_CHANGED)})
    VALUES (:name, {", ".join(f":{column}" for column in _CHANGED)})
    ON CONFLICT DO NOTHING
""")  # noqa: S608
_CHANGE = text(f"""
    UPDATE model_profiles
    SET {", ".join(f"{column} = :{column}" for column in _CHANGED)}, updated_at = clock_timestamp()
    WHERE name = :name RETURNING *
""")  # noqa: S608
_REMOVE = text("DELETE FROM model_profiles WHERE name = :name")


class SqlProfileShelf:
    """`ProfileShelf` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, after: str, limit: int) -> Sequence[KeptProfile]:
        """In the order of their names."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_PAGE, {"after": after, "limit": limit}).mappings()
            return [_kept(row) for row in rows]

    def find(self, name: str) -> KeptProfile | None:
        """As it stands now."""
        with transaction(self._engine) as connection:
            row = connection.execute(_FIND, {"name": name}).mappings().one_or_none()
            return None if row is None else _kept(row)

    def add(self, kept: KeptProfile, key: RequestKey | None, entry: AuditEntry) -> Receipt:
        """Once."""
        receipt = Receipt("", kept.profile.name)
        found, _ = accept(self._engine, receipt, key, lambda connection: _add(connection, kept, entry))
        return found

    def change(
        self, name: str, deed: Callable[[KeptProfile], KeptProfile], entry: AuditEntry
    ) -> tuple[KeptProfile, KeptProfile] | None:
        """Under the row's lock."""
        with transaction(self._engine) as connection:
            row = connection.execute(_HOLD, {"name": name}).mappings().one_or_none()
            if row is None:
                return None
            before = _kept(row)
            after = connection.execute(_CHANGE, _values(deed(before))).mappings().one()
            write_audit(connection, entry)
            return before, _kept(after)

    def remove(self, name: str, entry: AuditEntry) -> bool:
        """Its key with it."""
        with transaction(self._engine) as connection:
            removed = bool(connection.execute(_REMOVE, {"name": name}).rowcount)
            if removed:
                write_audit(connection, entry)
            return removed


def _add(connection: Connection, kept: KeptProfile, entry: AuditEntry) -> Sequence[SessionEvent]:
    """A profile is no part of a session: nothing is shown there."""
    if connection.execute(_COUNT).scalar_one() >= MOST_PROFILES:
        raise Conflict(f"there are {MOST_PROFILES} model profiles already; delete one first")
    if not connection.execute(_ADD, _values(kept)).rowcount:
        raise Conflict(f"there is a model profile named {kept.profile.name} already; PUT changes it")
    write_audit(connection, entry)
    return ()


def _values(kept: KeptProfile) -> dict[str, Any]:
    profile, key = kept.profile, kept.key
    own = {column: getattr(profile, column) for column in _OF_PROFILE}
    return own | {
        "role": profile.role.value,
        "extra": as_json(dict(profile.extra)),
        "deployment_mode": kept.deployment_mode,
        "position": kept.position,
        "enabled": kept.enabled,
        "key_sealed": key and key.sealed,
        "key_origin": key and key.origin,
        "key_ending": key and key.ending,
    }


def _kept(row: RowMapping) -> KeptProfile:
    sealed = row["key_sealed"]
    key = None if sealed is None else SealedKey(bytes(sealed), row["key_origin"], row["key_ending"])
    profile = Profile(role=ProfileRole(row["role"]), **{column: row[column] for column in _OF_PROFILE})
    return KeptProfile(
        profile, row["deployment_mode"], row["position"], row["enabled"], key, row["created_at"], row["updated_at"]
    )
