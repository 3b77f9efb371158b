"""The page's pure modules, each run in the browser that will run it."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.scripted_gateway import ScriptedGateway
from tests.browser.test_page import say

MERGE = """async (pieces) => {
  const { LiveAnswer } = await import("/static/answer.js");
  const answer = new LiveAnswer();
  return [pieces.map((piece) => answer.merge(...piece)), answer.text];
}"""


@pytest.mark.parametrize(
    ("pieces", "fresh", "text"),
    [
        ([[1, 0, "ab"], [1, 2, "cd"]], ["ab", "cd"], "abcd"),
        ([[1, 0, "ab"], [1, 0, "ab"], [1, 1, "bcd"]], ["ab", "", "cd"], "abcd"),
        ([[1, 0, "ab"], [1, 3, "x"]], ["ab", None], "ab"),
        ([[1, 0, "ab"], [2, 0, "new"], [1, 2, "old"]], ["ab", "new", ""], "new"),
        ([[1, 0, "🎈é"], [1, 1, "é漢"]], ["🎈é", "漢"], "🎈é漢"),
        ([[1, 5, "x"]], [None], ""),
    ],
)
def test_pieces_of_an_answer_merge_by_attempt_and_offset(
    page: Page, pieces: list[list[Any]], fresh: list[str | None], text: str
) -> None:
    assert page.evaluate(MERGE, pieces) == [fresh, text]


def test_pauses_grow_to_a_limit_and_are_never_all_alike(page: Page) -> None:
    shortest, longest = page.evaluate("""async () => {
      const { Pauses } = await import("/static/pauses.js");
      const low = new Pauses(), high = new Pauses();
      return [Array.from({ length: 9 }, () => low.next(0)), Array.from({ length: 9 }, () => high.next(1))];
    }""")

    assert longest[:4] == [400, 800, 1600, 3200]
    assert longest[-1] == 15_000
    assert shortest == [pause / 2 for pause in longest]


def test_memory_states_only_move_forward(page: Page) -> None:
    news = page.evaluate("""async () => {
      const { MemoryStates } = await import("/static/memory.js");
      const states = new MemoryStates();
      const heard = ["remembered", "accepted", "remembered", "replicated", "nonsense"];
      const told = heard.map((one) => states.note("e", one));
      return [told, states.of("e")];
    }""")

    assert news == [[True, False, False, True, False], "replicated"]


def test_a_system_without_write_through_promises_no_memory(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.config = {"model_is_toy": True, "features": {"write_through": False}}
    page.reload()
    expect(page.locator("#toy-notice")).to_be_visible()
    gateway.script.memories = False
    say(page, "hello")

    expect(page.locator(".said .small")).to_have_text("accepted")
