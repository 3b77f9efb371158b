"""A turn in a process of its own: what it says, how its death is told, and that it ends with its worker."""

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict

import pytest
from sqlalchemy import Engine

from app.adapters.own_process import OwnProcess
from app.domain.conversation import Turn
from app.domain.errors import LeaseLost, ProcessDied, StoreUnavailable
from devstack.stack import Stack
from tests.builders import a_message
from tests.conftest import eventually
from tests.contracts.store_rig import PostgresRig

TURN = Turn("e-1", "s-1", 1, "t-1", None, {"a": "é"}, 3, "worker@host:1:x", deaths=2)
CHILDREN = "tests.integration.children"


def test_what_the_child_says_comes_back() -> None:
    said = OwnProcess(f"{CHILDREN}.says_done")(TURN)

    assert (said["outcome"], said["first_pieces"], said["saw"]) == ("done", [0.5], "e-1")


@pytest.mark.parametrize(("child", "words"), [("is_killed", "by SIGSEGV"), ("never_reads", "with status 3")])
def test_a_child_that_ends_without_a_word_is_a_death_that_says_how(child: str, words: str) -> None:
    with pytest.raises(ProcessDied, match=words):
        OwnProcess(f"{CHILDREN}.{child}")(TURN)


def test_a_lost_lease_and_an_outage_are_what_they_would_be_in_the_worker() -> None:
    with pytest.raises(LeaseLost):
        OwnProcess(f"{CHILDREN}.lost_it")(TURN)
    with pytest.raises(StoreUnavailable, match="not answering"):
        OwnProcess(f"{CHILDREN}.store_is_away")(TURN)


@pytest.mark.servers
def test_the_child_ends_with_its_worker(servers: Stack, engine: Engine) -> None:
    """The model that it asks accepts and never answers; then the worker goes, and with it the pipe."""
    with closing(PostgresRig(engine)) as store, closing(socket.create_server(("127.0.0.1", 0))) as model:
        message = a_message()
        store.inbox.accept(message, None)
        turn = store.process().turns.claim(message.event_id)
        assert turn is not None
        url = f"http://127.0.0.1:{model.getsockname()[1]}/v1"
        with child_of(servers.environment | {"PATH": "", "LLM_BASE_URL": url}) as child:
            assert child.stdin is not None
            child.stdin.write(json.dumps(asdict(turn)) + "\n")
            child.stdin.flush()
            model.settimeout(30)
            model.accept()
            assert child.poll() is None

            child.stdin.close()

            eventually(lambda: child.poll() == 1, 20)


def child_of(environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "app.wiring.alone"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
