"""What a search shows of a long text, and which cursor belongs to it."""

from datetime import UTC, datetime

from app.domain.utterances import SNIPPET_LENGTH, UtteranceFilter, UtterancePlace, snippet

LONG = " ".join(f"word{number}" for number in range(500))


def test_a_short_text_is_shown_whole_and_on_one_line() -> None:
    assert snippet("my cat\n\n is\tcalled Miso", ["cat"]) == "my cat is called Miso"


def test_a_long_text_is_shown_around_the_first_of_the_words_and_cut_between_words() -> None:
    shown = snippet(LONG, ["word300", "word250"])

    assert "word250 " in shown
    assert (shown[:2], shown[-2:]) == ("… ", " …")
    assert len(shown) <= SNIPPET_LENGTH + 4
    assert set(shown[2:-2].split()) <= set(LONG.split())


def test_only_the_side_that_is_left_out_has_an_ellipsis() -> None:
    assert snippet(LONG, ["word0"]).startswith("word0 word1 ")
    assert snippet(LONG, ["word499"]).endswith(" word499")


def test_a_whole_word_is_shown_rather_than_a_part_of_another() -> None:
    text = "concatenate " + "x " * 300 + "my Cat " + "y " * 300

    assert "my Cat" in snippet(text, ["cat"])


def test_a_word_with_signs_is_found_as_it_is_written() -> None:
    assert "(50%" in snippet("a " * 300 + "(50% off)" + " b" * 300, ["50%"])


def test_a_word_that_only_the_index_knows_shows_the_beginning() -> None:
    assert snippet(LONG, ["elsewhere"]).startswith("word0 ")


def test_a_text_without_spaces_is_cut_all_the_same() -> None:
    assert len(snippet("x" * 5000 + "cat", ["cat"])) <= SNIPPET_LENGTH + 4


def test_a_cursor_belongs_to_its_search_and_its_place() -> None:
    here = UtterancePlace(datetime(2026, 1, 1, tzinfo=UTC), "s-1", 7)
    seal = UtteranceFilter(("cat",), "t1").seal(here)

    assert seal == UtteranceFilter(("cat",), "t1").seal(here)
    assert seal != UtteranceFilter(("dog",), "t1").seal(here)
    assert seal != UtteranceFilter(("cat",)).seal(here)
    assert seal != UtteranceFilter(("cat",), "t1").seal(UtterancePlace(here.created_at, "s-1", 8))
