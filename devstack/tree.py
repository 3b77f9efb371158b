"""Finding and ending processes: by a mark in their environment, their parents and their sessions.

Nothing here remembers anything, so the guard and a later start find what an earlier launcher left behind.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

STACK = "SOMAAGENT_STACK"
PART = "SOMAAGENT_STACK_PART"
SERVERS = frozenset({"postgres", "redis", "kafka", "model"})
Census = dict[str, list[psutil.Process]]


def mark(data_dir: Path, part: str) -> dict[str, str]:
    """The variables by which a process of this stack is known."""
    return {STACK: str(data_dir), PART: part}


def note_root(data_dir: Path, part: str, pid: int) -> None:
    """Write down the root of a part's tree: some servers write over their environment, and the mark with it."""
    folder = data_dir / "run" / "roots"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(psutil.Error):
        (folder / part).write_text(f"{pid} {psutil.Process(pid).create_time()}")


def census(data_dir: Path) -> Census:
    """Every live process of the stack with this data folder, by part; children and sessions are included."""
    sessions, roots = _roots(data_dir)
    owners = roots | {
        p: owner for p in psutil.process_iter() if (owner := _marked(p, data_dir) or _orphaned(p, data_dir))
    }
    for process, owner in list(owners.items()):
        owners = dict.fromkeys(_children(process), owner) | owners
    sessions |= {_session(process): owner for process, owner in owners.items()}
    owners = _in_sessions(sessions) | owners
    found: Census = {}
    for process, owner in owners.items():
        if is_alive(process):
            found.setdefault(owner, []).append(process)
    return found


def _in_sessions(sessions: dict[int, str]) -> dict[psutil.Process, str]:
    """Whoever shares a session with the stack; never the launcher's own."""
    foreign = {0, os.getsid(0)}
    known = {process: sessions.get(_session(process), "") for process in psutil.process_iter()}
    return {process: owner for process, owner in known.items() if owner and _session(process) not in foreign}


def _roots(data_dir: Path) -> tuple[dict[int, str], dict[psutil.Process, str]]:
    """The noted roots: their sessions, and those that live. A pid that is somebody else's by now is neither."""
    sessions: dict[int, str] = {}
    alive: dict[psutil.Process, str] = {}
    for path in (data_dir / "run" / "roots").glob("*"):
        with contextlib.suppress(OSError, ValueError):
            pid, created = path.read_text().split()
            try:
                process = psutil.Process(int(pid))
            except psutil.Error:
                sessions[int(pid)] = path.name
                continue
            if process.create_time() == float(created):
                sessions[int(pid)] = path.name
                alive[process] = path.name
    return sessions, alive


def members(data_dir: Path, part: str = "") -> list[psutil.Process]:
    """The live processes of one part, or of all parts."""
    found = census(data_dir)
    return found.get(part, []) if part else [process for processes in found.values() for process in processes]


def _marked(process: psutil.Process, data_dir: Path) -> str:
    """The part in a process's mark, or nothing."""
    with contextlib.suppress(psutil.Error, OSError):
        environment = process.environ()
        if environment.get(STACK) == str(data_dir):
            return environment.get(PART, "")
    return ""


def _orphaned(process: psutil.Process, data_dir: Path) -> str:
    """Children of Postgres lead sessions of their own and write over their environment; when their parent was killed,
    only where they work still tells whose they are. One that waits for a lock of a dead one waits for ever.
    """
    with contextlib.suppress(psutil.Error, OSError):
        if process.name() == "postgres" and process.cwd() == os.path.realpath(data_dir / "postgres"):
            return "postgres"
    return ""


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:
        return 0


def is_alive(process: psutil.Process) -> bool:
    """True for a process that runs or is stopped; false for the dead and the undead."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def send(processes: Iterable[psutil.Process], number: int) -> None:
    """Signal each; one that is already gone is no error."""
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            process.send_signal(number)


def wait_gone(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Wait until all have ended. Never `psutil.wait_procs`: it would take a child's exit status from its parent."""
    until = time.monotonic() + seconds
    for process in processes:
        while is_alive(process) and time.monotonic() < until:
            time.sleep(0.02)


def resident_bytes(processes: Iterable[psutil.Process]) -> int:
    """The sum of resident memory; pages that are shared count in every process."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def freeze(data_dir: Path, part: str) -> None:
    """SIGSTOP the whole tree; twice, because a fork may have slipped through the first time."""
    for _ in range(2):
        send(members(data_dir, part), signal.SIGSTOP)


def kill(data_dir: Path, part: str = "", seconds: float = 5.0) -> int:
    """SIGKILL the whole tree until nothing of it is left; how many processes it was."""
    killed: set[int] = set()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        left = members(data_dir, part)
        if not left:
            break
        send(left, signal.SIGKILL)
        killed |= {process.pid for process in left}
        wait_gone(left, 0.2)
    return len(killed)


def end_gently(data_dir: Path, seconds: float) -> None:
    """Ask the doors and workers first and the servers last, `seconds` each; then kill what is left."""
    for servers in (False, True):
        found = census(data_dir)
        chosen = {part: found[part] for part in found if (part in SERVERS) is servers}
        for part, processes in chosen.items():
            _ask_to_end(part, processes)
        wait_gone([p for processes in chosen.values() for p in processes], seconds)
    kill(data_dir)


def _ask_to_end(part: str, processes: list[psutil.Process]) -> None:
    """Wake everybody, and ask only the roots: a warm end is theirs to arrange. Postgres ends fast on SIGINT."""
    send(processes, signal.SIGCONT)
    pids = {process.pid for process in processes}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.ppid() not in pids:
                send([process], signal.SIGINT if part == "postgres" else signal.SIGTERM)
