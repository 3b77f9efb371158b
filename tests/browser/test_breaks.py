"""The page when lines break: nothing missing, nothing twice."""

import random

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.conftest import WebUi
from tests.browser.scripted_gateway import ScriptedGateway
from tests.browser.test_page import STORY, say, session_of
from tests.conftest import eventually as until


def whole_story(page: Page) -> None:
    """The answer is there once, complete, in one turn."""
    expect(page.locator(".answer .body:not(.live)")).to_have_text(STORY, timeout=40_000)
    expect(page.locator(".turn")).to_have_count(1)


def test_a_reload_in_the_middle_of_an_answer_goes_on_without_gap_or_repeat(
    page: Page, gateway: ScriptedGateway
) -> None:
    gateway.script.answer_for = lambda _text: STORY
    gateway.script.held = True
    say(page, "a story")
    expect(page.locator(".live")).to_contain_text("word50")
    page.reload()

    expect(page.locator(".live")).to_contain_text("word50")
    assert STORY.startswith(page.locator(".live").inner_text())
    gateway.script.held = False
    whole_story(page)


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_that_breaks_after_every_few_items_loses_nothing(
    page: Page, gateway: ScriptedGateway, seed: int
) -> None:
    gateway.script.answer_for = lambda _text: STORY
    gateway.script.piece_seconds = 0.02
    gateway.script.items_per_stream = random.Random(seed).randint(2, 9)
    say(page, "a story")

    whole_story(page)
    cursors = gateway.streams_opened[session_of(page)]
    assert len(cursors) > 3
    assert any("." in cursor for cursor in cursors), "no stream resumed in the middle of the answer"


def test_the_gateway_breaks_off_and_the_page_resumes_behind_what_it_has(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.answer_for = lambda _text: STORY
    gateway.script.held = True
    say(page, "a story")
    expect(page.locator(".live")).to_contain_text("word50")
    session = session_of(page)
    gateway.break_connections()
    until(lambda: len(gateway.streams_opened[session]) >= 2)

    assert gateway.streams_opened[session][-1].count(".") == 2
    gateway.script.held = False
    whole_story(page)


def test_a_new_attempt_forgets_the_text_of_the_first(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.answer_for = lambda _text: STORY
    gateway.script.held = True
    say(page, "a story")
    expect(page.locator(".live")).to_contain_text("word50")
    gateway.start_again(session_of(page))
    gateway.script.held = False

    whole_story(page)


def test_where_no_websocket_opens_server_sent_events_take_its_place(
    context: BrowserContext, webui: WebUi, gateway: ScriptedGateway
) -> None:
    page = context.new_page()
    page.add_init_script(
        "WebSocket = class { constructor() { setTimeout(() => this.onclose?.({ code: 1006 })) } close() {} }"
    )
    gateway.script.answer_for = lambda _text: STORY
    gateway.script.held = True
    page.goto(webui.base)
    say(page, "a story")
    expect(page.locator(".live")).to_contain_text("word50")
    expect(page.locator("#connection-text")).to_have_text("Connected")
    gateway.break_connections()
    gateway.script.held = False

    whole_story(page)


def test_a_message_written_while_the_gateway_is_away_arrives_exactly_once(page: Page, gateway: ScriptedGateway) -> None:
    say(page, "first")
    expect(page.locator(".answer strong")).to_have_text("first")
    gateway.go_away()
    say(page, "while you were out")
    expect(page.locator(".said[data-state=waiting]")).to_contain_text("sent again by itself")
    expect(page.locator("#connection-text")).to_have_text("Reconnecting…")
    page.reload()
    expect(page.get_by_text("while you were out")).to_be_visible()
    gateway.come_back()

    expect(page.locator(".answer strong").last).to_have_text("while you were out", timeout=30_000)
    assert gateway.said(session_of(page)) == ["first", "while you were out"]
    expect(page.locator(".turn")).to_have_count(2)


def test_an_answer_lost_on_the_way_back_does_not_double_the_message(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.unanswered = 2
    say(page, "once only")

    expect(page.locator(".answer strong")).to_have_text("once only", timeout=30_000)
    until(lambda: page.evaluate("JSON.parse(localStorage['soma.outbox']).length") == 0)
    assert gateway.said(session_of(page)) == ["once only"]
    expect(page.locator(".turn")).to_have_count(1)


def test_a_busy_server_is_asked_again_later_under_the_same_key(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.refusal = (503, {"detail": "the database does not answer."})
    say(page, "patience")
    expect(page.locator(".said[data-state=waiting]")).to_contain_text("the database does not answer")
    gateway.script.refusal = None

    expect(page.locator(".answer strong")).to_have_text("patience")
    keys = [headers["idempotency-key"] for method, path, headers in gateway.requests if path == "/v1/session/message"]
    assert keys[-1] == keys[-2]


def test_the_pages_own_server_dies_and_comes_back(page: Page, webui: WebUi, gateway: ScriptedGateway) -> None:
    gateway.script.answer_for = lambda _text: STORY
    gateway.script.held = True
    say(page, "a story")
    expect(page.locator(".live")).to_contain_text("word50")
    webui.kill()
    expect(page.locator("#connection-text")).to_have_text("Reconnecting…")
    webui.start()
    gateway.script.held = False

    whole_story(page)


def test_a_cursor_from_nowhere_starts_the_conversation_anew(page: Page, gateway: ScriptedGateway) -> None:
    say(page, "before")
    expect(page.locator(".answer strong")).to_have_text("before")
    session = session_of(page)
    kept = gateway.sessions.pop(session)
    gateway.break_connections()
    until(lambda: len(gateway.streams_opened[session]) >= 2)
    gateway.sessions[session] = kept
    say(page, "after")

    expect(page.locator(".answer strong").last).to_have_text("after")
    expect(page.locator(".turn")).to_have_count(2)


def test_no_text_of_anybody_makes_the_browser_ask_or_run_anything(
    context: BrowserContext, webui: WebUi, gateway: ScriptedGateway
) -> None:
    asked: list[str] = []

    def note(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(webui.base), note)
    page = context.new_page()
    canary = (
        "<img src=x onerror=\"window.hit=1\"><img src='http://evil.example/a.png'>![i](http://evil.example/b.png)"
        "<script>window.hit=1</script><iframe src='http://evil.example/'></iframe><style>@import 'http://evil.example/c'</style>"
        "<svg onload=window.hit=1><a href='javascript:window.hit=1'>x</a>[y](javascript:window.hit=1)"
        "\n\n<link rel=stylesheet href=http://evil.example/d><base href=http://evil.example/>"
    )
    gateway.script.answer_for = lambda text: text
    page.goto(webui.base)
    say(page, canary)

    expect(page.locator(".answer .body:not(.live)")).to_contain_text("onerror")
    assert page.evaluate("window.hit") is None
    assert page.locator(".turns :is(img, script, iframe, style, svg, link, base, a)").count() == 0
    assert asked == []
