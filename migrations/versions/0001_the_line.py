"""The straight line: sessions, turns, memories, records, replica.

Revision ID: 0001
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE sessions (
    session_id  text PRIMARY KEY,
    tenant      text NOT NULL,
    persona_id  text,
    subject     text NOT NULL,
    metadata    jsonb NOT NULL DEFAULT '{}',
    analysis    jsonb NOT NULL DEFAULT '{}',
    next_seq    bigint NOT NULL DEFAULT 0,
    paused      boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sessions_newest ON sessions (created_at DESC, session_id DESC);
CREATE INDEX sessions_newest_of_tenant ON sessions (tenant, created_at DESC, session_id DESC);

CREATE TABLE session_events (
    session_id  text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    seq         bigint NOT NULL,
    event_id    text NOT NULL UNIQUE,
    tenant      text NOT NULL,
    type        text NOT NULL,
    role        text NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    turn_seq    bigint,
    payload     jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, seq)
);
CREATE INDEX session_events_said ON session_events (session_id, turn_seq DESC, seq DESC)
    WHERE type IN ('user', 'assistant.final');
CREATE INDEX session_events_thinking ON session_events (session_id, turn_seq, seq) WHERE type = 'assistant.thinking';
CREATE UNIQUE INDEX session_events_one_end_per_turn ON session_events (session_id, turn_seq)
    WHERE type IN ('assistant.final', 'assistant.error', 'assistant.cancelled', 'policy.denied');

CREATE TABLE turns (
    event_id         text PRIMARY KEY,
    session_id       text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    seq              bigint NOT NULL,
    tenant           text NOT NULL,
    persona_id       text,
    metadata         jsonb NOT NULL DEFAULT '{}',
    state            text NOT NULL DEFAULT 'queued'
                     CHECK (state IN ('queued', 'running', 'done', 'failed', 'dead', 'cancelled')),
    attempts         integer NOT NULL DEFAULT 0,
    failures         integer NOT NULL DEFAULT 0,
    excused          integer NOT NULL DEFAULT 0,
    outage           boolean NOT NULL DEFAULT false,
    run_at           timestamptz NOT NULL DEFAULT now(),
    lease_owner      text,
    lease_until      timestamptz,
    deadline_at      timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    partial_text     text NOT NULL DEFAULT '',
    last_error       text,
    traceparent      text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz,
    UNIQUE (session_id, seq),
    CHECK ((state = 'running') = (lease_owner IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
CREATE INDEX turns_owed ON turns (run_at, created_at) WHERE state IN ('queued', 'running');
CREATE INDEX turns_owed_in_session ON turns (session_id, seq) WHERE state IN ('queued', 'running');
CREATE INDEX turns_leased ON turns (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE INDEX turns_finished ON turns (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE memory_write_outbox (
    event_id        text PRIMARY KEY,
    op              text NOT NULL DEFAULT 'remember' CHECK (op IN ('remember', 'forget')),
    tenant          text NOT NULL,
    namespace       text NOT NULL,
    universe        text NOT NULL,
    session_id      text,
    persona_id      text,
    role            text NOT NULL,
    payload         jsonb NOT NULL,
    idempotency_key text NOT NULL,
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'synced', 'dead')),
    attempts        integer NOT NULL DEFAULT 0,
    failures        integer NOT NULL DEFAULT 0,
    excused         integer NOT NULL DEFAULT 0,
    outage          boolean NOT NULL DEFAULT false,
    run_at          timestamptz NOT NULL DEFAULT now(),
    lease_owner     text,
    lease_until     timestamptz,
    last_error      text,
    traceparent     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
CREATE INDEX memory_write_outbox_owed ON memory_write_outbox (run_at, created_at) WHERE state = 'pending';
CREATE INDEX memory_write_outbox_oldest ON memory_write_outbox (created_at) WHERE state = 'pending';
CREATE INDEX memory_write_outbox_session ON memory_write_outbox (session_id, created_at DESC);
CREATE INDEX memory_write_outbox_leased ON memory_write_outbox (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE INDEX memory_write_outbox_finished ON memory_write_outbox (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE message_outbox (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic         text NOT NULL,
    partition_key text NOT NULL,
    payload       jsonb NOT NULL,
    headers       jsonb NOT NULL DEFAULT '{}',
    dedupe_key    text NOT NULL,
    tenant        text NOT NULL,
    session_id    text,
    state         text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'dead')),
    attempts      integer NOT NULL DEFAULT 0,
    failures      integer NOT NULL DEFAULT 0,
    excused       integer NOT NULL DEFAULT 0,
    outage        boolean NOT NULL DEFAULT false,
    run_at        timestamptz NOT NULL DEFAULT now(),
    lease_owner   text,
    lease_until   timestamptz,
    last_error    text,
    sent_partition integer,
    sent_offset   bigint,
    created_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    UNIQUE (topic, dedupe_key)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
CREATE INDEX message_outbox_owed ON message_outbox (run_at, id) WHERE state = 'pending';
CREATE INDEX message_outbox_sent ON message_outbox (topic, sent_partition, sent_offset) WHERE state = 'sent';
CREATE INDEX message_outbox_leased ON message_outbox (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE INDEX message_outbox_finished ON message_outbox (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE memory_replica (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id      text NOT NULL UNIQUE,
    session_id    text,
    persona_id    text,
    tenant        text NOT NULL,
    role          text,
    universe      text NOT NULL DEFAULT '',
    namespace     text NOT NULL DEFAULT '',
    coord         double precision[],
    request_id    text,
    trace_id      text,
    payload       jsonb,
    wal_timestamp double precision NOT NULL,
    version       bigint NOT NULL,
    body_digest   bytea NOT NULL,
    deleted_at    timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX memory_replica_newest ON memory_replica (wal_timestamp DESC, id DESC);
CREATE INDEX memory_replica_tenant ON memory_replica (tenant, wal_timestamp DESC, id DESC);
CREATE INDEX memory_replica_session ON memory_replica (session_id, wal_timestamp DESC, id DESC);
CREATE INDEX memory_replica_role ON memory_replica (role, wal_timestamp DESC, id DESC);
CREATE INDEX memory_replica_universe ON memory_replica (universe, wal_timestamp DESC, id DESC);
CREATE INDEX memory_replica_namespace ON memory_replica (namespace, wal_timestamp DESC, id DESC);

CREATE TABLE replicator_offsets (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);

CREATE TABLE dlq_messages (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic            text NOT NULL,
    source_partition integer,
    source_offset    bigint,
    event            jsonb,
    raw              bytea,
    error            text NOT NULL,
    error_kind       text NOT NULL,
    fingerprint      text NOT NULL,
    state            text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (topic, source_partition, source_offset)
);
CREATE INDEX dlq_messages_open ON dlq_messages (topic, id) WHERE state = 'open';

CREATE TABLE idempotency_keys (
    tenant      text NOT NULL,
    route       text NOT NULL,
    principal   text NOT NULL,
    key         text NOT NULL,
    body_digest text NOT NULL,
    session_id  text,
    event_id    text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, route, principal, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE processes (
    owner      text PRIMARY KEY,
    name       text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE component_health (
    component   text PRIMARY KEY,
    status      text NOT NULL CHECK (status IN ('ok', 'degraded', 'down')),
    detail      text NOT NULL DEFAULT '',
    measured_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    op.execute(_TABLES)


def downgrade() -> None:
    op.execute(
        "DROP TABLE component_health, processes, idempotency_keys, dlq_messages, replicator_offsets, memory_replica,"
        " message_outbox, memory_write_outbox, turns, session_events, sessions"
    )
