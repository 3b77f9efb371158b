"""What several tests share: a scripted gateway over real HTTP, a person who types, scripted models."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from app.adapters.stop_watch import Wish
from app.cli import surroundings
from app.cli.__main__ import main
from app.cli.client import Client
from app.domain.dialogue import Piece
from tests.scripted_api import ScriptedApi
from tests.unit.model_peer import ModelPeer, Reply
from tests.unit.model_rig import ModelRig


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


@pytest.fixture
def endpoints() -> Iterator[ModelRig]:
    """Scripted endpoints of models and a client for them."""
    rig = ModelRig()
    yield rig
    rig.close()


@pytest.fixture
def peers(endpoints: ModelRig) -> list[ModelPeer]:
    """The endpoints that a test opened."""
    return endpoints.peers


@pytest.fixture
def ask(endpoints: ModelRig) -> Any:
    """Stream one answer from an endpoint that follows `reply`."""

    def start(
        reply: Reply, listed: Any = ({"id": "tiny"},), stop: Wish | None = None, **variables: str
    ) -> Iterator[Piece]:
        profile = endpoints.profile(endpoints.peer(reply, listed).base, **variables)
        return endpoints.stream(profile, stop=stop, **variables)

    return start
