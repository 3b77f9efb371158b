"""From a bare clone to an installed one: `python3 devstack/bootstrap.py run` (or `test`), before anything is installed.

Makes `.venv`, installs a lock file and this folder into it, and for the tests finds or fetches a browser. Uses the
standard library alone. A stamp for each makes every later call a matter of milliseconds.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
BACKEND = ROOT / "requirements-build.lock"
PROJECT = (BACKEND, ROOT / "setup.cfg", ROOT / "pyproject.toml")
LOCKS = {"run": "requirements.lock", "test": "requirements-test.lock"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LEAST_FREE_BYTES = 2 * 1024**3
_BROWSER_STAMP = VENV / ".browser"


class Stopped(Exception):
    """The installation cannot go on; one line says why and what to do."""


def main(arguments: Sequence[str]) -> int:
    """Install for one purpose; the exit status."""
    try:
        install(arguments[0] if arguments else "run")
    except Stopped as error:
        sys.stderr.write(f"bootstrap: {error}\n")
        return 1
    return 0


def install(purpose: str) -> None:
    """Everything that this purpose needs; what is there already is left alone."""
    lock = ROOT / LOCKS[purpose]
    with _once(f".installed-{purpose}", lock) as is_due:
        if is_due:
            check_space(shutil.disk_usage(ROOT).free)
            _make_venv()
            with step(f"packages of {lock.name}"):
                _install_lock(lock)
    with _once(".installed-project", *PROJECT) as is_due:
        if is_due:
            with step("the command soma"):
                install_project(PYTHON)
    if purpose == "test":
        find_browser()


def check_space(free: int) -> None:
    """Refuse a disk that the packages would fill."""
    if free < LEAST_FREE_BYTES:
        raise Stopped(f"{free // 1024**2} MB are free below {ROOT} and {LEAST_FREE_BYTES // 1024**2} MB are needed")


@contextmanager
def _once(name: str, *causes: Path) -> Iterator[bool]:
    """Whether the block has something to do: a cause or the Python changed. It is done when it ends without trouble."""
    stamp, seal = VENV / name, _seal(*causes)
    is_due = not (_is_sealed(stamp, seal) and PYTHON.exists())
    if is_due:
        stamp.unlink(missing_ok=True)
    yield is_due
    if is_due:
        stamp.write_text(seal)


def _seal(*causes: Path) -> str:
    """Changes with these files and with the Python that they were installed for."""
    return hashlib.sha256(b"".join(cause.read_bytes() for cause in causes) + sys.version.encode()).hexdigest()


def _is_sealed(stamp: Path, seal: str) -> bool:
    return stamp.exists() and stamp.read_text() == seal


@contextmanager
def step(what: str) -> Iterator[None]:
    """Tell what begins and how long it took."""
    started = time.monotonic()
    if sys.stdout.isatty():
        sys.stdout.write(f"  ...     {what}\r")
        sys.stdout.flush()
    yield
    sys.stdout.write(f"{time.monotonic() - started:6.1f} s  {what}\n")
    sys.stdout.flush()


def _make_venv() -> None:
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        name = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise Stopped(f"{sys.executable} cannot make virtual environments; on Debian: apt-get install {name}")
    if _python_of_venv() == sys.version:
        return
    with step(f"virtual environment for Python {sys.version.split()[0]}"):
        run([sys.executable, "-m", "venv", "--clear", str(VENV)], "making .venv")


def _python_of_venv() -> str:
    """The version of the Python inside; nothing when there is none that runs."""
    try:
        told = subprocess.run(
            [PYTHON, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return told.stdout.rstrip("\n")


def install_project(python: Path) -> None:
    """This folder itself, as an editable package, which makes `bin/soma`; the backend that builds it is pinned, too.

    The plain kind of editable package: the other puts an import hook into the start of every process of the stack.
    """
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run([*pip, "--require-hashes", "-r", str(BACKEND)], "installing the build backend")
    plain = ["--no-build-isolation", "--config-settings", "editable_mode=compat"]
    run([*pip, *plain, "--editable", str(ROOT)], "installing the command soma")


def _install_lock(lock: Path) -> None:
    """With uv, which is several times faster; with pip where uv does not come or cannot reach its index."""
    pinned = ["--no-deps", "--require-hashes", "-r"]
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned]
    if UV.exists() or succeeds([*pip, str(ROOT / "requirements-uv.lock")]):
        uv = [str(UV), "pip", "install", "--quiet", "--python", str(PYTHON), "--compile-bytecode", *pinned]
        if succeeds([*uv, str(lock)], _environment_for_uv()):
            return
    run([*pip, str(lock)], "installing packages")


def _environment_for_uv() -> dict[str, str]:
    """uv does not read pip's configuration: hand on a mirror and a certificate that pip would use.

    Bytecode without columns for tracebacks makes every process of the stack a little smaller.
    """
    names = {
        "global.index-url": "UV_DEFAULT_INDEX",
        "global.extra-index-url": "UV_INDEX",
        "global.cert": "SSL_CERT_FILE",
    }
    told = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    found = {"PYTHONNODEBUGRANGES": "1"}
    for line in told.splitlines():
        key, _, value = line.partition("=")
        variable = names.get(key.strip().rpartition(".")[2], "")
        if variable and variable not in os.environ:
            found[variable] = value.strip().strip("'\"")
    return found


def find_browser() -> str:
    """The browser for the tests: one that is there, else Playwright's own, else Debian's when we may install it."""
    if known := _known_browser():
        return known
    with step("browser"):
        if not succeeds([str(PYTHON), "-m", "playwright", "install", "chromium"], seconds=180):
            _install_with_apt()
        elif _playwright_starts():
            _BROWSER_STAMP.write_text("playwright")
    found = _known_browser()
    if not found:
        raise Stopped("the tests need a browser and none could be fetched; install chromium and start again")
    return found


def _known_browser() -> str:
    on_path = next((path for name in BROWSERS if (path := shutil.which(name))), "")
    return on_path or (_BROWSER_STAMP.read_text() if _BROWSER_STAMP.exists() else "")


def _playwright_starts() -> bool:
    """Playwright's browser may lack system libraries."""
    code = (
        "from playwright.sync_api import sync_playwright as p\n"
        "with p() as play: play.chromium.launch(args=['--no-sandbox']).close()"
    )
    return succeeds([str(PYTHON), "-c", code], seconds=60) or _install_with_apt()


def _install_with_apt() -> bool:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    install_chromium = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
    return succeeds(["apt-get", "update", "-qq"], environment) and succeeds(install_chromium, environment)


def succeeds(command: Sequence[str], extra: dict[str, str] | None = None, seconds: float = 900) -> bool:
    """Run quietly; true for exit status 0."""
    try:
        done = subprocess.run(
            command, env={**os.environ, **(extra or {})}, capture_output=True, check=False, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def run(command: Sequence[str], purpose: str) -> None:
    """Run; on failure the last line of its errors is the reason."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise Stopped(f"{purpose} failed: {lines[-1] if lines else f'exit status {done.returncode}'}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
