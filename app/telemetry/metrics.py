"""Every Prometheus metric of SomaAgent01, declared once; doors, services and adapters only count on them.

No label ever holds a session, a tenant, a key, a URL or free text.
"""

from prometheus_client import Counter, Gauge, Histogram

# SomaBrain, seen by its client
SOMABRAIN_REQUESTS = Counter(
    "somabrain_requests",
    "Calls to SomaBrain; status is the HTTP status, or what happened instead of an answer",
    ("method", "path", "status"),
)
SOMABRAIN_REQUEST_SECONDS = Histogram(
    "somabrain_request_seconds",
    "Duration of calls to SomaBrain",
    ("method", "path", "status"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)
SOMABRAIN_MEMORY_WRITES = Counter(
    "somabrain_memory_write",
    "Memories offered to SomaBrain: ok, taken (not kept), unavailable, forbidden, refused, breaker_open",
    ("result",),
)
SOMABRAIN_HEALTH = Gauge(
    "somabrain_health_state",
    "1 for the state that SomaBrain was last seen in, 0 for the others",
    ("state",),
    multiprocess_mode="livemostrecent",
)
SOMABRAIN_BREAKER = Gauge(
    "somabrain_breaker_state",
    "Circuit breaker towards SomaBrain: 0 closed, 1 half-open, 2 open",
    multiprocess_mode="livemax",
)

# the built-in memory service
BRAIN_REQUESTS = Counter(
    "brain_requests", "Requests answered by the built-in memory service", ("method", "route", "status")
)
BRAIN_REQUEST_SECONDS = Histogram(
    "brain_request_seconds",
    "Duration of requests to the built-in memory service",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)
BRAIN_WRITES = Counter(
    "brain_memories_written",
    "Memories offered to the built-in memory service: written, deduplicated, or forgotten (deleted before they came)",
    ("result",),
)
BRAIN_EMBEDDED = Counter("brain_embedded", "Memories whose meaning was put into a vector")
BRAIN_EMBEDDINGS_OWED = Gauge(
    "brain_embeddings_owed", "Memories that have no vector yet", multiprocess_mode="livemostrecent"
)

# memory sync and outbox
MEMORY_SYNC_JOBS = Counter("memory_sync_jobs", "Memories attempted: ok, retry, dead", ("result",))
MEMORY_SYNC_SECONDS = Histogram("memory_sync_seconds", "Duration of one round of memory sync")
MEMORY_SYNC_BACKLOG = Gauge("memory_sync_backlog", "Memories that SomaBrain has not confirmed")
MEMORY_SYNC_OLDEST = Gauge("memory_sync_oldest_age_seconds", "Age of the oldest of them")
OUTBOX_PUBLISHED = Counter("outbox_sync_publish", "Records offered to Kafka: ok, retry, dead", ("result",))
OUTBOX_BACKLOG = Gauge("outbox_sync_backlog", "Records that Kafka has not acknowledged", ("topic",))
OUTBOX_OLDEST = Gauge("outbox_sync_oldest_age_seconds", "Age of the oldest of them", ("topic",))
OUTBOX_BATCH = Gauge("outbox_sync_effective_batch_size", "Records in the last round")

# replicator
REPLICATOR_LAG = Gauge("memory_replicator_lag_seconds", "Age of the oldest record that is not replicated; 0 when idle")
REPLICATOR_EVENTS = Counter("memory_replicator_events", "Records read: ok, duplicate, dead", ("result",))
REPLICATOR_SECONDS = Histogram(
    "memory_replicator_replication_seconds",
    "From Kafka to the replica, per batch",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
)
DLQ_DEPTH = Gauge("gateway_dlq_depth", "Open dead letters", ("topic",), multiprocess_mode="livemostrecent")

# conversation
TURNS = Counter("conversation_worker_messages", "Turns attempted, by what became of them", ("result",))
TURN_SECONDS = Histogram(
    "conversation_worker_processing_seconds",
    "Duration of a turn",
    ("path",),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
FIRST_TOKEN_SECONDS = Histogram("conversation_first_token_seconds", "From the claim to the first piece of the answer")
TURNS_OWED = Gauge("turns_owed", "Turns without an end")
TURNS_OLDEST = Gauge("turns_oldest_age_seconds", "Age of the oldest of them")
TOKENS = Counter("llm_tokens", "Tokens as the model's endpoint reported them: input, output", ("kind",))
BUDGET_REFUSED = Counter("budget_refused", "Calls of a model for which a token budget did not suffice", ("dimension",))

SCHEDULE_RUNS = Counter(
    "schedule_runs", "Times of schedules, by what became of them: ran, ran_late, skipped, failed", ("result",)
)

# webhooks
WEBHOOK_DELIVERIES = Counter("webhook_deliveries", "Deliveries attempted: ok, retry, dead", ("result",))

# tools
TOOL_REQUESTS = Counter(
    "tool_executor_requests",
    "Calls ended, by how: success, error, blocked (by the policy), timeout, unknown (it may have taken effect), dead",
    ("tool", "outcome"),
)
TOOL_SECONDS = Histogram(
    "tool_executor_execution_seconds",
    "Duration of one run of a tool",
    ("tool",),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
TOOL_INFLIGHT = Gauge("tool_executor_inflight", "Runs of tools under way", ("tool",))
TOOL_REQUEUES = Counter(
    "tool_executor_requeue",
    "Calls given back: shutdown, broken (its process ended without an answer), policy (nobody decides now)",
    ("tool", "reason"),
)
POLICY_DECISIONS = Counter(
    "tool_executor_policy_decisions", "What the policy said right before a run: allow, deny, none", ("tool", "decision")
)
TOOL_CALLS_OWED = Gauge("tool_calls_owed", "Tool calls without an end")
TOOL_CALLS_OLDEST = Gauge("tool_calls_oldest_age_seconds", "Age of the oldest of them")

# work
WORK_SWEPT = Counter("work_swept", "Rows freed from workers that died", ("kind",))
WORK_DEAD = Counter("work_dead", "Rows that died: their data is wrong, or too many workers died with them", ("kind",))
WORK_FENCED = Counter("work_fenced", "Results dropped because their lease belonged to somebody else by then", ("kind",))
TASK_FAILURES = Counter("task_failures", "Tasks that ended in an error, by family", ("task", "family"))

# gateway
STREAMS_OPEN = Gauge("gateway_streams_open", "Open streams", ("kind",), multiprocess_mode="livesum")
WRITE_THROUGH = Counter("gateway_write_through_attempts", "Memories that a request brought", ("path",))
WRITE_THROUGH_RESULTS = Counter(
    "gateway_write_through_results", "SomaBrain, when the request was answered: ok, queued, error", ("path", "result")
)
WRITE_THROUGH_WAL = Counter(
    "gateway_write_through_wal_results",
    "Their records for the log by then: ok (owed), queued, error",
    ("path", "result"),
)
EXPORT_JOBS = Counter("gateway_export_jobs", "Export jobs: accepted, completed, failed, dead, cancelled", ("result",))
GATEWAY_REQUESTS = Counter("gateway_requests", "Requests answered", ("method", "route", "status"))
GATEWAY_LATENCY = Histogram(
    "gateway_request_latency_seconds",
    "From the request to the beginning of its answer",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
