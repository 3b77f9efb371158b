"""Watching a job of the gateway, which goes on without whoever watches it."""

from collections.abc import Callable
from typing import Any

from app.cli.bars import Bar, rows_bar
from app.cli.client import Call, Client, Refused, below
from app.cli.progress import Stopped

LOOK_SECONDS = 0.5
_OVER = frozenset({"completed", "failed", "cancelled"})


def watch(client: Client, path: str, job_id: str, stand: Callable[[Bar, dict[str, Any]], None]) -> dict[str, Any]:
    """A job's last state; it goes on without whoever watches it, also while the gateway is away for a while."""
    job: dict[str, Any] = {}
    with rows_bar(f"job {job_id}") as bar:
        try:
            while True:
                job = client.insist(Call("GET", below(path, job_id)))
                stand(bar, job)
                if job["status"] in _OVER:
                    break
                client.pause(LOOK_SECONDS)
        except KeyboardInterrupt:
            raise Stopped(f"stopped watching{_so_far(job)}; the job goes on: --job-id {job_id} watches it") from None
    if job["status"] != "completed":
        raise Refused(f"the job {job['status']}: {job.get('error') or 'no reason was given'}")
    return job


def _so_far(job: dict[str, Any]) -> str:
    progress = job.get("progress") or {"done": job.get("row_count"), "total": job.get("total_rows")}
    if progress.get("done") is None:
        return ""
    return f" at {progress['done']} of {progress.get('total') or 'an unknown number'}"
