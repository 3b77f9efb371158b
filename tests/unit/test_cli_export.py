"""`soma memory export`: a file is whole or has another name, and a job's result outlives broken lines."""

import hashlib
import json
from pathlib import Path

from tests.scripted_api import Asked, Reply, ScriptedApi, refusal
from tests.unit.conftest import Typist

EXPORT, JOBS = "/v1/memory/export", "/v1/memory/export/jobs"
ROWS = tuple(
    json.dumps({"event_id": f"m-{number}", "payload": {"content": "x"}}).encode() + b"\n" for number in range(3)
)
CUT = b'{"truncated": true, "total_rows": 9}\n'


def test_an_export_is_copied_as_it_comes(api: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    api.on("GET", EXPORT, Reply(parts=ROWS))
    file = tmp_path / "backup"

    printed = typist.types("memory", "export", str(file), "--tenant", "t1", "--role", "user")

    assert (printed.status, file.read_bytes()) == (0, b"".join(ROWS))
    assert printed.err == f"soma: 3 memories, {len(b''.join(ROWS))} bytes\n"
    assert api.asked[0].query == {"tenant": "t1", "role": "user"}
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


def test_one_memory_is_told_as_one(api: ScriptedApi, typist: Typist) -> None:
    api.on("GET", EXPORT, Reply(parts=ROWS[:1]))

    assert typist.types("memory", "export").err == f"soma: 1 memory, {len(ROWS[0])} bytes\n"


def test_without_a_file_it_goes_to_the_standard_output(api: ScriptedApi, typist: Typist) -> None:
    api.on("GET", EXPORT, Reply(parts=ROWS))

    assert typist.types("memory", "export").out.encode() == b"".join(ROWS)


def test_an_export_that_a_limit_cut_is_status_1_unless_it_was_asked_for(
    api: ScriptedApi, typist: Typist, tmp_path: Path
) -> None:
    api.on("GET", EXPORT, Reply(parts=(*ROWS, CUT)))

    cut = typist.types("memory", "export", str(tmp_path / "a"))
    asked = typist.types("memory", "export", str(tmp_path / "b"), "--limit", "3")

    assert (cut.status, "the export ends at the gateway's limit" in cut.err) == (1, True)
    assert (tmp_path / "a").read_bytes().endswith(CUT)
    assert asked.status == 0
    assert api.asked[1].query == {"limit_total": "3"}


def test_what_broke_off_never_has_the_name_of_the_whole(api: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    api.on("GET", EXPORT, Reply(parts=ROWS, breaks=True))

    printed = typist.types("memory", "export", str(tmp_path / "backup"))

    assert printed.status == 1
    assert "the export broke off after 3 memories" in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["backup.part"]


def test_a_file_that_is_there_is_not_written_over(api: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    file.write_bytes(b"old")
    api.on("GET", EXPORT, Reply(parts=ROWS))

    assert "--force" in typist.types("memory", "export", str(file)).err
    assert file.read_bytes() == b"old"
    assert typist.types("memory", "export", str(file), "--force").status == 0
    assert file.read_bytes() == b"".join(ROWS)


def test_too_many_exports_at_once_is_the_gateways_sentence(api: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    api.on("GET", EXPORT, refusal(429, "Two exports are running already."))

    printed = typist.types("memory", "export", str(tmp_path / "backup"))

    assert (printed.status, printed.err) == (1, "soma: Two exports are running already.\n")


WHOLE = b"".join(ROWS)


def a_job(status: str, **fields: object) -> Reply:
    return Reply({"id": "j-1", "status": status, "row_count": 3, "total_rows": 3, "byte_size": len(WHOLE), **fields})


def downloads_from(asked: Asked) -> Reply:
    begin = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
    return Reply(status=206, parts=(WHOLE[begin:],))


def test_a_job_is_waited_for_fetched_over_broken_lines_and_compared(
    api: ScriptedApi, typist: Typist, tmp_path: Path
) -> None:
    digest = hashlib.sha256(WHOLE).hexdigest()
    api.on("POST", JOBS, Reply({"job_id": "j-1", "status": "queued"}, 202))
    api.on("GET", f"{JOBS}/j-1", a_job("queued"), a_job("running"), a_job("completed", sha256=digest))
    api.on("GET", f"{JOBS}/j-1/download", Reply(parts=(WHOLE[:70],), breaks=True), downloads_from)

    printed = typist.types("memory", "export", str(tmp_path / "backup"), "--job", "--tenant", "t1", "--limit", "3")

    assert printed.status == 0
    assert (tmp_path / "backup").read_bytes() == WHOLE
    assert api.asked[0].json == {"tenant": "t1", "limit_total": 3}
    assert api.asked[-1].headers["range"] == "bytes=70-"
    assert "export job j-1" in printed.err


def test_a_result_with_another_checksum_is_not_kept_under_its_name(
    api: ScriptedApi, typist: Typist, tmp_path: Path
) -> None:
    api.on("GET", f"{JOBS}/j-1", a_job("completed", sha256="0" * 64))
    api.on("GET", f"{JOBS}/j-1/download", Reply(parts=(WHOLE,)))

    printed = typist.types("memory", "export", str(tmp_path / "backup"), "--job-id", "j-1")

    assert (printed.status, "checksum differs" in printed.err) == (1, True)
    assert not (tmp_path / "backup").exists()


def test_a_job_that_a_limit_cut_is_status_1(api: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    api.on("GET", f"{JOBS}/j-1", a_job("completed", total_rows=9))
    api.on("GET", f"{JOBS}/j-1/download", Reply(parts=(WHOLE,)))

    assert typist.types("memory", "export", str(tmp_path / "backup"), "--job-id", "j-1").status == 1


def test_a_job_that_failed_says_why(api: ScriptedApi, typist: Typist, tmp_path: Path) -> None:
    api.on("GET", f"{JOBS}/j-1", a_job("failed", error="the disk is full"))

    printed = typist.types("memory", "export", str(tmp_path / "backup"), "--job-id", "j-1")

    assert (printed.status, "the job failed: the disk is full" in printed.err) == (1, True)
