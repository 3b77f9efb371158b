"""Every call of a conversation and every event of its stream is shown, over HTTP, on the whole running system."""

import ast
from collections.abc import Iterator

from app.domain.events import EventType
from app.gateway.archives import archives
from app.gateway.conversation import conversation
from app.gateway.search import search
from app.gateway.session_control import session_control
from app.gateway.streams import streams
from app.gateway.transcripts import transcripts
from tests.architecture import source
from tests.shifts import ON_THE_STACK

AREAS = (archives, conversation, search, session_control, streams, transcripts)
WEBSOCKET = "WS /v1/session/{session_id}/stream"


def owed() -> set[str]:
    """What has to be shown."""
    calls = {f"{each.method} {each.path}" for area in AREAS for each in area.operations}
    return {call.replace("<", "{").replace(">", "}") for call in calls} | {WEBSOCKET} | set(EventType)


def shown() -> Iterator[str]:
    """What the marks `promise` name, of tests that run on the whole stack."""
    for module in source.modules("tests"):
        for function in module.functions if str(module.path) in ON_THE_STACK else ():
            for mark in function.decorator_list:
                if isinstance(mark, ast.Call) and source.dotted(mark.func) == "pytest.mark.promise":
                    yield from (ast.literal_eval(name) for name in mark.args)


def test_every_call_of_a_conversation_and_every_event_has_a_test_on_the_whole_stack() -> None:
    assert set(shown()) == owed()
