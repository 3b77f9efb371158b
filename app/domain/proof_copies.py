"""What the stores hold, as copies that can be compared: records of the log, items of SomaBrain, payloads. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.domain.json_text import replace_unstorable
from app.domain.log import RawRecord
from app.domain.memory import Place, digest_of
from app.domain.proof import Copy, Store
from app.domain.proof_ports import BrainItem
from app.domain.wal import ReplicaRow, parse_all


def wal_copies(records: Iterable[RawRecord], now: float) -> tuple[list[Copy], int]:
    """The copies in these records of one partition, and how many records could not be read."""
    raw = list(records)
    rows, poison = parse_all(((record.offset, record.value) for record in raw), now)
    number = raw[0].partition.number if raw else 0
    return [_wal_copy(row, number) for row in rows], len(poison)


def _wal_copy(row: ReplicaRow, partition: int) -> Copy:
    return Copy(
        Store.WAL,
        row.event_id,
        Place(row.tenant, row.namespace, row.universe),
        digest=None if row.deleted else digest_of(row.payload),
        version=row.version,
        deleted=row.deleted,
        session_id=row.session_id or "",
        role=row.role or "",
        idempotency_key=text_in(row.payload, "idempotency_key"),
        named=text_in(row.payload, "id"),
        locator=f"{partition}:{row.offset}",
    )


def brain_copy(item: BrainItem, tenant: str, cursor: str) -> Copy:
    """`cursor` led to the page that the item stood on. What its value does not speak of is not compared."""
    value = item.value
    return Copy(
        Store.BRAIN,
        item.key,
        item.place,
        digest=digest_of(value),
        session_id=_said(value, "session_id"),
        role=_said(value, "role"),
        idempotency_key=text_in(value, "idempotency_key") or "",
        universe_inside=text_in(value, "universe"),
        named=text_in(value, "id"),
        locator=f"{tenant}\n{cursor}",
    )


def text_in(payload: Mapping[str, Any], name: str) -> str | None:
    """The text under this name, as Postgres can hold it; None where there is none."""
    found = payload.get(name)
    return replace_unstorable(found) if isinstance(found, str) else None


def _said(value: Mapping[str, Any], name: str) -> str | None:
    return (text_in(value, name) or "") if name in value else None
