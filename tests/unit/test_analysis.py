"""What a message is about, by light rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.analysis import analyse


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("What is my cat called?", "question"),
        ("is it raining", "question"),
        ("我的猫叫什么？", "question"),
        ("Summarize this for me.", "command"),
        ("Hello there", "greeting"),
        ("Hello, the third of the invoices never came in", "statement"),
        ("thanks!", "thanks"),
        ("My cat is called Miso.", "statement"),
        ("", "statement"),
    ],
)
def test_what_somebody_wants_is_told_from_how_they_begin(text: str, intent: str) -> None:
    assert analyse(text).intent == intent


@pytest.mark.parametrize(
    ("text", "sentiment"),
    [
        ("This is great, thank you", "positive"),
        ("this is not good", "negative"),
        ("it never fails", "positive"),
        ("It is broken and I hate it", "negative"),
        ("The train leaves at nine", "neutral"),
    ],
)
def test_a_word_turned_round_by_a_no_counts_the_other_way(text: str, sentiment: str) -> None:
    assert analyse(text).sentiment == sentiment


def test_tags_come_sorted_and_once() -> None:
    text = "My lawyer says the contract costs tax: see https://a.example and\n```\ndef f(): ...\n```"

    assert analyse(text).tags == ("code", "law", "link", "money")
    assert analyse(text).as_json()["tags"] == ["code", "law", "link", "money"]


@given(text=st.text(max_size=300))
def test_every_text_has_an_analysis(text: str) -> None:
    found = analyse(text)

    assert found.intent in {"greeting", "thanks", "question", "command", "statement"}
    assert found.sentiment in {"positive", "neutral", "negative"}
