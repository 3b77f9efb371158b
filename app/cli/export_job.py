"""An export that the gateway writes first: wait for its end, fetch it over as many connections as it takes, compare."""

import hashlib
from collections.abc import Mapping
from typing import Any, BinaryIO

from app.cli.bars import Bar, bytes_bar
from app.cli.client import Call, Client, Later, Refused, below
from app.cli.jobs import watch
from app.cli.progress import Stopped
from app.cli.seat import warn
from app.cli.tables import counted

JOBS = "/v1/memory/export/jobs"
_PIECE = 65_536
_TRIES = 8


def fetch(client: Client, target: BinaryIO, wanted: Mapping[str, Any], job_id: str | None) -> bool:
    """Start a job or take up `job_id`, and write what it made to `target`; whether a limit cut it short."""
    made = job_id or str(client.insist(Call("POST", JOBS, body=wanted))["job_id"])
    warn(f"export job {made}")
    job = watch(client, JOBS, made, _stand)
    with bytes_bar("fetching", job.get("byte_size")) as bar:
        try:
            digest = _download(client, below(JOBS, made, "download"), target, bar)
        except KeyboardInterrupt:
            raise Stopped(f"stopped; the job's result is kept: --job-id {made} fetches it again") from None
    if job.get("sha256") and digest != job["sha256"]:
        raise Refused(f"what came is not what the job wrote: its checksum differs; fetch it again: --job-id {made}")
    rows = job.get("row_count") or 0
    warn(f"{counted(rows, 'memory', 'memories')}, checksum {digest}")
    return bool(job.get("total_rows")) and rows < job["total_rows"]


def _stand(bar: Bar, job: dict[str, Any]) -> None:
    bar(job.get("row_count") or 0, job.get("total_rows"), f"export {job['status']}")


def _download(client: Client, path: str, target: BinaryIO, bar: Bar) -> str:
    """The SHA-256 of everything; a line that breaks is taken up where it broke."""
    seen, size, attempt = hashlib.sha256(), 0, 0
    while True:
        try:
            with client.stream(path, headers={"Range": f"bytes={size}-"} if size else {}) as answer:
                if size and answer.status_code != 206:
                    raise Refused("the gateway began from the start where it was asked to go on; fetch it again")
                for piece in answer.iter_content(_PIECE):
                    target.write(piece)
                    seen.update(piece)
                    size, attempt = size + len(piece), 0
                    bar(size)
                return seen.hexdigest()
        except Later as error:
            attempt += 1
            if attempt == _TRIES:
                raise
            client.wait(error, attempt)
