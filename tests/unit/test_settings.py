"""Settings are right, or the process says in one line which one is not; never a secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Misconfigured, Settings, listing, read
from tests.conftest import ROOT


def test_nothing_set_is_fine_until_it_is_needed() -> None:
    chosen = read({})

    with pytest.raises(Misconfigured, match=r"^POSTGRES_DSN is not set; example: POSTGRES_DSN=postgresql://"):
        chosen.require("postgres_dsn")


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert read({"GATEWAY_PORT": ""}).gateway_port == 20016


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_PORT", "abc"), ("GATEWAY_PORT", "0"), ("GATEWAY_PORT", "70000"), ("LOG_LEVEL", "LOUD"),
        ("LEASE_SECONDS", "0"), ("LLM_BASE_URL", "127.0.0.1:11434"), ("SOMA_BASE_URL", "ftp://x"),
        ("GATEWAY_REQUIRE_AUTH", "true"), ("GATEWAY_WRITE_THROUGH", "perhaps"), ("MEMORY_SYNC_BATCH_SIZE", "1e9"),
        ("KAFKA_SECURITY_PROTOCOL", "plain"), ("LLM_TEMPERATURE", "nan"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_value_is_named_with_an_example_and_not_repeated(name: str, value: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        read({name: value})

    text = str(refused.value)
    assert text.startswith(f"{name} is wrong: ")
    assert f"example: {name}=" in text
    assert "\n" not in text


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "dsn"
    path.write_text("postgresql://u:p@h/d\n")

    assert read({"POSTGRES_DSN_FILE": str(path)}).postgres_dsn.get_secret_value() == "postgresql://u:p@h/d"
    with pytest.raises(Misconfigured, match="POSTGRES_DSN_FILE"):
        read({"POSTGRES_DSN_FILE": str(tmp_path / "nothing")})


def test_secrets_are_never_printed() -> None:
    chosen = read(
        {"POSTGRES_DSN": "postgresql://u:hunter2@h/d", "LLM_API_KEY": "hunter2", "REDIS_URL": "redis://:hunter2@h"}
    )

    assert "hunter2" not in repr(chosen)
    assert "hunter2" not in str(chosen.model_dump())


def test_addresses_lose_their_last_slash() -> None:
    assert read({"LLM_BASE_URL": "http://h/v1/"}).llm_base_url == "http://h/v1"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read({}).gateway_port = 1  # type: ignore[misc]


def test_the_listing_names_every_setting() -> None:
    text = listing()

    assert all(f"#{name.upper()}=" in text for name in Settings.model_fields)


def test_the_listing_can_be_printed() -> None:
    argv = [sys.executable, "-m", "app.settings"]
    printed = subprocess.run(argv, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=True)

    assert printed.stdout == listing()
