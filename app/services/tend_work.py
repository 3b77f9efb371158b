"""What a person does to one row at the desk: have it tried again now, or put it away for good."""

from dataclasses import dataclass

from app.domain.audit import Actor, AuditEntry
from app.domain.desk import Retry, WorkItem, WorkName, check_discard, way_to_retry
from app.domain.desk_ports import WorkDesk
from app.domain.errors import Conflict, NotFound
from app.domain.ports import Doorbell
from app.routing import TaskName

_ONE_BY_ONE = {
    WorkName.TURN: TaskName.RESPOND,
    WorkName.TOOL_CALL: TaskName.EXECUTE_TOOL,
    WorkName.EXPORT: TaskName.EXPORT,
}
_DRAINS = {
    WorkName.MEMORY: TaskName.SYNC_MEMORIES,
    WorkName.RECORD: TaskName.DRAIN_OUTBOX,
    WorkName.WEBHOOK: TaskName.DELIVER_WEBHOOKS,
}


@dataclass(frozen=True, slots=True)
class Tending:
    """What tending needs."""

    desk: WorkDesk
    doorbell: Doorbell


def retry_work(kind: str, key: str, tending: Tending, actor: Actor) -> WorkItem:
    """Have this row tried now, a dead one with new lives; `Conflict` says why not. The row as it stands then."""
    name, item = _find(kind, key, tending)
    way = way_to_retry(item)
    change = tending.desk.hurry if way is Retry.HURRY else tending.desk.revive
    entry = AuditEntry(actor, "work.retry", f"{kind}/{key}", {"was": item.state, "reason": item.reason})
    changed = _changed(change(name, key, entry), name, key, tending)
    if name in _ONE_BY_ONE:
        tending.doorbell.ring(_ONE_BY_ONE[name], key)
    else:
        tending.doorbell.ring(_DRAINS[name])
    return changed


def discard_work(kind: str, key: str, tending: Tending, actor: Actor) -> WorkItem:
    """Put this dead row away; `Conflict` when it is not dead. The row as it stands then."""
    name, item = _find(kind, key, tending)
    check_discard(item)
    entry = AuditEntry(actor, "work.discard", f"{kind}/{key}", {"reason": item.reason})
    return _changed(tending.desk.discard(name, key, entry), name, key, tending)


def _find(kind: str, key: str, tending: Tending) -> tuple[WorkName, WorkItem]:
    if kind not in set(WorkName):
        raise NotFound(f"there is no such kind of work; it is one of {', '.join(WorkName)}")
    name = WorkName(kind)
    item = tending.desk.item(name, key)
    if item is None:
        raise NotFound(f"there is no such {kind}")
    return name, item


def _changed(done: bool, name: WorkName, key: str, tending: Tending) -> WorkItem:
    item = tending.desk.item(name, key)
    if not done or item is None:
        raise Conflict(f"this {name} has just been changed by somebody else; look at it again")
    return item
