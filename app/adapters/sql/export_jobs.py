"""Export jobs as a worker sees them: leased like all work, and every chunk kept together with how far the job is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.claims import Claims
from app.adapters.sql.engine import resolved, transaction
from app.adapters.sql.export_desk import check_room
from app.adapters.sql.memory_search import Span, as_lines, count, find_page, search_for
from app.adapters.sql.presence import Holder
from app.adapters.sql.work_kinds import EXPORTS
from app.domain.browse import MemoryFilter, Position
from app.domain.errors import LeaseLost
from app.domain.exports import Chunk, ClaimedExport, ExportLine
from app.domain.leases import Lease

_PATIENTLY = text("SET LOCAL statement_timeout = '60s'")
_NEWEST = text("SELECT coalesce(max(id), 0) FROM memory_replica")
_BEGIN = text("UPDATE export_jobs SET upto_id = :upto_id, total_rows = :total_rows WHERE job_id = :job_id")
_CHUNKS_KEPT = text("SELECT chunks FROM export_jobs WHERE job_id = :job_id")
_ADD_CHUNK = text("""
    INSERT INTO export_chunks (job_id, number, first_byte, bytes) VALUES (:job_id, :number, :first_byte, :bytes)
""")
_ADVANCE = text("""
    UPDATE export_jobs SET chunks = :chunks, byte_size = :byte_size, row_count = :row_count, last_timestamp = :time,
           last_id = :id WHERE job_id = :job_id
""")
_CHUNK = text("SELECT bytes FROM export_chunks WHERE job_id = :job_id AND number = :number")
_WHOLE = text("""
    UPDATE export_jobs SET sha256 = :sha256, expires_at = now() + make_interval(secs => :seconds) WHERE job_id = :job_id
""")


class SqlExportJobs(Claims):
    """`ExportJobs` on Postgres, on an engine that waits for long statements."""

    def __init__(self, engine: Engine, presence: Holder, lease_seconds: float, max_bytes: int, keep_hours: float):
        super().__init__(engine, EXPORTS, presence, lease_seconds)
        self._max_bytes = max_bytes
        self._keep_seconds = keep_hours * 3600

    def claim(self, job_id: str) -> ClaimedExport | None:
        """This job, leased."""
        rows = self._claim(1, [job_id])
        return _claimed(rows[0], self._leases.lease_of(rows[0])) if rows else None

    def begin(self, job: ClaimedExport) -> ClaimedExport:
        """Rows that come later are not this job's; how many there are is counted once."""
        return resolved(lambda _: self._begin(job))

    def _begin(self, job: ClaimedExport) -> ClaimedExport:
        with transaction(self._engine) as connection:
            connection.execute(_PATIENTLY)
            upto_id = int(connection.execute(_NEWEST).scalar_one())
            total = count(connection, search_for(connection, job.wanted, Span(None, upto_id)))
            self._check(connection, job)
            connection.execute(_BEGIN, {"job_id": job.job_id, "upto_id": upto_id, "total_rows": total})
        return replace(job, upto_id=upto_id, total_rows=total)

    def page(self, job: ClaimedExport, limit: int) -> Sequence[ExportLine]:
        """The next lines, newest first."""
        with transaction(self._engine) as connection:
            connection.execute(_PATIENTLY)
            rows = find_page(connection, job.wanted, Span(job.place, job.upto_id), limit, as_lines)
            return [ExportLine(row["line"], Position(row["wal_timestamp"], row["id"])) for row in rows]

    def keep(self, job: ClaimedExport, chunk: Chunk) -> ClaimedExport:
        """The chunk and the progress, or neither."""
        return resolved(lambda again: self._keep(job, chunk, again))

    def _keep(self, job: ClaimedExport, chunk: Chunk, again: bool) -> ClaimedExport:
        with transaction(self._engine) as connection:
            self._check(connection, job)
            if again and connection.execute(_CHUNKS_KEPT, {"job_id": job.job_id}).scalar_one() > job.chunks:
                return _advanced(job, chunk)
            return self._add(connection, job, chunk)

    def _add(self, connection: Connection, job: ClaimedExport, chunk: Chunk) -> ClaimedExport:
        check_room(connection, len(chunk.content), self._max_bytes)
        connection.execute(_ADD_CHUNK, _chunk(job, chunk))
        kept = _advanced(job, chunk)
        connection.execute(_ADVANCE, _progress(kept))
        return kept

    def chunks(self, job: ClaimedExport, number: int) -> Iterator[bytes]:
        """One after another, each in a transaction of its own."""
        for found in range(number, job.chunks):
            with transaction(self._engine) as connection:
                content = connection.execute(_CHUNK, {"job_id": job.job_id, "number": found}).scalar()
            if content is None:
                raise LeaseLost("the bytes of this export were erased")
            yield bytes(content)

    def finish(self, job: ClaimedExport, chunk: Chunk, sha256: str) -> None:
        """It can be had from now on, for as long as it is kept."""

        def complete(connection: Connection) -> None:
            self._add(connection, job, chunk)
            whole = {"job_id": job.job_id, "sha256": sha256, "seconds": self._keep_seconds}
            connection.execute(_WHOLE, whole)

        self._close(job, "completed", None, complete)

    def fail(self, job: ClaimedExport, state: str, reason: str) -> None:
        """It ends without being whole."""
        self._close(job, state, reason, lambda _: None)

    def _close(
        self, job: ClaimedExport, state: str, reason: str | None, before: Callable[[Connection], object]
    ) -> None:
        def close(again: bool) -> None:
            with transaction(self._engine) as connection:
                if again and self._leases.ended(connection, [job.lease], state):
                    return
                self._check(connection, job)
                before(connection)
                self._leases.settle(connection, [job.lease], state, reason)

        resolved(close)

    def give_back(self, job: ClaimedExport) -> None:
        """Due again now."""
        self._end([job.lease], lambda connection: self._leases.release(connection, [job.lease]))

    def survived(self, job: ClaimedExport) -> None:
        """The heartbeat says so."""
        self._live_on([job.lease])

    def _check(self, connection: Connection, job: ClaimedExport) -> None:
        if not self._leases.held(connection, [job.lease]):
            raise LeaseLost("the export was cancelled, or belongs to another attempt")


def _advanced(job: ClaimedExport, chunk: Chunk) -> ClaimedExport:
    return replace(
        job,
        chunks=job.chunks + 1,
        byte_size=job.byte_size + len(chunk.content),
        row_count=job.row_count + chunk.rows,
        place=chunk.place or job.place,
    )


def _chunk(job: ClaimedExport, chunk: Chunk) -> dict[str, object]:
    return {"job_id": job.job_id, "number": job.chunks, "first_byte": job.byte_size, "bytes": chunk.content}


def _progress(job: ClaimedExport) -> dict[str, object]:
    return {
        "job_id": job.job_id,
        "chunks": job.chunks,
        "byte_size": job.byte_size,
        "row_count": job.row_count,
        "time": job.place.wal_timestamp if job.place else None,
        "id": job.place.row_id if job.place else None,
    }


def _claimed(row: RowMapping, lease: Lease) -> ClaimedExport:
    place = None if row["last_id"] is None else Position(row["last_timestamp"], row["last_id"])
    return ClaimedExport(
        lease=lease,
        wanted=MemoryFilter.from_dict(row["filters"]),
        row_limit=row["row_limit"],
        gzip=row["gzip"],
        deaths=row["deaths"],
        upto_id=row["upto_id"],
        place=place,
        row_count=row["row_count"],
        total_rows=row["total_rows"],
        chunks=row["chunks"],
        byte_size=row["byte_size"],
    )
