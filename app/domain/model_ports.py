"""What answering needs of models, as roles."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from app.domain.conversation_control import Stop
from app.domain.dialogue import ModelCall, Piece
from app.domain.profiles import Profile, ProfileWish


class Roster(Protocol):
    """The profiles that there are."""

    def candidates(self, wish: ProfileWish, /) -> Sequence[Profile]:
        """Profiles for this wish in the order in which they are tried, at least one; `ModelRefused` says in a sentence
        that there is none.
        """


class ModelNames(Protocol):
    """What callers may call the models."""

    def known(self, tenant: str, /) -> Mapping[str, str]:
        """Every name by which this tenant may ask for a model, with the profile that it stands for."""


class Model(Protocol):
    """Something that answers."""

    def stream(self, profile: Profile, call: ModelCall, stop: Stop) -> Iterator[Piece]:
        """Text as it comes, at last the whole answer; `ModelUnavailable` or `ModelRefused` say why in a sentence. Once
        `stop` is wished the endpoint is hung up on, and reading on raises `ModelUnavailable`.
        """
