"""What a model is given: as much of the newest as fits, and always who it is and what was asked."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.conversation import Utterance, fit_window

SYSTEM, QUESTION = Utterance("system", "be kind"), Utterance("user", "and now?")
lines = st.lists(st.builds(Utterance, st.sampled_from(["user", "assistant"]), st.text(max_size=400)), max_size=30)


def test_what_fits_is_kept_whole() -> None:
    said = [SYSTEM, Utterance("user", "one"), Utterance("assistant", "two"), QUESTION]

    assert fit_window(said, 4096, 512) == said


def test_the_oldest_goes_first() -> None:
    said = [SYSTEM, *(Utterance("user", f"{number}" * 300) for number in range(10)), QUESTION]

    kept = fit_window(said, 1024, 512)

    assert kept[0] == SYSTEM
    assert kept[1:] == said[-len(kept) + 1 :]
    assert 2 < len(kept) < len(said)


def test_a_question_larger_than_the_window_is_still_asked() -> None:
    huge = Utterance("user", "x" * 32_000)

    assert fit_window([SYSTEM, Utterance("user", "old"), huge], 1024, 512) == [SYSTEM, huge]


@given(lines, st.integers(256, 8192), st.integers(1, 8192))
def test_the_window_is_a_gapless_end_of_the_conversation(history: list[Utterance], context: int, output: int) -> None:
    kept = fit_window([SYSTEM, *history, QUESTION], context, output)

    assert (kept[0], kept[-1]) == (SYSTEM, QUESTION)
    assert kept[1:-1] == history[len(history) - len(kept) + 2 :]
    room = max(context - output, context // 4) * 3
    if len(kept) > 2:
        assert sum(len(line.content.encode()) for line in kept) <= room
