"""The settings of the core and of the gateway; the others, and how they are read, are in `app.settings`."""

from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr


def setting(default: Any, meaning: str, example: str = "", **limits: Any) -> Any:
    """A field with its default, what it means, and what else could stand there."""
    return Field(default, description=meaning, examples=[example] if example else None, **limits)


class CoreSettings(BaseModel):
    """Where the parts of the system are, and what the gateway lets in."""

    # core
    sa01_env: Literal["DEV", "TEST", "PROD"] = setting("DEV", "what this installation is for", "PROD")
    sa01_version: str = setting("0.1.0", "version shown in /ui/config.json")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting("INFO", "least severe log line", "INFO")
    postgres_dsn: SecretStr = setting(
        SecretStr(""), "Postgres, where truth lives", "postgresql://soma:secret@127.0.0.1:5432/soma"
    )
    redis_url: SecretStr = setting(SecretStr(""), "Redis for queues and live deltas", "redis://127.0.0.1:6379/0")
    kafka_bootstrap_servers: str = setting("", "Kafka brokers, comma separated", "127.0.0.1:9092")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = setting(
        "PLAINTEXT", "how to speak to Kafka", "SASL_SSL"
    )
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = setting(
        "", "SASL mechanism, where the protocol asks for one", "SCRAM-SHA-512"
    )
    kafka_sasl_username: str = setting("", "SASL user")
    kafka_sasl_password: SecretStr = setting(SecretStr(""), "SASL password")

    crash_point: str = setting(
        "", "for drills only: where a process ends, STEP:PASSING:TIMES or @FILE (docs/operations.md)", "after_publish:3"
    )

    # ports and addresses
    bind_host: str = setting("127.0.0.1", "address that gateway, web UI, brain and metrics listen on", "0.0.0.0")
    gateway_port: int = setting(20016, "port of the gateway", ge=1, le=65535)
    agent_ui_port: int = setting(20015, "port of the web page", ge=1, le=65535)
    flower_port: int = setting(5555, "port of Flower, the queue dashboard", ge=1, le=65535)
    brain_port: int = setting(9696, "port of the built-in memory service", ge=1, le=65535)
    metrics_port: int = setting(0, "port on which this worker process serves /metrics; 0 = none", ge=0, le=65535)
    metrics_dir: str = setting("", "folder for metrics of servers with several processes; empty = a temporary one")
    process_name: str = setting("", "name of this process in logs and health; set by the launcher")

    # policy
    opa_url: str = setting(
        "", "Open Policy Agent that decides; empty = the Rego of `policy/` does, in-process", "http://127.0.0.1:8181"
    )
    opa_decision_path: str = setting("/v1/data/soma/policy/allow", "path of the decision below it", pattern="^/")
    policy_cache_ttl: float = setting(2.0, "seconds for which a decision of OPA is kept; 0 = not at all", ge=0, le=60)
    policy_dir: str = setting("", "folder of the Rego that decides in-process; empty = `policy/` of this version")

    # gateway
    gateway_require_auth: bool = setting(False, "every route asks for credentials (not available yet)")
    gateway_enc_key: SecretStr = setting(
        SecretStr(""),
        "seals keys of models, secrets of webhooks; the same for every process: openssl rand -base64 32",
    )
    gateway_write_through: bool = setting(True, "every message and answer becomes a memory")
    gateway_write_through_async: bool = setting(True, "memories are delivered by the workers, not in the request")
    gateway_disable_sse: bool = setting(False, "switch server-sent events off")
    gateway_cors_origins: str = setting("", "other origins that may call, comma separated; empty = same origin")
    memory_batch_max_items: int = setting(500, "memories in one batch; more answer 413", ge=1, le=10_000)
    memory_import_max_bytes: int = setting(2**30, "largest file of POST /v1/memory/import", ge=1024)
    session_import_max_bytes: int = setting(16 * 2**20, "largest body of POST /v1/sessions/import", ge=1024)
    gateway_hsts: bool = setting(False, "send Strict-Transport-Security")
    gateway_max_body_bytes: int = setting(1_048_576, "largest request body", ge=1024)
    gateway_workers: int = setting(2, "gateway processes", ge=1, le=64)
    gateway_threads: int = setting(160, "threads per gateway process", ge=8, le=1024)
    gateway_max_streams: int = setting(112, "open streams per gateway process; more answer 503", ge=1, le=512)
    gateway_max_session_streams: int = setting(
        128, "open streams of one session, all processes together; more answer 429", ge=1, le=100_000
    )
    gateway_max_tenant_streams: int = setting(
        1000, "open streams of one tenant, all processes together; more answer 429", ge=1, le=1_000_000
    )
    openai_wait_seconds: float = setting(
        600.0, "longest time that a request of the OpenAI interface waits for its answer, which goes on", gt=0, le=3600
    )
    gateway_export_concurrency: int = setting(2, "exports that stream at once, all processes together", ge=1, le=64)
    gateway_exports_per_minute: int = setting(10, "exports and export jobs a caller may ask for in a minute", ge=1)
    gateway_export_require_tenant: bool = setting(False, "an export has to name a tenant")
    memory_export_max_rows: int = setting(100_000, "most memories of one export", ge=1)
    memory_export_page_size: int = setting(1000, "memories that an export reads at once", ge=1, le=100_000)
    memory_export_keep_hours: float = setting(24, "hours that the bytes of a finished export job are kept", gt=0)
    memory_export_max_bytes: int = setting(2_147_483_648, "room for the bytes of all export jobs", ge=1024)
