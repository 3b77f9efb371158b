"""The page's server between a client and a gateway that follows a script, a fresh one for every test."""

from collections.abc import Iterator

import pytest

from tests.browser.conftest import WebUi
from tests.browser.scripted_gateway import Script, ScriptedGateway
from tests.integration.webui.stage import Stage, a_stage


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with a_stage() as running:
        yield running


@pytest.fixture
def gateway(stage: Stage) -> Iterator[ScriptedGateway]:
    running = stage[0]
    running.script = Script()
    yield running
    if running.is_away:
        running.come_back()


@pytest.fixture
def webui(stage: Stage, gateway: ScriptedGateway) -> WebUi:
    return stage[1]
