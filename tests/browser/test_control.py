"""What people do to conversations on the page: another answer, a branch, a name, a hold, an end, quick actions."""

import re

from playwright.sync_api import Page, expect

from app.domain.actions import REQUESTS, Action
from app.domain.events import EventType
from tests.browser.scripted_gateway import ScriptedGateway, Session
from tests.browser.test_page import say, session_of

NOT_NOW = (503, {"detail": "the database does not answer"})


def answered(page: Page, text: str) -> None:
    """This was said, and its answer is there."""
    say(page, text)
    expect(page.locator(".turn").last.locator(".answer strong")).to_have_text(text)


def deeds_of(page: Page, title: str) -> None:
    """The list is open, and what can be done with this conversation."""
    if not page.get_by_role("dialog").is_visible():
        page.get_by_role("button", name="Conversations").click()
    page.get_by_role("button", name=f"What can be done with “{title}”").click()


def test_the_last_answer_can_be_given_again_and_the_old_one_stays_under_a_fold(
    page: Page, gateway: ScriptedGateway
) -> None:
    gateway.script.answer_for = lambda _text: "the **first** try"
    say(page, "tell me")
    expect(page.locator(".answer strong")).to_have_text("first")
    gateway.script.answer_for = lambda _text: "the **second** try"

    for _ in ("at once", "after a reload"):
        if page.locator(".earlier").count() == 0:
            page.get_by_role("button", name="Answer again").click()
        else:
            page.reload()
        expect(page.locator(".answer strong")).to_have_text("second")
        expect(page.locator(".said .text")).to_have_text("tell me")
        expect(page.locator(".turn")).to_have_count(1)
        page.get_by_text("An earlier answer").click()
        expect(page.locator(".earlier strong")).to_have_text("first")


def test_only_the_last_answer_can_be_given_again_and_not_while_one_is_given(
    page: Page, gateway: ScriptedGateway
) -> None:
    again = page.get_by_role("button", name="Answer again")
    answered(page, "one")
    answered(page, "two")
    expect(page.locator(".turn").nth(1).get_by_role("button", name="Answer again")).to_be_visible()
    expect(again).to_have_count(1)

    gateway.script.held = True
    say(page, "three is answered slowly")
    expect(page.locator(".live")).to_be_visible()
    expect(again).to_have_count(0)
    gateway.script.held = False
    expect(page.locator(".turn").nth(2).get_by_role("button", name="Answer again")).to_be_visible()


def test_a_wish_that_reaches_nobody_is_said_and_repeated_under_one_key(page: Page, gateway: ScriptedGateway) -> None:
    answered(page, "one")
    gateway.script.refusal = NOT_NOW
    page.get_by_role("button", name="Answer again").click()
    expect(page.get_by_role("alert")).to_have_text("The database does not answer.")
    expect(page.get_by_role("button", name="Answer again")).to_be_focused()
    gateway.script.refusal = None

    page.keyboard.press("Enter")
    expect(page.locator(".earlier")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()
    keys = [fields["idempotency-key"] for _, path, fields in gateway.requests if path.endswith("/regenerate")]
    assert keys[-1] == keys[-2]


def test_an_edited_message_opens_a_branch_that_says_where_it_came_from(page: Page, gateway: ScriptedGateway) -> None:
    answered(page, "one")
    answered(page, "two")
    source = session_of(page)

    page.get_by_role("button", name="Edit").last.click()
    field = page.get_by_label("Your message, put differently")
    expect(field).to_be_focused()
    expect(field).to_have_value("two")
    field.fill("two, but better")
    page.keyboard.press("Enter")

    expect(page.locator(".turn").last.locator(".answer strong")).to_have_text("two, but better")
    expect(page.locator("#origin")).to_have_text("A branch of “one”. That one goes on as it was.")
    assert session_of(page) != source
    assert gateway.said(session_of(page)) == ["one", "two, but better"]
    assert gateway.said(source) == ["one", "two"]
    page.locator("#origin a").click()
    expect(page.locator(".said .text").last).to_have_text("two")
    expect(page.locator("#origin")).to_be_hidden()


def test_editing_can_be_left_with_escape_and_a_branch_that_fails_says_why(page: Page, gateway: ScriptedGateway) -> None:
    answered(page, "one")
    page.get_by_role("button", name="Edit").click()
    page.keyboard.press("Escape")
    expect(page.locator(".said .text")).to_be_visible()
    expect(page.get_by_role("button", name="Edit")).to_be_focused()

    gateway.script.refusal = NOT_NOW
    page.keyboard.press("Enter")
    page.get_by_label("Your message, put differently").fill("other")
    page.get_by_role("button", name="Send as a branch").click()
    expect(page.locator(".branch")).to_contain_text("The database does not answer.")
    expect(page.get_by_label("Your message, put differently")).to_have_value("other")


def test_a_conversation_is_renamed_in_its_line(page: Page, gateway: ScriptedGateway) -> None:
    answered(page, "bread?")
    deeds_of(page, "bread?")
    page.get_by_role("button", name="Rename").click()
    field = page.get_by_label("New name for “bread?”")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_visible()

    page.keyboard.press("Enter")
    page.get_by_role("button", name="Rename").click()
    field.fill("<b>Bread</b>")
    page.keyboard.press("Enter")

    expect(page.get_by_role("link", name="<b>Bread</b>")).to_be_visible()
    expect(page.locator("#title")).to_have_text("<b>Bread</b>")
    assert gateway.session(session_of(page)).title == "<b>Bread</b>"


def test_a_conversation_is_deleted_only_after_a_question_in_plain_words(page: Page, gateway: ScriptedGateway) -> None:
    answered(page, "secret")
    session = session_of(page)
    deeds_of(page, "secret")
    page.get_by_role("button", name="Delete…").click()
    expect(page.locator(".confirm")).to_contain_text("Delete “secret” for good?")
    page.get_by_role("button", name="Keep it").click()
    assert session in gateway.sessions

    deeds_of(page, "secret")
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("link", name="secret")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Say something")).to_be_visible()
    assert session not in gateway.sessions


def test_a_held_conversation_says_so_takes_messages_and_goes_on_when_released(
    page: Page, gateway: ScriptedGateway
) -> None:
    answered(page, "one")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#held")).to_contain_text("Paused: messages are kept")
    say(page, "two")
    expect(page.locator(".turn").last.locator(".answer")).to_contain_text("answered once you resume")
    page.get_by_role("button", name="Conversations").click()
    expect(page.get_by_role("link", name=re.compile("Paused"))).to_be_visible()

    deeds_of(page, "one")
    page.locator(".row-deeds").get_by_role("button", name="Resume").click()
    page.keyboard.press("Escape")
    expect(page.locator("#held")).to_be_empty()
    expect(page.locator(".turn").last.locator(".answer strong")).to_have_text("two")


def test_quick_actions_ask_with_one_press(page: Page, gateway: ScriptedGateway) -> None:
    quick = page.get_by_role("group", name="Quick actions")
    expect(quick).to_be_hidden()
    answered(page, "one")
    labels = {"Summarize": "summarize", "Next steps": "next_steps", "Status report": "status_report", "Nudge": "nudge"}

    for label, action in labels.items():
        quick.get_by_role("button", name=label).click()
        expect(page.locator(".turn").last.locator(".answer strong")).to_have_text(REQUESTS[Action(action)])

    assert gateway.said(session_of(page)) == ["one", *(REQUESTS[Action(each)] for each in labels.values())]
    expect(page.locator(".turn").last.locator(".said .memory")).to_have_count(0)


def test_tools_are_lines_that_unfold_to_what_they_were_called_with_and_what_came_back(
    page: Page, gateway: ScriptedGateway
) -> None:
    def work(session: Session) -> None:
        called = {"tool_name": "clock", "request_id": "call-1"}
        session.add(EventType.TOOL_START, "call-1", "", called | {"status": "running"})
        ended = called | {"status": "success", "execution_time": 0.25}
        session.add(EventType.TOOL_RESULT, "call-1:result", '"<i>noon</i>"', ended, args={"zone": "UTC"})
        failed = {"tool_name": "oven", "request_id": "call-2", "status": "timeout", "reason": "It took 30 s."}
        session.add(EventType.TOOL_RESULT, "call-2:result", "{}", failed)

    gateway.script.work = work
    answered(page, "what time is it?")
    clock, oven = page.locator(".tool").nth(0), page.locator(".tool").nth(1)
    expect(page.locator(".tool")).to_have_count(2)
    expect(clock.locator("summary")).to_have_text("clock done, 0.3 s")
    expect(oven.locator("summary")).to_have_text("oven took too long")

    clock.locator("summary").press("Enter")
    expect(clock.locator("pre").first).to_contain_text('"zone": "UTC"')
    expect(clock.locator("pre").last).to_have_text('"<i>noon</i>"')
    oven.locator("summary").click()
    expect(oven).to_contain_text("It took 30 s.")


def test_a_tool_that_no_message_asked_for_stands_for_itself(page: Page, gateway: ScriptedGateway) -> None:
    answered(page, "one")
    session = gateway.session(session_of(page))
    session.add(EventType.TOOL_START, "c", "", {"tool_name": "clock", "request_id": "c", "status": "queued"})
    expect(page.locator(".tool summary")).to_have_text("clock waiting")
    ended = {"tool_name": "clock", "request_id": "c", "status": "success", "execution_time": 0.01}
    session.add(EventType.TOOL_RESULT, "c:result", '"noon"', ended)

    expect(page.locator(".tool summary")).to_have_text("clock done, under 0.1 s")
    answered(page, "two")
    expect(page.locator(".turn").last.locator(".said .text")).to_have_text("two")


def test_memories_that_were_used_can_be_read_and_their_absence_is_said(page: Page, gateway: ScriptedGateway) -> None:
    told = {"content": "<b>Miso</b> is my cat", "role": "user", "session_id": "other", "created_at": None}
    gateway.script.work = lambda session: session.add(
        EventType.CONTEXT, "c-1", "", {"results": [told], "degraded": False}
    )
    answered(page, "who is Miso?")
    page.get_by_text("1 memory used").click()
    expect(page.locator(".recalled q")).to_have_text("<b>Miso</b> is my cat")
    expect(page.locator(".recalled a")).to_have_attribute("href", "#other")

    late = {"results": [], "degraded": True, "late": True}
    gateway.script.work = lambda session: session.add(EventType.CONTEXT, "c-2", "", late)
    answered(page, "and now?")
    expect(page.locator(".turn").last.locator(".recalled")).to_contain_text("recall was left out")


def test_a_refusal_by_policy_is_an_end_with_its_reason(page: Page, gateway: ScriptedGateway) -> None:
    gateway.script.ending = EventType.DENIED
    gateway.script.ending_metadata = {"policy": {"action": "message", "reason": "Contracts are not discussed here."}}
    say(page, "the contract")

    expect(page.locator(".ended[data-kind=denied]")).to_contain_text("Contracts are not discussed here.")
    expect(page.get_by_role("button", name="Answer again")).to_have_count(0)
    gateway.script.ending = EventType.FINAL
    say(page, "the weather")
    expect(page.locator(".turn").last.locator(".answer strong")).to_have_text("the weather")


def test_a_list_that_cannot_be_loaded_says_so(page: Page, gateway: ScriptedGateway) -> None:
    gateway.go_away()
    page.get_by_role("button", name="Conversations").click()

    expect(page.get_by_role("dialog")).to_contain_text("The list cannot be loaded now.")
