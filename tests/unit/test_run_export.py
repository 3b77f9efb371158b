"""A slice of an export job: chunks until it is whole or the slice is over, and never a row lost or doubled."""

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from app.domain.browse import MemoryFilter, Position
from app.domain.errors import StoreUnavailable
from app.domain.exports import MAX_DEATHS, ExportLine, ExportRequest
from app.routing import TaskName
from app.services.run_export import ExportOffice, run_export
from tests.builders import an_id
from tests.fakes import FakeClock, InMemoryExports, InMemoryStore, RecordingDoorbell


@dataclass
class Stage:
    """An office with so many memories to export; `page` may be made to take time, or fail."""

    rows: int = 0
    store: InMemoryStore = field(default_factory=InMemoryStore)
    bell: RecordingDoorbell = field(default_factory=RecordingDoorbell)
    ended: list[str] = field(default_factory=list)
    stopping: bool = False
    room: int = 2**31

    def __post_init__(self) -> None:
        self.clock: FakeClock = self.store.clock
        self.office = self.new_office()

    def new_office(self) -> ExportOffice:
        """Another process."""
        presence = self.store.presence(an_id("p-"))
        presence.start()
        lines = [ExportLine(json.dumps({"n": n}), Position(float(n), n)) for n in range(self.rows, 0, -1)]
        self.presence = presence
        self.jobs = InMemoryExports(self.store, presence, room=self.room, lines=lambda _: lines)
        return ExportOffice(
            self.jobs, self.bell, self.clock, lambda: self.stopping, lambda: True, self.ended.append, page_rows=100
        )

    def ask(self, limit: int = 100_000, gzip: bool = False) -> str:
        request = ExportRequest(an_id(), "t1", MemoryFilter(), limit, gzip)
        self.jobs.accept(request, None)
        return request.job_id

    def content(self, job_id: str) -> bytes:
        content: bytes = self.store.export_rows.rows[job_id].thing.content
        return content

    def before_each_page(self, deed: Callable[[], object]) -> None:
        page = self.jobs.page

        def slowed(job, limit):  # type: ignore[no-untyped-def]
            deed()
            return page(job, limit)

        self.jobs.page = slowed  # type: ignore[method-assign]


def numbers(content: bytes) -> tuple[list[int], dict[str, object]]:
    *rows, last = [json.loads(line) for line in content.splitlines()]
    return [row["n"] for row in rows], last


def test_a_small_export_is_whole_at_once() -> None:
    stage = Stage(rows=250)
    job_id = stage.ask()

    assert run_export(job_id, stage.office) == "completed"

    found = stage.jobs.find(job_id)
    assert found is not None
    assert numbers(stage.content(job_id)) == (
        list(range(250, 0, -1)), {"truncated": False, "rows": 250, "total_rows": 250},
    )  # fmt: skip
    assert (found.row_count, found.sha256) == (250, hashlib.sha256(stage.content(job_id)).hexdigest())
    assert stage.ended == ["completed"]
    assert run_export(job_id, stage.office) == "nothing to do"


@pytest.mark.parametrize(("limit", "truncated"), [(99, True), (100, False), (64, True), (128, False)])
def test_a_limit_is_kept_and_told(limit: int, truncated: bool) -> None:
    stage = Stage(rows=100)
    job_id = stage.ask(limit)

    run_export(job_id, stage.office)

    rows, last = numbers(stage.content(job_id))
    assert last == {"truncated": truncated, "rows": min(limit, 100), "total_rows": 100}
    assert len(rows) == min(limit, 100)


def test_a_long_export_gives_way_and_rings_for_its_next_slice() -> None:
    stage = Stage(rows=500)
    job_id = stage.ask()
    stage.before_each_page(lambda: stage.clock.advance(2))

    outcomes = [run_export(job_id, stage.office) for _ in range(2)]

    assert outcomes == ["given back", "given back"]
    assert [(ring.task, ring.ids) for ring in stage.bell.rings] == [(TaskName.EXPORT, (job_id,))] * 2
    while run_export(job_id, stage.office) != "completed":
        pass
    assert numbers(stage.content(job_id))[0] == list(range(500, 0, -1))


@pytest.mark.parametrize("packed", [False, True])
def test_another_process_goes_on_with_the_right_checksum(packed: bool) -> None:
    stage = Stage(rows=500)
    job_id = stage.ask(gzip=packed)
    stage.before_each_page(lambda: stage.clock.advance(2))
    run_export(job_id, stage.office)

    assert run_export(job_id, stage.new_office()) == "completed"

    raw = stage.content(job_id)
    found = stage.jobs.find(job_id)
    assert found is not None
    assert found.sha256 == hashlib.sha256(raw).hexdigest()
    assert numbers(gzip.decompress(raw) if packed else raw)[0] == list(range(500, 0, -1))


def test_an_outage_in_the_middle_costs_nothing() -> None:
    stage = Stage(rows=300)
    job_id = stage.ask()
    tries = iter(range(100))

    def sometimes() -> None:
        if next(tries) == 2:
            raise StoreUnavailable("away")

    stage.before_each_page(sometimes)
    with pytest.raises(StoreUnavailable):
        run_export(job_id, stage.office)

    assert run_export(job_id, stage.office) == "completed"
    assert numbers(stage.content(job_id))[0] == list(range(300, 0, -1))


def test_a_cancelled_job_is_dropped() -> None:
    stage = Stage(rows=300)
    job_id = stage.ask()
    stage.before_each_page(lambda: stage.jobs.cancel(job_id))

    assert run_export(job_id, stage.office) == "lease lost"

    found = stage.jobs.find(job_id)
    assert found is not None
    assert found.status == "cancelled"


def test_an_export_without_room_fails_with_words() -> None:
    stage = Stage(rows=300, room=2000)
    job_id = stage.ask()

    assert run_export(job_id, stage.office) == "failed"

    found = stage.jobs.find(job_id)
    assert found is not None
    assert "2000 bytes" in (found.reason or "")
    assert stage.ended == ["failed"]


def test_an_export_that_kills_its_workers_is_set_aside() -> None:
    stage = Stage(rows=10)
    job_id = stage.ask()
    for _ in range(MAX_DEATHS):
        stage.new_office()
        assert stage.jobs.claim(job_id) is not None
        stage.presence.stop()
        stage.store.end_leases_of_the_dead()

    assert run_export(job_id, stage.new_office()) == "dead"

    found = stage.jobs.find(job_id)
    assert found is not None
    assert (found.state, found.status) == ("dead", "failed")


def test_a_worker_that_has_to_end_gives_it_back() -> None:
    stage = Stage(rows=300)
    job_id = stage.ask()
    stage.before_each_page(lambda: setattr(stage, "stopping", True))

    assert run_export(job_id, stage.office) == "given back"
    assert run_export(job_id, stage.office) == "nothing to do"
