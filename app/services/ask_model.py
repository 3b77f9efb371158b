"""One answer, from the first endpoint that gives one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.domain.conversation_control import Stop
from app.domain.dialogue import ModelCall, Piece
from app.domain.errors import ModelRefused, ModelUnavailable
from app.domain.model_ports import Model
from app.domain.profiles import Profile


def ask_model(profiles: Sequence[Profile], call: ModelCall, stop: Stop, model: Model) -> Iterator[Piece]:
    """The pieces of the first profile that begins to speak. Once one has begun, nobody takes its place: a reader has
    seen its words. When none begins, the last one's error.
    """
    *others, last = profiles
    for profile in others:
        pieces = _signed(model.stream(profile, call, stop), profile)
        try:
            first = next(pieces)
        except (ModelUnavailable, ModelRefused):
            if stop.why():
                raise
            continue
        yield first
        yield from pieces
        return
    yield from _signed(model.stream(last, call, stop), last)


def _signed(pieces: Iterator[Piece], profile: Profile) -> Iterator[Piece]:
    """The pieces; the whole answer tells whose it is."""
    for piece in pieces:
        if piece.answer is not None:
            piece = Piece(piece.text, replace(piece.answer, profile=profile.name))
        yield piece
