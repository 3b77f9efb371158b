"""The page on the whole running system: real servers, real model, real browser."""

import re
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import BrowserContext, Page, expect

from devstack.stack import Stack
from tests.browser.test_page import say
from tests.conftest import eventually
from webui.markdown import render

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
ANSWER_MS = 60_000


@pytest.fixture
def real_page(context: BrowserContext, stack: Stack) -> Page:
    page = context.new_page()
    page.goto(stack.url("webui"))
    return page


@pytest.fixture
def long_answers(stack: Stack) -> Iterator[None]:
    """The built-in model goes on talking until it is cut: what it says of itself depends on what it remembers."""
    profiles, name = f"{stack.url('gateway')}/v1/model-profiles", "talkative"
    endpoint = {"base_url": stack.environment["LLM_BASE_URL"], "context_tokens": 1024, "output_tokens": 128}
    profile = {"name": name, **endpoint, "extra": {"ignore_eos": True}}
    requests.post(profiles, json=profile, timeout=10).raise_for_status()
    eventually(lambda: _is_known(stack, name), 30)
    yield
    requests.delete(f"{profiles}/{name}", timeout=10).raise_for_status()


def _is_known(stack: Stack, name: str) -> bool:
    """Every process reads the profiles again within seconds."""
    asked = {"model": name, "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    return requests.post(f"{stack.url('gateway')}/v1/chat/completions", json=asked, timeout=30).ok


def test_a_message_is_answered_and_both_become_replicated_memories(real_page: Page) -> None:
    expect(real_page.locator("#toy-notice")).to_contain_text("Toy model")
    say(real_page, "Hello! Who are you?")

    expect(real_page.locator(".answer .body:not(.live)")).not_to_be_empty(timeout=ANSWER_MS)
    for side in ("said", "answer"):
        expect(real_page.locator(f".{side} .memory")).to_have_text(" memory: replicated", timeout=20_000)


@pytest.mark.usefixtures("long_answers")
def test_a_reload_in_the_middle_of_an_answer_loses_and_repeats_nothing(real_page: Page, stack: Stack) -> None:
    say(real_page, "Tell me a very long story about a lighthouse keeper and the sea.")
    expect(real_page.locator(".live")).not_to_be_empty(timeout=ANSWER_MS)
    expect(real_page.locator(".live")).to_have_text(re.compile(".{60,}", re.DOTALL))
    before = real_page.locator(".live").text_content() or ""
    real_page.reload()
    real_page.wait_for_selector(".answer .body")

    shown = whole_answer(real_page)
    session_id = real_page.evaluate("location.hash.slice(1)")
    events = real_page.evaluate(f"fetch('/v1/sessions/{session_id}/events').then((answer) => answer.json())")["events"]
    kept = next(one["payload"]["message"] for one in events if one["payload"]["type"] == "assistant.final")
    assert kept.startswith(before)
    assert squeezed(shown) == squeezed(plain(real_page, kept))


def whole_answer(page: Page) -> str:
    """The answer's words once it is finished, as one line."""
    expect(page.locator(".answer .body:not(.live)")).not_to_be_empty(timeout=ANSWER_MS)
    return page.locator(".answer .body").inner_text()


def plain(page: Page, markdown: str) -> str:
    """A text as the page shows it: rendered by the same server, read back by the same browser."""
    read = "(html) => new DOMParser().parseFromString(html, 'text/html').body.textContent"
    return str(page.evaluate(read, render(markdown)))


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_a_closed_tab_opens_again_with_the_conversation(real_page: Page, context: BrowserContext, stack: Stack) -> None:
    say(real_page, "Please keep this.")
    answer = whole_answer(real_page)
    real_page.close()

    again = context.new_page()
    again.goto(stack.url("webui"))
    expect(again.locator(".said .text")).to_have_text("Please keep this.")
    assert whole_answer(again) == answer


@pytest.mark.usefixtures("long_answers")
@pytest.mark.parametrize("victim", ["gateway", "worker-conversation"])
def test_an_answer_is_complete_and_there_once_after_a_process_was_killed(
    real_page: Page, stack: Stack, victim: str
) -> None:
    say(real_page, f"Tell me a long story in which nobody says {victim}.")
    expect(real_page.locator(".live")).to_have_text(re.compile(".{20,}", re.DOTALL), timeout=ANSWER_MS)
    stack.kill(victim)

    expect(real_page.locator(".answer .body:not(.live)")).not_to_be_empty(timeout=120_000)
    expect(real_page.locator(".turn")).to_have_count(1)
    expect(real_page.locator(".answer .memory")).to_have_text(" memory: replicated", timeout=60_000)


def test_a_message_written_while_the_gateway_is_down_arrives_once(real_page: Page, stack: Stack) -> None:
    say(real_page, "first")
    whole_answer(real_page)
    stack.down("gateway")
    try:
        say(real_page, "written in the dark")
        expect(real_page.get_by_text("written in the dark")).to_be_visible()
    finally:
        stack.up("gateway")

    expect(real_page.locator(".turn").nth(1).locator(".answer .memory")).to_be_visible(timeout=ANSWER_MS)
    expect(real_page.locator(".turn")).to_have_count(2)
