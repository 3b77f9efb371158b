"""What must not pile up: threads, open files, connections and memory of the processes that lived through the fault.

Only a process with the same pid before and after is compared; one that the fault ended began anew and says nothing.
"""

from drills.record import Holdings, Record, Vitals

SHARE = 0.1
# What a pool that was warm already still added in short runs of F1, F3, F8 and F27: up to 10 threads on 42, 15 files on
# 19 (the memory service's connections to Postgres). What leaks passes any such number in a long run.
THREADS, FILES, CONNECTIONS = 8, 16, 5
MEMORY_BYTES = 50 * 1024 * 1024


def growth(record: Record) -> list[str]:
    """I10: what was more than a tenth (and a few, where numbers are small) above what it had been in calm."""
    return more(*record.holdings) if record.holdings else []


def more(before: Holdings, after: Holdings) -> list[str]:
    """What has grown from one look to the other."""
    found = [problem for one, other in _same(before, after) for problem in _grown(one, other)]
    if _more(before.connections, after.connections, CONNECTIONS):
        found.append(f"connections to Postgres: {before.connections} before, {after.connections} after")
    return found


def _same(before: Holdings, after: Holdings) -> list[tuple[Vitals, Vitals]]:
    known = {(vitals.part, vitals.pid): vitals for vitals in before.processes}
    return [(known[key], one) for one in after.processes if (key := (one.part, one.pid)) in known]


def _grown(before: Vitals, after: Vitals) -> list[str]:
    where = f"{after.part} ({after.pid})"
    found: list[str] = []
    if _more(before.threads, after.threads, THREADS):
        found.append(f"{where} had {before.threads} threads and has {after.threads}")
    if _more(before.files, after.files, FILES):
        found.append(f"{where} had {before.files} open files and has {after.files}")
    if after.resident_bytes - before.resident_bytes > MEMORY_BYTES:
        grown = (after.resident_bytes - before.resident_bytes) // 1024**2
        found.append(f"{where} grew by {grown} MiB")
    return found


def _more(before: int, after: int, slack: int) -> bool:
    return after > before * (1 + SHARE) + slack
