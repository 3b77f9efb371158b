"""The command itself: its name, where it looks for the gateway, and whose key it shows."""

import importlib
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from app.cli.__main__ import run
from app.cli.client import Refused
from app.cli.surroundings import client_for
from tests.scripted_api import Reply, ScriptedApi
from tests.unit.conftest import Typist

ROOT = Path(__file__).parents[2]
QUIET = Reply({"counts": [], "items": [], "next_cursor": None})


def test_soma_is_the_name_of_a_function_that_is_there() -> None:
    package = ConfigParser()
    package.read(ROOT / "setup.cfg", encoding="utf-8")
    name, _, place = package["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = place.partition(":")

    assert name == "soma"
    assert getattr(importlib.import_module(module), function) is run


def test_the_exit_status_of_soma_is_that_of_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["soma", "nothing"])

    with pytest.raises(SystemExit) as ended:
        run()

    assert ended.value.code == 2


def test_the_gateway_is_the_one_of_the_environment_unless_one_is_named(
    api: ScriptedApi, typist: Typist, tmp_path: Path
) -> None:
    api.on("GET", "/v1/admin/work", QUIET)
    secret = tmp_path / "key"
    secret.write_text("sk-2\n")

    client_for("", {"SOMA_GATEWAY_URL": typist.base, "SOMA_KEY_FILE": str(secret)}).call("GET", "/v1/admin/work")
    client_for(typist.base, {"SOMA_GATEWAY_URL": "http://127.0.0.1:1"}).call("GET", "/v1/admin/work")

    assert [asked.headers.get("authorization") for asked in api.asked] == ["Bearer sk-2", None]


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"SOMA_KEY": "a\nb"}, "signs that no key has"),
        ({"SOMA_KEY_FILE": "no/where"}, "cannot be read"),
    ],
)
def test_a_key_that_cannot_be_one_is_told_before_anything_is_asked(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        client_for("http://127.0.0.1:1", environment)


@pytest.mark.parametrize("address", ["127.0.0.1:20016", "http://", "ftp://127.0.0.1"])
def test_what_is_no_address_is_one_sentence(typist: Typist, address: str) -> None:
    typist.base = address
    printed = typist.types("work")

    assert (printed.status, printed.err.count("\n")) == (1, 1)
    assert "example: http://127.0.0.1:20016" in printed.err
