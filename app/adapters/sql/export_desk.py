"""Export jobs as those see them who ask for them: kept, looked at, cancelled, read."""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.acceptance import accept
from app.adapters.sql.engine import transaction
from app.adapters.sql.rows import as_json
from app.domain.conversation import Receipt, RequestKey
from app.domain.errors import Conflict
from app.domain.events import SessionEvent
from app.domain.exports import ExportJob, ExportRequest, NoRoom

_KEEP = text("""
    INSERT INTO export_jobs (job_id, tenant, filters, row_limit, gzip, traceparent)
    VALUES (:job_id, :tenant, CAST(:filters AS jsonb), :row_limit, :gzip, :traceparent)
""")
_FIND = text("""
    SELECT job_id, tenant, state, gzip, row_count, total_rows, byte_size, sha256, last_error AS reason, created_at,
           finished_at, expires_at, state = 'completed' AND expires_at > now() AS available
    FROM export_jobs WHERE job_id = :job_id
""")
_CANCEL = text("""
    UPDATE export_jobs SET state = 'cancelled', lease_owner = NULL, lease_until = NULL, finished_at = now()
    WHERE job_id = :job_id AND state IN ('queued', 'running')
""")
_EXPIRE = text("""
    UPDATE export_jobs SET expires_at = now() WHERE job_id = :job_id AND state = 'completed' AND expires_at > now()
""")
_KEPT = text("SELECT coalesce(sum(byte_size), 0) FROM export_jobs WHERE erased_at IS NULL")
_READ = text("""
    SELECT substring(bytes FROM CAST(:first - first_byte + 1 AS integer) FOR :most) FROM export_chunks
    WHERE job_id = :job_id AND first_byte <= :first ORDER BY first_byte DESC LIMIT 1
""")


class SqlExportDesk:
    """`ExportDesk` on Postgres. `max_bytes` is the room for the bytes of all jobs together."""

    def __init__(self, engine: Engine, max_bytes: int) -> None:
        self._engine = engine
        self._max_bytes = max_bytes

    def accept(self, request: ExportRequest, key: RequestKey | None) -> Receipt:
        """Keep the job, once."""
        kept = Receipt("", request.job_id)
        receipt, _ = accept(self._engine, kept, key, lambda connection: self._keep(connection, request))
        return receipt

    def _keep(self, connection: Connection, request: ExportRequest) -> Sequence[SessionEvent]:
        """An export is no part of a session: nothing is shown there."""
        if kept_bytes(connection) >= self._max_bytes:
            raise Conflict("there is no room for another export; delete one, or wait until one has expired")
        connection.execute(_KEEP, _values(request))
        return ()

    def find(self, job_id: str) -> ExportJob | None:
        """As it stands now."""
        with transaction(self._engine) as connection:
            row = connection.execute(_FIND, {"job_id": job_id}).mappings().one_or_none()
            return None if row is None else _job(row)

    def cancel(self, job_id: str) -> bool:
        """End it; a worker that has it in hand is fenced from then on."""
        with transaction(self._engine) as connection:
            return bool(connection.execute(_CANCEL, {"job_id": job_id}).rowcount)

    def expire(self, job_id: str) -> bool:
        """The pruning erases its bytes."""
        with transaction(self._engine) as connection:
            return bool(connection.execute(_EXPIRE, {"job_id": job_id}).rowcount)

    def read(self, job_id: str, first: int, most: int) -> bytes:
        """From the chunk in which `first` lies."""
        with transaction(self._engine) as connection:
            found = connection.execute(_READ, {"job_id": job_id, "first": first, "most": most}).scalar()
            return bytes(found) if found is not None else b""


def kept_bytes(connection: Connection) -> int:
    """What the bytes of all jobs take, those included that are to be erased."""
    return int(connection.execute(_KEPT).scalar_one())


def check_room(connection: Connection, more: int, max_bytes: int) -> None:
    """`NoRoom` where so many more bytes would be too many."""
    if kept_bytes(connection) + more > max_bytes:
        raise NoRoom(
            f"all exports together may take {max_bytes} bytes, and this one would exceed that; delete others, ask for"
            " fewer rows or for gzip"
        )


def _values(request: ExportRequest) -> dict[str, object]:
    return {
        "job_id": request.job_id,
        "tenant": request.tenant,
        "filters": as_json(request.wanted.as_dict()),
        "row_limit": request.row_limit,
        "gzip": request.gzip,
        "traceparent": request.traceparent,
    }


def _job(row: RowMapping) -> ExportJob:
    return ExportJob(**row)
