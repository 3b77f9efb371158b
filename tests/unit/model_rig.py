"""The model's client in front of scripted endpoints."""

from collections.abc import Callable, Iterator
from typing import Any

from app.adapters.http.model import OpenAIModel
from app.adapters.stop_watch import Wish
from app.domain.dialogue import Answer, ModelCall, Piece, Utterance
from app.domain.profiles import Profile
from app.settings import Settings, read
from app.wiring.modelling import own_profile
from tests.unit.model_peer import Line, ModelPeer, Reply

LINES = [Utterance("system", "be kind"), Utterance("user", "hello")]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ORDINARY = ModelCall(LINES, traceparent=TRACE)


class ModelRig:
    """Opens endpoints, and asks them through one client as long as its settings stay the same."""

    def __init__(self) -> None:
        self.peers: list[ModelPeer] = []
        self._model: tuple[Settings, OpenAIModel] | None = None

    def peer(self, reply: Reply, models: Any = ({"id": "tiny"},)) -> ModelPeer:
        self.peers.append(ModelPeer(reply, models))
        return self.peers[-1]

    def settings(self, base_url: str, **variables: str) -> Settings:
        limits = {"LLM_IDLE_SECONDS": "5", "LLM_TIMEOUT_SECONDS": "10", "LLM_MODEL": "tiny", **variables}
        return read({"LLM_BASE_URL": base_url, **limits})

    def profile(self, base_url: str, **variables: str) -> Profile:
        profile = own_profile(self.settings(base_url, **variables))
        assert profile is not None
        return profile

    def stream(
        self, profile: Profile, call: ModelCall = ORDINARY, stop: Wish | None = None, **variables: str
    ) -> Iterator[Piece]:
        settings = self.settings("http://unused.test", **variables)
        if self._model is None or self._model[0] != settings:
            self._model = settings, OpenAIModel.from_settings(settings)
        return self._model[1].stream(profile, call, stop or Wish())

    def close(self) -> None:
        for peer in self.peers:
            peer.close()


def whole(pieces: Iterator[Piece]) -> tuple[list[str], Answer]:
    found = list(pieces)
    assert found[-1].answer is not None
    return [piece.text for piece in found[:-1]], found[-1].answer


def in_turn(*doings: Callable[[Line], object]) -> Reply:
    """One thing after another."""

    def reply(line: Line) -> None:
        line.begin()
        for do in doings:
            do(line)

    return reply


def told(error: BaseException) -> str:
    """The error's text, held to what people may be shown."""
    text = str(error)
    assert text[0].isupper()
    assert text.endswith(".")
    assert "127.0.0.1" not in text
    assert "Error" not in text
    return text
