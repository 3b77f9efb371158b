"""The socket between a launcher and another terminal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import control
from devstack.control import ControlServer
from devstack.faults import CannotStart


def handle(command: str, name: str) -> control.Answer:
    if command == "refuse":
        raise CannotStart(f"no {name} here")
    return {"echo": f"{command} {name}"}


@pytest.fixture(params=["short", "long" * 40])
def data_dir(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / str(request.param)[:120]
    (folder / "run").mkdir(parents=True)
    return folder


@pytest.fixture
def server(data_dir: Path) -> Iterator[ControlServer]:
    served = ControlServer(data_dir, handle)
    yield served
    served.close()


@pytest.mark.usefixtures("server")
def test_a_command_is_answered_however_long_the_path_is(data_dir: Path) -> None:
    assert control.ask(data_dir, "kill", "brain")["echo"] == "kill brain"
    assert control.socket_path(data_dir).stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("server")
def test_a_refusal_is_one_line(data_dir: Path) -> None:
    with pytest.raises(CannotStart, match="no cat here"):
        control.ask(data_dir, "refuse", "cat")


def test_without_a_launcher_the_person_learns_how_to_start_one(data_dir: Path) -> None:
    with pytest.raises(CannotStart, match="make run"):
        control.ask(data_dir, "status")


def test_a_socket_left_behind_is_replaced(data_dir: Path) -> None:
    ControlServer(data_dir, handle)
    second = ControlServer(data_dir, handle)
    assert control.ask(data_dir, "kill", "x")["echo"] == "kill x"
    second.close()
