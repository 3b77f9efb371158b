"""The gateway of the integration tests: one for all, on the real servers."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from app.settings import Settings
from devstack.stack import Stack
from tests.integration.gateway_process import Answerer, Gateway


@pytest.fixture(scope="session")
def gateway(servers: Stack) -> Iterator[Gateway]:
    running = Gateway(servers.environment, LLM_BASE_URL="http://127.0.0.1:1/v1").start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def answerer(engine: Engine, settings: Settings) -> Answerer:
    return Answerer(engine, settings)
