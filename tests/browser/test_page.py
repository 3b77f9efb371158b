"""The page as a person meets it, with a gateway that behaves."""

import re

from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.domain.events import EventType
from tests.browser.conftest import WebUi
from tests.browser.scripted_gateway import ScriptedGateway
from tests.conftest import eventually as until

STORY = " ".join(f"word{number}" for number in range(200))


def say(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")


def session_of(page: Page) -> str:
    return str(page.evaluate("location.hash.slice(1)"))


def test_a_message_is_sent_with_enter_and_its_answer_streams_in(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.answer_for = lambda _text: STORY
    gateway.script.held = True
    say(page, "tell me a story")

    expect(page.locator(".answer .live")).to_contain_text("word50")
    expect(page.locator(".answer")).not_to_contain_text("word199")
    gateway.script.held = False
    expect(page.locator(".answer .body:not(.live)")).to_have_text(STORY)
    assert gateway.said(session_of(page)) == ["tell me a story"]


def test_shift_enter_breaks_the_line(page: Page, gateway: ScriptedGateway) -> None:
    page.get_by_label("Your message").press_sequentially("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")

    expect(page.locator(".said .text")).to_have_text("one\ntwo")
    until(lambda: gateway.said(session_of(page)) == ["one\ntwo"])


def test_nothing_is_sent_while_an_input_method_composes(page: Page) -> None:
    field = page.get_by_label("Your message")
    field.fill("にほん")
    field.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True})

    expect(field).to_have_value("にほん")
    expect(page.locator(".turn")).to_have_count(0)


def test_a_final_answer_is_rendered_markdown(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.answer_for = lambda _text: "**bold** and `code`\n\n- one\n- two\n\n[a link](https://example.org)"
    say(page, "markdown please")

    expect(page.locator(".answer strong")).to_have_text("bold")
    expect(page.locator(".answer li")).to_have_count(2)
    expect(page.locator(".answer a")).to_have_attribute("rel", "noopener noreferrer nofollow")


def test_characters_beyond_the_basic_plane_stream_without_gap(page: Page, gateway: ScriptedGateway) -> None:
    text = "🎈👩‍🚀é漢字 " * 60
    gateway.script.answer_for = lambda _text: text
    gateway.script.held = True
    say(page, "balloons")
    expect(page.locator(".answer .live")).to_contain_text("🎈")
    gateway.break_connections()
    gateway.script.held = False

    expect(page.locator(".answer .body:not(.live)")).to_have_text(text.strip())


def test_memory_moves_from_accepted_to_replicated(page: Page, gateway: ScriptedGateway) -> None:
    say(page, "remember this")
    expect(page.locator(".said .memory")).to_have_text(" memory: accepted")
    expect(page.locator(".answer .memory")).to_have_text(" memory: accepted")

    for state in ("remembered", "replicated"):
        gateway.remember_all(session_of(page), state)
        expect(page.locator(".said .memory")).to_have_text(f" memory: {state}")
        expect(page.locator(".answer .memory")).to_have_text(f" memory: {state}")


def test_a_closed_tab_opens_again_where_it_was(page: Page, context: BrowserContext, webui: WebUi) -> None:
    say(page, "keep this")
    expect(page.locator(".answer strong")).to_have_text("keep this")
    page.close()

    again = context.new_page()
    again.goto(webui.base)
    expect(again.locator(".said .text")).to_have_text("keep this")
    expect(again.locator(".answer strong")).to_have_text("keep this")


def test_a_draft_survives_a_reload(page: Page) -> None:
    page.get_by_label("Your message").fill("not finished")
    page.reload()
    expect(page.get_by_label("Your message")).to_have_value("not finished")


def test_conversations_can_be_left_and_found_again(page: Page, gateway: ScriptedGateway) -> None:
    say(page, "the first one")
    expect(page.locator(".answer strong")).to_be_visible()
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_role("heading", name="Say something")).to_be_visible()
    say(page, "the second one")
    expect(page.locator(".answer strong")).to_have_text("the second one")

    page.get_by_role("button", name="Conversations").click()
    page.get_by_role("link", name=re.compile("the first one")).click()
    expect(page.locator(".said .text")).to_have_text("the first one")
    expect(page.locator(".turn")).to_have_count(1)


def test_two_messages_at_once_are_answered_each_in_its_place(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.held = True
    gateway.script.answer_for = lambda text: f"the answer to {text}, at some length"
    say(page, "one")
    say(page, "two")
    expect(page.locator(".said[data-state=kept]")).to_have_count(2)
    gateway.script.held = False

    expect(page.locator(".turn").nth(0)).to_contain_text("the answer to one")
    expect(page.locator(".turn").nth(1)).to_contain_text("the answer to two")
    expect(page.locator(".turn").nth(1).locator(".body.live")).to_have_count(0)


def test_an_error_is_a_sentence_and_offers_to_send_again(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.ending = EventType.ERROR
    gateway.script.ending_metadata = {"reason": "The model did not answer three times."}
    say(page, "hello?")
    expect(page.locator(".ended")).to_contain_text("The model did not answer three times.")

    gateway.script.ending = EventType.FINAL
    page.get_by_role("button", name="Send it again").click()
    expect(page.locator(".turn").nth(1).locator("strong")).to_have_text("hello?")


def test_cancelled_and_denied_are_said_in_plain_words(page: Page, gateway: ScriptedGateway) -> None:
    for ending, words in ((EventType.CANCELLED, "stopped"), (EventType.DENIED, "not allowed")):
        gateway.script.ending = ending
        say(page, str(ending))
        expect(page.locator(".ended").last).to_contain_text(words)


def test_an_answer_can_be_stopped_and_what_was_said_stays(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.held = True
    gateway.script.answer_for = lambda _text: "Once upon a time there was a boat, and it sailed for ever."
    gateway.script.ending_metadata = {"reason": "You stopped this answer."}
    say(page, "tell me")
    expect(page.locator(".answer .live")).to_contain_text("Once upon")

    page.get_by_role("button", name="Stop").click()

    expect(page.locator(".ended")).to_contain_text("You stopped this answer.")
    expect(page.locator(".answer .body")).to_contain_text("Once upon")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    page.reload()
    expect(page.locator(".answer .body")).to_contain_text("Once upon")


def test_a_wish_to_stop_that_reaches_nobody_can_be_made_again(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.held = True
    say(page, "tell me something long enough to be held")
    expect(page.locator(".answer .live")).to_be_visible()
    gateway.script.refusal = (503, {"detail": "not now"})
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="did not reach")).to_be_enabled()
    gateway.script.refusal = None

    page.get_by_role("button", name="Stop").click()

    expect(page.locator(".ended")).to_contain_text("stopped")


def test_a_refused_message_can_be_edited(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.refusal = (
        422,
        {"detail": "x", "errors": [{"loc": ["message"], "msg": "it holds half a character"}]},
    )
    say(page, "broken")
    expect(page.locator(".said[data-state=refused]")).to_contain_text("it holds half a character")
    gateway.script.refusal = None

    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("Your message")).to_have_value("broken")
    expect(page.locator(".turn")).to_have_count(0)


def test_the_toy_model_is_called_a_toy_with_a_way_to_a_real_one(page: Page, gateway: ScriptedGateway) -> None:
    expect(page.locator("#toy-notice")).to_contain_text("Toy model")
    page.get_by_role("link", name="Use a real model").click()
    expect(page.get_by_role("heading", name="Use a real model")).to_be_visible()
    expect(page.get_by_text("LLM_BASE_URL=").first).to_be_visible()
    gateway.script.config = {"model_is_toy": False, "features": {}}
    page.go_back()
    expect(page.locator("#toy-notice")).to_be_hidden()


def test_the_page_says_which_model_answers_and_which_one_answered(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.config = {"model_is_toy": False, "features": {}, "model": "llama3.2"}
    page.reload()
    expect(page.locator("#model")).to_have_text("llama3.2")
    say(page, "hello")

    expect(page.locator(".answer .model")).to_have_text("script")
    expect(page.locator("#model")).to_have_text("script")


def test_who_scrolled_up_stays_there_and_can_jump_to_the_end(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.answer_for = lambda _text: "\n\n".join(f"line {number}" for number in range(80))
    say(page, "long")
    expect(page.get_by_text("line 79", exact=True)).to_be_in_viewport()

    page.locator("#scroller").hover()
    page.mouse.wheel(0, -1500)
    expect(page.get_by_role("button", name="Newest message")).to_be_visible()
    before = page.evaluate("document.getElementById('scroller').scrollTop")
    session = gateway.session(session_of(page))
    session.add(EventType.USER, "other-tab", "from elsewhere")
    expect(page.locator(".turn")).to_have_count(2)
    assert page.evaluate("document.getElementById('scroller').scrollTop") == before

    page.get_by_role("button", name="Newest message").click()
    expect(page.get_by_text("from elsewhere")).to_be_in_viewport()


def test_at_360_pixels_nothing_sticks_out(page: Page, gateway: ScriptedGateway) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    gateway.script.answer_for = lambda _text: (
        "x" * 300 + "\n\n```\n" + "code " * 60 + "\n```\n\n|" + "cell|" * 20 + "\n|" + "-|" * 20 + "\n|" + "wide|" * 20
    )
    say(page, "w" * 500)
    expect(page.locator(".answer table")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert (
        page.evaluate(
            "(() => { const s = document.getElementById('scroller'); return s.scrollWidth - s.clientWidth })()"
        )
        == 0
    )


def test_dark_mode_is_dark_and_light_mode_light(browser: Browser, webui: WebUi, gateway: ScriptedGateway) -> None:
    brightness = {}
    for scheme in ("dark", "light"):
        page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(webui.base)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness[scheme] = sum(map(int, re.findall(r"\d+", colour)[:3]))
        page.close()

    assert brightness["dark"] < 150
    assert brightness["light"] > 650


def test_the_keyboard_reaches_everything_in_order_and_escape_closes_the_list(page: Page) -> None:
    expect(page.locator("#toy-notice")).to_be_visible()
    page.locator(".skip").focus()
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.textContent.trim().split('\\n')[0] || document.activeElement.id")
        )
    assert reached == ["SomaAgent01", "Search", "Conversations", "+ New", "Use a real model"]

    page.get_by_role("button", name="Conversations").press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_finished_answers_are_announced_and_pieces_are_not(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.held = True
    gateway.script.answer_for = lambda _text: "a whole answer in several pieces"
    say(page, "speak")
    expect(page.locator(".live")).to_contain_text("a whole")
    expect(page.locator("#announcer")).to_be_empty()
    gateway.script.held = False

    expect(page.locator("#announcer")).to_have_text("Answer: a whole answer in several pieces")
