"""Finding words in one's conversations, and conversations as files."""

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.scripted_gateway import ScriptedGateway
from tests.browser.test_control import NOT_NOW, answered, deeds_of
from tests.browser.test_page import session_of


def look_for(page: Page, words: str) -> None:
    page.locator("#scroller").focus()
    page.keyboard.press("/")
    expect(page.get_by_label("Words to look for")).to_be_focused()
    page.keyboard.type(words)


def test_words_are_found_marked_and_opened_with_the_keyboard_alone(page: Page) -> None:
    answered(page, "quince jam, the first <b>time</b>")
    first = session_of(page)
    page.get_by_role("button", name="New conversation").click()
    answered(page, "quince jam again")

    look_for(page, "quince jam")
    options = page.get_by_role("option")
    expect(options).to_have_count(4)
    expect(options.first.locator("mark")).to_have_text(["quince", "jam"])
    expect(options.last).to_contain_text("<b>time</b>")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(options.last).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")

    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator(".turn.found")).to_be_focused()
    assert session_of(page) == first


def test_a_found_answer_is_brought_before_the_eyes_in_a_long_conversation(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.answer_for = lambda text: f"**{text}**\n\n" + "\n\n".join(["much more"] * 30)
    for text in ("an early needle", "hay", "more hay"):
        answered(page, text)
    page.get_by_role("button", name="New conversation").click()

    look_for(page, "needle")
    expect(page.get_by_role("option")).to_have_count(2)
    page.keyboard.press("Enter")

    expect(page.locator(".turn.found")).to_be_in_viewport()
    expect(page.locator(".turn").last).not_to_be_in_viewport()


def test_a_search_says_when_nothing_is_found_and_what_is_wrong(page: Page, gateway: ScriptedGateway) -> None:
    answered(page, "one")
    look_for(page, "zebra")
    expect(page.locator("#search")).to_contain_text("Nothing has “zebra” in it.")
    page.get_by_label("Words to look for").fill("!!")
    expect(page.locator("#search")).to_contain_text("give it at least one letter")
    gateway.script.refusal = NOT_NOW
    page.get_by_label("Words to look for").fill("one")
    expect(page.locator("#search")).to_contain_text("The database does not answer.")

    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_label("Your message", exact=True).fill("and/or")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_found_words_are_whole_words_where_there_are_any(page: Page) -> None:
    cut = "async ([text, words]) => (await import('/static/search.js')).inPieces(text, words)"
    for text, words, pieces in (
        ("Jam and jams", ["jam"], ["", "Jam", " and jams"]),
        ("50% off", ["50%"], ["", "50%", " off"]),
        ("ein Äpfelchen", ["äpfelchen"], ["ein ", "Äpfelchen", ""]),
        ("snake_case", ["case"], ["snake_", "case", ""]),
        ("nothing", [".*"], ["nothing"]),
    ):
        assert page.evaluate(cut, [text, words]) == pieces


def files(page: Page, *contents: tuple[str, str]) -> None:
    page.get_by_role("button", name="Conversations").click()
    named: list[Any] = [
        {"name": name, "mimeType": "application/json", "buffer": text.encode()} for name, text in contents
    ]
    page.locator("[data-part=files]").set_input_files(named)


def test_a_conversation_is_saved_as_a_file_and_comes_back_from_it(page: Page, tmp_path: Path) -> None:
    answered(page, "Take this: along!")
    deeds_of(page, "Take this: along!")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export").click()
    assert saved.value.suggested_filename == "Take-this-along.json"
    text = Path(saved.value.path()).read_text()
    assert json.loads(text)["chats"][0]["session_id"] == session_of(page)
    page.keyboard.press("Escape")

    files(page, ("one.json", text), ("two.json", json.dumps({"chats": json.loads(text)["chats"] * 2})))

    expect(page.locator(".imported li").nth(0)).to_contain_text("Brought back.")
    expect(page.locator(".imported li").nth(1)).to_contain_text("2 conversations brought back.")
    expect(page.get_by_role("link", name="Take this: along!")).to_have_count(4)
    page.locator(".imported a").first.click()
    expect(page.locator(".said .text")).to_have_text("Take this: along!")


def test_wrong_files_get_the_gateways_sentence_and_do_not_stop_the_others(page: Page) -> None:
    right = json.dumps({"chats": [{"session_id": "x", "title": "brought", "events": []}]})

    files(page, ("notes.txt", "no json"), ("else.json", "{}"), ("right.json", right))

    rows = page.locator(".imported li")
    expect(rows.nth(0)).to_contain_text("The body is no JSON.")
    expect(rows.nth(1)).to_contain_text("In the body, chats is missing.")
    expect(rows.nth(2)).to_contain_text("Brought back.")


def test_a_file_that_reaches_nobody_can_be_sent_again(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.refusal = NOT_NOW
    files(page, ("right.json", json.dumps({"chats": [{"session_id": "x", "title": "brought", "events": []}]})))
    expect(page.locator(".imported li")).to_contain_text("The database does not answer.")
    gateway.script.refusal = None

    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".imported li")).to_contain_text("Brought back.")
