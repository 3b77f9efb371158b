"""A browser, the page's server as it is deployed, and a gateway that follows a script."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.scripted_gateway import Script, ScriptedGateway
from tests.browser.scripted_http import scripted_gateway
from tests.conftest import eventually as until

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class WebUi:
    """The page's server in a process of its own, as gunicorn runs it."""

    def __init__(self, gateway_base: str, **environment: str) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("POSTGRES", "UI_"))},
            "AGENT_UI_PORT": str(self.port), "UI_GATEWAY_BASE": gateway_base, "LOG_LEVEL": "WARNING", **environment,
        }  # fmt: skip
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "--config", "python:webui.server", "webui.app:create_app()"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self._environment, start_new_session=True)
        until(self._answers)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """gunicorn and its worker, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(15)


def browser_path() -> str | None:
    """A browser of this machine; None leaves the choice to playwright's own."""
    named = os.environ.get("BROWSER_PATH", "")
    return named or next((path for name in BROWSERS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser_path(), args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="session")
def stage() -> Iterator[tuple[ScriptedGateway, WebUi]]:
    gateway = scripted_gateway(free_port())
    webui = WebUi(gateway.base)
    yield gateway, webui
    webui.stop()
    gateway.go_away()


@pytest.fixture
def gateway(stage: tuple[ScriptedGateway, WebUi]) -> Iterator[ScriptedGateway]:
    running = stage[0]
    running.script = Script()
    running.sessions.clear()
    yield running
    running.script = Script()
    if running.is_away:
        running.come_back()


@pytest.fixture
def webui(stage: tuple[ScriptedGateway, WebUi]) -> WebUi:
    return stage[1]


# A browser on a machine that is busy with something else needs its time; what never comes fails all the same.
expect.set_options(timeout=20_000)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport={"width": 1100, "height": 800}, reduced_motion="reduce")
    opened.set_default_timeout(20_000)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, webui: WebUi, gateway: ScriptedGateway) -> Iterator[Page]:
    """The page, freshly opened by somebody who was never here. A script error fails the test."""
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(webui.base)
    yield opened
    assert not errors
