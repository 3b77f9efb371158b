"""Webhooks: who wants to be told of what, and what each of them is owed.

Deliveries are written by triggers, in the transaction of what they tell of: whatever ends a turn or kills a row, by which
path ever, cannot be missed. Where a tenant has no webhook that costs one look into an index.

A delivery has no foreign key: the end of a turn must not wait for, nor fail with, somebody who deletes a webhook at
that moment. What nobody is there for any more is discarded by the pruning.

Revision ID: 0017
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TRANSITIONS = "pending>delivered, pending>dead, pending>discarded, dead>pending, dead>discarded, delivered>pending"
_TABLES = """
CREATE TABLE webhooks (
    webhook_id      text PRIMARY KEY,
    tenant          text NOT NULL,
    url             text NOT NULL,
    events          text[] NOT NULL,
    secret          text NOT NULL,
    old_secret      text,
    old_until       timestamptz,
    enabled         boolean NOT NULL DEFAULT true,
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhooks_enabled ON webhooks (tenant) WHERE enabled;
CREATE INDEX webhooks_newest ON webhooks (created_at DESC, webhook_id DESC);
CREATE INDEX webhooks_newest_of_tenant ON webhooks (tenant, created_at DESC, webhook_id DESC);

CREATE TABLE webhook_deliveries (
    delivery_id text PRIMARY KEY DEFAULT 'msg_' || replace(gen_random_uuid()::text, '-', ''),
    webhook_id  text NOT NULL,
    tenant      text NOT NULL,
    session_id  text,
    type        text NOT NULL,
    cause       text NOT NULL,
    payload     jsonb NOT NULL,
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead', 'discarded')),
    attempts    integer NOT NULL DEFAULT 0,
    failures    integer NOT NULL DEFAULT 0,
    excused     integer NOT NULL DEFAULT 0,
    outage      boolean NOT NULL DEFAULT false,
    run_at      timestamptz NOT NULL DEFAULT now(),
    lease_owner text,
    lease_until timestamptz,
    last_error  text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (webhook_id, cause),
    CONSTRAINT webhook_deliveries_lease CHECK (state = 'pending' OR lease_owner IS NULL),
    CONSTRAINT webhook_deliveries_end CHECK ((state = 'pending') = (finished_at IS NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
CREATE INDEX webhook_deliveries_owed ON webhook_deliveries (run_at, created_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_of ON webhook_deliveries (webhook_id, outage DESC, run_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_held ON webhook_deliveries (webhook_id) WHERE lease_owner IS NOT NULL;
CREATE INDEX webhook_deliveries_leased ON webhook_deliveries (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (finished_at) WHERE state = 'dead';
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (webhook_id, created_at DESC, delivery_id DESC);
"""
_OWE = """
CREATE FUNCTION owe_webhooks(for_tenant text, for_session text, kind text, because text, at timestamptz, data jsonb)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO webhook_deliveries (webhook_id, tenant, session_id, type, cause, payload)
    SELECT w.webhook_id, for_tenant, for_session, kind, because,
           jsonb_build_object('type', kind, 'timestamp', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                              'data', data)
    FROM webhooks w WHERE w.tenant = for_tenant AND w.enabled AND kind = ANY (w.events)
    ON CONFLICT (webhook_id, cause) DO NOTHING
$$;
CREATE FUNCTION tell_of_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Of a session that is brought back from its document nothing happens now.
    IF current_setting('soma.of_old', true) = 'on' THEN RETURN NULL; END IF;
    PERFORM owe_webhooks(NEW.tenant, NEW.session_id, NEW.type, NEW.event_id, NEW.created_at, NEW.payload);
    RETURN NULL;
END $$;
CREATE TRIGGER session_events_webhooks AFTER INSERT ON session_events FOR EACH ROW
    WHEN (NEW.type IN ('assistant.final', 'assistant.error', 'assistant.cancelled', 'policy.denied'))
    EXECUTE FUNCTION tell_of_event();
CREATE FUNCTION tell_of_death() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone jsonb := to_jsonb(NEW);
    key text := gone ->> TG_ARGV[1];
BEGIN
    PERFORM owe_webhooks(
        NEW.tenant, gone ->> 'session_id', 'work.dead', format('%s/%s/%s', TG_ARGV[0], key, NEW.attempts), now(),
        jsonb_build_object('kind', TG_ARGV[0], 'id', key, 'session_id', gone -> 'session_id', 'tenant', NEW.tenant,
                           'attempts', NEW.attempts, 'reason', NEW.last_error));
    RETURN NULL;
END $$;
"""
_MORTAL = {
    "turns": ("turn", "event_id"),
    "memory_write_outbox": ("memory", "event_id"),
    "message_outbox": ("record", "id"),
    "tool_calls": ("tool_call", "call_id"),
    "export_jobs": ("export", "job_id"),
}
"""Whose deaths are told; that of a delivery is not, for it would have to be delivered."""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(
        "CREATE TRIGGER webhook_deliveries_transitions BEFORE UPDATE OF state ON webhook_deliveries FOR EACH ROW"
        " WHEN (OLD.state IS DISTINCT FROM NEW.state)"
        f" EXECUTE FUNCTION refuse_unknown_transition('{_TRANSITIONS}')"
    )
    op.execute(_OWE)
    for table, (kind, key) in _MORTAL.items():
        op.execute(
            f"CREATE TRIGGER {table}_webhooks AFTER UPDATE OF state ON {table} FOR EACH ROW"
            " WHEN (NEW.state = 'dead' AND OLD.state <> 'dead')"
            f" EXECUTE FUNCTION tell_of_death('{kind}', '{key}')"
        )


def downgrade() -> None:
    for table in _MORTAL:
        op.execute(f"DROP TRIGGER {table}_webhooks ON {table}")
    op.execute(
        "DROP TRIGGER session_events_webhooks ON session_events; DROP FUNCTION tell_of_event(), tell_of_death();"
        " DROP FUNCTION owe_webhooks(text, text, text, text, timestamptz, jsonb);"
        " DROP TABLE webhook_deliveries, webhooks"
    )
