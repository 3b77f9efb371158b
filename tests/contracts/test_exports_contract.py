"""What every `ExportDesk` and `ExportJobs` promises: kept once, worked on by one and whole or not there."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from app.adapters.sql.export_desk import SqlExportDesk
from app.domain.browse import MemoryFilter, Position
from app.domain.errors import Conflict, KeyReused, LeaseLost
from app.domain.export_ports import ExportDesk, ExportJobs
from app.domain.exports import Chunk, ClaimedExport, ExportLine, ExportRequest, ExportStatus, NoRoom
from tests.builders import a_key, an_id
from tests.conftest import eventually
from tests.contracts.store_rig import MemoryRig, PostgresRig, Process, StoreRig
from tests.fakes import InMemoryExports
from tests.memory_rows import put

SUM = "0" * 64


@dataclass
class Worker:
    """One process's jobs, and its life."""

    jobs: ExportJobs
    process: Process

    def die(self) -> None:
        self.process.die()


class ExportRig(ABC):
    """A desk, workers, and memories of a tenant of their own."""

    desk: ExportDesk
    store: StoreRig
    tenant: str

    @abstractmethod
    def worker(self) -> Worker: ...

    @abstractmethod
    def remember(self, *contents: str) -> None: ...

    @abstractmethod
    def with_room(self, size: int) -> tuple[ExportDesk, ExportJobs]: ...

    def asked(self, limit: int = 1000, gzip: bool = False) -> ExportRequest:
        request = ExportRequest(an_id(), self.tenant, MemoryFilter(tenant=self.tenant), limit, gzip)
        self.desk.accept(request, None)
        return request


class MemoryExportRig(ExportRig):
    def __init__(self) -> None:
        self.store = MemoryRig()
        self.tenant = an_id("t-")
        self._lines: list[ExportLine] = []
        self.desk = self._exports(self.store.process())

    def _exports(self, process: Process, room: int = 2**31) -> InMemoryExports:
        def lines(_: object) -> Sequence[ExportLine]:
            return self._lines

        return InMemoryExports(self.store.store, process.presence, 30.0, room, lines=lines)

    def worker(self) -> Worker:
        process = self.store.process().appear()
        return Worker(self._exports(process), process)

    def remember(self, *contents: str) -> None:
        for content in contents:
            number = len(self._lines) + 1
            self._lines.insert(0, ExportLine(f'{{"content":"{content}"}}', Position(1000.0 + number, number)))

    def with_room(self, size: int) -> tuple[ExportDesk, ExportJobs]:
        made = self._exports(self.store.process(), size)
        return made, made


class SqlExportRig(ExportRig):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.store = PostgresRig(engine)
        self.tenant = an_id("t-")
        self.desk = SqlExportDesk(engine, 2**31)
        self._said = 0

    def worker(self) -> Worker:
        process = self.store.process().appear()
        return Worker(process.exports, process)

    def remember(self, *contents: str) -> None:
        for content in contents:
            put(self._engine, content, tenant=self.tenant, wal_timestamp=1000.0 + self._said)
            self._said += 1

    def with_room(self, size: int) -> tuple[ExportDesk, ExportJobs]:
        jobs = self.store.process().exports
        jobs._max_bytes = size  # type: ignore[attr-defined]
        return SqlExportDesk(self._engine, size), jobs


@pytest.fixture(params=["memory", "postgres"])
def rig(request: pytest.FixtureRequest) -> Iterator[ExportRig]:
    memory = request.param == "memory"
    made: ExportRig = MemoryExportRig() if memory else SqlExportRig(request.getfixturevalue("engine"))
    yield made
    made.store.close()


def claimed(worker: Worker, request: ExportRequest) -> ClaimedExport:
    job = worker.jobs.claim(request.job_id)
    assert job is not None
    return job


def status(rig: ExportRig, request: ExportRequest) -> ExportStatus:
    job = rig.desk.find(request.job_id)
    assert job is not None
    return job.status


def a_chunk(jobs: ExportJobs, job: ClaimedExport, rows: int) -> Chunk:
    lines = jobs.page(job, rows)
    return Chunk("".join(f"{line.text}\n" for line in lines).encode(), len(lines), lines[-1].place if lines else None)


def content(rig: ExportRig, request: ExportRequest) -> bytes:
    found = b""
    while piece := rig.desk.read(request.job_id, len(found), 7):
        found += piece
    return found


def test_a_job_is_kept_and_found(rig: ExportRig) -> None:
    request = rig.asked(gzip=True)

    job = rig.desk.find(request.job_id)

    assert job is not None
    assert (job.status, job.tenant, job.gzip, job.row_count, job.total_rows) == ("queued", rig.tenant, True, 0, None)
    assert not job.available
    assert rig.desk.find("nobody") is None


def test_a_repeated_key_gives_the_first_job_and_keeps_nothing(rig: ExportRig) -> None:
    key = a_key()
    first, second = (ExportRequest(an_id(), "t1", MemoryFilter(), 10) for _ in range(2))

    rig.desk.accept(first, key)
    receipt = rig.desk.accept(second, key)

    assert (receipt.event_id, receipt.replayed) == (first.job_id, True)
    assert rig.desk.find(second.job_id) is None
    with pytest.raises(KeyReused):
        rig.desk.accept(second, a_key(key.key, "d2"))


def test_one_worker_has_it(rig: ExportRig) -> None:
    request, one, other = rig.asked(), rig.worker(), rig.worker()

    job = claimed(one, request)

    assert (job.row_limit, job.wanted.tenant, job.deaths, job.chunks) == (1000, rig.tenant, 0, 0)
    assert other.jobs.claim(request.job_id) is None
    assert status(rig, request) == "running"


def test_jobs_are_made_one_after_another(rig: ExportRig) -> None:
    first, second, one, other = rig.asked(), rig.asked(), rig.worker(), rig.worker()
    assert set(one.jobs.due(1000)) >= {first.job_id, second.job_id}
    job = claimed(one, first)

    assert other.jobs.claim(second.job_id) is None
    assert other.jobs.due(1000) == []
    one.jobs.give_back(job)

    assert claimed(other, second)


def test_what_comes_later_does_not_belong_to_it(rig: ExportRig) -> None:
    rig.remember("one", "two")
    worker, request = rig.worker(), rig.asked()
    job = worker.jobs.begin(claimed(worker, request))

    rig.remember("later")

    assert job.total_rows == 2
    assert len(worker.jobs.page(job, 10)) == 2


def test_chunks_and_progress_are_kept_together_and_read_back(rig: ExportRig) -> None:
    rig.remember("one", "two", "three")
    worker, request = rig.worker(), rig.asked()
    job = worker.jobs.begin(claimed(worker, request))

    first = a_chunk(worker.jobs, job, 2)
    job = worker.jobs.keep(job, first)
    second = a_chunk(worker.jobs, job, 2)
    job = worker.jobs.keep(job, second)

    assert (job.row_count, job.chunks, job.byte_size) == (3, 2, len(first.content + second.content))
    assert content(rig, request) == first.content + second.content
    assert [b"three" in first.content, b"two" in first.content, b"one" in second.content] == [True] * 3
    assert list(worker.jobs.chunks(job, 1)) == [second.content]
    found = rig.desk.find(request.job_id)
    assert found is not None
    assert (found.row_count, found.byte_size, found.total_rows, found.status) == (3, job.byte_size, 3, "running")


def test_who_takes_over_goes_on_behind_the_last_chunk(rig: ExportRig) -> None:
    rig.remember("one", "two", "three")
    dead, heir, request = rig.worker(), rig.worker(), rig.asked()
    job = dead.jobs.begin(claimed(dead, request))
    dead.jobs.keep(job, a_chunk(dead.jobs, job, 2))

    dead.die()
    eventually(lambda: rig.store.sweep()["export"] == 1)
    taken = claimed(heir, request)

    assert (taken.deaths, taken.row_count, taken.chunks, taken.total_rows) == (1, 2, 1, 3)
    assert b"one" in a_chunk(heir.jobs, taken, 10).content


def test_a_zombie_writes_nothing(rig: ExportRig) -> None:
    rig.remember("one", "two")
    zombie, heir, request = rig.worker(), rig.worker(), rig.asked()
    late = zombie.jobs.begin(claimed(zombie, request))
    chunk = a_chunk(zombie.jobs, late, 1)
    rig.store.pass_time(60)
    job = claimed(heir, request)

    for deed in (
        lambda: zombie.jobs.keep(late, chunk),
        lambda: zombie.jobs.finish(late, chunk, SUM),
        lambda: zombie.jobs.fail(late, "failed", "no"),
        lambda: zombie.jobs.begin(late),
    ):
        with pytest.raises(LeaseLost):
            deed()

    assert content(rig, request) == b""
    heir.jobs.keep(job, chunk)
    assert content(rig, request) == chunk.content


def test_a_whole_job_can_be_had_until_it_is_given_away(rig: ExportRig) -> None:
    worker, request = rig.worker(), rig.asked()
    job = worker.jobs.begin(claimed(worker, request))

    worker.jobs.finish(job, Chunk(b"last", 0, None), SUM)

    found = rig.desk.find(request.job_id)
    assert found is not None
    assert (found.status, found.sha256, found.byte_size, found.available) == ("completed", SUM, 4, True)
    assert rig.desk.read(request.job_id, 1, 2) == b"as"
    assert not rig.desk.cancel(request.job_id)
    assert rig.desk.expire(request.job_id)
    gone = rig.desk.find(request.job_id)
    assert gone is not None
    assert (gone.status, gone.available) == ("completed", False)
    assert not rig.desk.expire(request.job_id)


def test_a_cancelled_job_is_taken_out_of_its_workers_hands(rig: ExportRig) -> None:
    worker, queued, running = rig.worker(), rig.asked(), rig.asked()
    job = worker.jobs.begin(claimed(worker, running))

    assert rig.desk.cancel(queued.job_id)
    assert rig.desk.cancel(running.job_id)

    assert status(rig, queued) == status(rig, running) == "cancelled"
    assert worker.jobs.claim(queued.job_id) is None
    with pytest.raises(LeaseLost):
        worker.jobs.keep(job, Chunk(b"x", 0, None))
    assert not rig.desk.cancel(queued.job_id)
    assert not rig.desk.cancel("nobody")


def test_a_failed_job_says_why(rig: ExportRig) -> None:
    worker, request = rig.worker(), rig.asked()

    worker.jobs.fail(claimed(worker, request), "failed", "no room")

    found = rig.desk.find(request.job_id)
    assert found is not None
    assert (found.status, found.reason, found.available) == ("failed", "no room", False)


def test_there_is_only_so_much_room(rig: ExportRig) -> None:
    worker, request = rig.worker(), rig.asked()
    job = worker.jobs.keep(claimed(worker, request), Chunk(b"x" * 1000, 1, Position(1.0, 1)))
    worker.jobs.give_back(job)
    taken = sum(len(content(rig, one)) for one in (request,))

    full, _ = rig.with_room(taken)
    _, tight = rig.with_room(taken + 10)
    with pytest.raises(Conflict, match="no room"):
        full.accept(ExportRequest(an_id(), "t1", MemoryFilter(), 10), None)
    again = tight.claim(request.job_id)
    assert again is not None
    with pytest.raises(NoRoom):
        tight.keep(again, Chunk(b"x" * 10_000, 1, Position(1.0, 1)))
    assert len(content(rig, request)) == 1000


def test_giving_back_is_no_death(rig: ExportRig) -> None:
    worker, request = rig.worker(), rig.asked()
    for _ in range(3):
        worker.jobs.give_back(claimed(worker, request))

    assert claimed(worker, request).deaths == 0
    assert rig.store.deaths("export", request.job_id) == 1
