"""What the tests of the command line share: a scripted gateway over real HTTP, and a person who types."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from app.cli import surroundings
from app.cli.__main__ import main
from app.cli.client import Client
from tests.scripted_api import ScriptedApi


@dataclass
class Printed:
    """What a command left behind."""

    status: int
    out: str
    err: str


@dataclass
class Typist:
    """Types commands to one gateway; `pauses` are the seconds that the command line would have waited."""

    base: str
    read: Callable[[], tuple[str, str]]
    pauses: list[float] = field(default_factory=list)

    def types(self, *words: str) -> Printed:
        return Printed(main(["--gateway", self.base, *words]), *self.read())


@pytest.fixture
def api() -> ScriptedApi:
    return ScriptedApi()


@pytest.fixture
def typist(api: ScriptedApi, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Typist]:
    with api.running() as base:
        typing = Typist(base, lambda: tuple(capfd.readouterr()))
        monkeypatch.setattr(surroundings, "Client", partial(Client, pause=typing.pauses.append))
        monkeypatch.delenv("SOMA_KEY", raising=False)
        yield typing
