"""Rebuilding the replica, and a SomaBrain, from the log, for administrators: begin, look, stop."""

from typing import Any

from flask import Response, jsonify
from pydantic import AwareDatetime, BaseModel, ConfigDict

from app.domain.audit import AuditEntry
from app.domain.errors import Conflict, NotFound
from app.domain.rebuild import Comparison, Rebuild, RebuildKind, RebuildState
from app.gateway.api import Answer, Area
from app.gateway.room import actor, room
from app.routing import TaskName

rebuild = Area("rebuild")
_STATUS = {RebuildState.READING: "running", RebuildState.REMEMBERING: "running"}
_STAGE = {
    RebuildState.QUEUED: "waiting for the replicator",
    RebuildState.READING: "reading the log",
    RebuildState.REMEMBERING: "remembering",
}


class RebuildBody(BaseModel):
    """What to rebuild: the replica, or the replica and then the memories of an (empty) SomaBrain."""

    model_config = ConfigDict(title="NewRebuild", extra="forbid", frozen=True)

    kind: RebuildKind = RebuildKind.REPLICA


class Progress(Answer):
    """How far it is: records of the log, then memories."""

    stage: str
    done: int
    total: int


class Table(Answer):
    """What a table said, in whatever order."""

    rows: int
    digest: str


class Compared(Answer):
    """The replica as it was beside the log, at the same place; where they were equal, nothing was wrong."""

    equal: bool
    replica: Table
    log: Table
    only_in_replica: int
    only_in_log: int
    differing: int
    examples: list[str]


class RebuildAnswer(Answer):
    """One rebuild; `started` is false where it is one that was under way before this request."""

    id: str
    kind: RebuildKind
    status: str
    started: bool | None = None
    progress: Progress
    poison: int
    comparison: Compared | None
    remembered: int
    refused: int
    error: str | None
    created_at: AwareDatetime
    finished_at: AwareDatetime | None


@rebuild.route(
    "POST",
    "/v1/admin/memory/rebuild",
    "Rebuild the replica from the log while it serves, and a SomaBrain from that; one at a time",
    body=RebuildBody,
    body_optional=True,
    answer=RebuildAnswer,
    statuses=(202,),
    errors=(400, 409, 413, 415, 422, 503),
)
def start_rebuild(body: RebuildBody) -> Response:
    """Ask for it; the replicator does it."""
    serving = room().serving
    entry = AuditEntry(actor(), "rebuild.start", body.kind.value)
    found, started = serving.rebuild_desk.start(body.kind, entry)
    if found.kind is not body.kind:
        raise Conflict(
            f"a rebuild of the {found.kind.value} is under way, its id is {found.id}; wait for it or cancel it"
        )
    serving.doorbell.ring(TaskName.REBUILD_WAL)
    return _present(found, 202, started=started)


@rebuild.route(
    "GET", "/v1/admin/memory/rebuild/<rebuild_id>", "How far a rebuild is", answer=RebuildAnswer, errors=(404, 503)
)
def show_rebuild(rebuild_id: str) -> Response:
    """As it stands."""
    found = room().serving.rebuild_desk.find(rebuild_id)
    if found is None:
        raise NotFound("there is no such rebuild")
    return _present(found)


@rebuild.route(
    "DELETE",
    "/v1/admin/memory/rebuild/<rebuild_id>",
    "Cancel a rebuild; the replica stays as it is, and what SomaBrain has remembered stays there",
    answer=RebuildAnswer,
    errors=(404, 409, 503),
)
def cancel_rebuild(rebuild_id: str) -> Response:
    """End it."""
    entry = AuditEntry(actor(), "rebuild.cancel", rebuild_id)
    return _present(room().serving.rebuild_desk.cancel(rebuild_id, entry))


def _present(found: Rebuild, status: int = 200, **also: Any) -> Response:
    told = RebuildAnswer(
        id=found.id,
        kind=found.kind,
        status=_STATUS.get(found.state, found.state.value),
        progress=_progress(found),
        poison=found.poison,
        comparison=_compared(found.comparison),
        remembered=found.remembered,
        refused=found.refused,
        error=found.error,
        created_at=found.created_at,
        finished_at=found.finished_at,
        **also,
    )
    answer = jsonify(told.model_dump(mode="json", exclude_unset=True))
    answer.status_code = status
    return answer


def _progress(found: Rebuild) -> Progress:
    stage = _STAGE.get(found.state, found.state.value)
    if found.to_remember:
        # Rows that came meanwhile are passed, too.
        return Progress(stage=stage, done=found.remembered, total=max(found.to_remember, found.remembered))
    return Progress(stage=stage, done=found.read, total=max(found.to_read, found.read))


def _compared(comparison: Comparison | None) -> Compared | None:
    if comparison is None:
        return None
    return Compared(
        equal=comparison.equal,
        replica=Table.model_validate(comparison.old),
        log=Table.model_validate(comparison.new),
        only_in_replica=comparison.only_old,
        only_in_log=comparison.only_new,
        differing=comparison.differing,
        examples=list(comparison.examples),
    )
