"""Tokens set aside and spent: each in one statement, on every budget that a call goes on.

Whatever touches budgets takes their rows in the same order and after the reservation's, so that two never wait for each
other. A reservation is held until it is settled or returned; only what is held is part of a budget's `reserved`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.engine import resolved, transaction
from app.domain.budgets import Budget, BudgetName, Dimension, Expense, PaidCall, refused
from app.domain.errors import BudgetSpent
from app.domain.tokens import correction

TODAY = "CAST(now() AT TIME ZONE 'UTC' AS date)"
LIMIT = """CASE WHEN chosen.who IS NOT NULL THEN chosen.tokens_per_day
                WHEN asked.dimension = 'tenant' THEN CAST(:default_limit AS bigint) END"""
"""The limit in force for what is `asked`: the one that was `chosen`, which may be none, or the default of a tenant."""

# Not waited for on the disk, while others wait for the same row: the COMMIT of the turn's end, which is, comes later in
# the log and so brings these along. A Postgres that dies before it forgets them together with that end.
_LAZILY = "(SELECT set_config('synchronous_commit', 'off', true)) AS lazily"
_PAYERS = """(VALUES ('key', r.subject), ('persona', r.persona_id), ('tenant', r.tenant)) AS asked (dimension, who)"""
"""Whose budgets the reservation `r` is made on."""
_CHANGE = "INSERT INTO token_spending AS budget (tenant, dimension, who, day, used, reserved)"
_ADD = """
    ON CONFLICT (tenant, dimension, who, day)
    DO UPDATE SET used = budget.used + excluded.used, reserved = budget.reserved + excluded.reserved"""

# Who was refused by one budget is refused by all: the transaction that sees a row here is undone.
_RESERVE = text(f"""
    WITH made AS (
        INSERT INTO token_reservations (event_id, attempts, step, owner, tenant, persona_id, subject, day, tokens)
        SELECT :event_id, :attempts, :step, :owner, :tenant, :persona_id, :subject, {TODAY}, :tokens FROM {_LAZILY}
        ON CONFLICT DO NOTHING RETURNING *),
    payers AS MATERIALIZED (
        SELECT r.tenant, asked.dimension, asked.who, r.day, r.tokens, {LIMIT} AS most
        FROM made r CROSS JOIN LATERAL {_PAYERS}
        LEFT JOIN token_budgets chosen
               ON chosen.tenant = r.tenant AND chosen.dimension = asked.dimension AND chosen.who = asked.who
        WHERE asked.who IS NOT NULL),
    taken AS (
        {_CHANGE}
        SELECT tenant, dimension, who, day, 0, tokens FROM payers
        WHERE coalesce(tokens <= most, true) ORDER BY dimension, who
        {_ADD}
        WHERE coalesce(budget.used + budget.reserved + excluded.reserved
                       <= (SELECT most FROM payers WHERE payers.dimension = excluded.dimension), true)
        RETURNING budget.dimension)
    SELECT tenant, dimension, who, most AS tokens_per_day, day FROM payers
    WHERE dimension NOT IN (SELECT dimension FROM taken) ORDER BY dimension DESC
""")  # noqa: S608
_STANDS = text("""
    SELECT coalesce(sum(used), 0)::bigint AS used, coalesce(sum(reserved), 0)::bigint AS reserved FROM token_spending
    WHERE tenant = :tenant AND dimension = :dimension AND who = :who AND day = :day
""")
# What is reserved and returned stays in the row that is settled: only what is still held has to be freed.
_SETTLE = text(f"""
    WITH paid AS (
        INSERT INTO token_reservations AS r (event_id, attempts, step, owner, tenant, persona_id, subject, day, tokens,
                                             settled, finished_at)
        SELECT :event_id, :attempts, :step, :owner, :tenant, :persona_id, :subject, {TODAY}, 0, true, now()
        FROM {_LAZILY}
        ON CONFLICT (event_id, attempts, step) DO UPDATE SET settled = true, finished_at = now() WHERE NOT r.settled
        RETURNING *),
    counted AS (
        INSERT INTO token_usage AS u (day, tenant, persona_id, subject, model, requests, input_tokens, output_tokens,
                                      cost, estimated_tokens, reported_tokens)
        SELECT day, tenant, coalesce(persona_id, ''), subject, :model, 1, :input_tokens, :output_tokens,
               CAST(:cost AS numeric), :estimated_tokens, :reported_tokens FROM paid
        ON CONFLICT (day, tenant, persona_id, subject, model) DO UPDATE
        SET requests = u.requests + 1, input_tokens = u.input_tokens + excluded.input_tokens,
            output_tokens = u.output_tokens + excluded.output_tokens, cost = u.cost + excluded.cost,
            estimated_tokens = u.estimated_tokens + excluded.estimated_tokens,
            reported_tokens = u.reported_tokens + excluded.reported_tokens)
    {_CHANGE}
    SELECT r.tenant, asked.dimension, asked.who, r.day, CAST(:input_tokens + :output_tokens AS bigint),
           CASE WHEN r.returned THEN 0 ELSE -r.tokens END
    FROM paid r CROSS JOIN LATERAL {_PAYERS}
    WHERE asked.who IS NOT NULL ORDER BY asked.dimension, asked.who
    {_ADD}
""")  # noqa: S608
_RETURN = text(f"""
    WITH orphaned AS MATERIALIZED (
        SELECT r.* FROM token_reservations r
        WHERE r.finished_at IS NULL AND (CAST(:tenant AS text) IS NULL OR r.tenant = :tenant) AND NOT EXISTS (
            SELECT 1 FROM turns t WHERE t.event_id = r.event_id AND t.lease_owner = r.owner
                AND t.attempts = r.attempts AND t.lease_until > now())
        LIMIT 1000 FOR UPDATE OF r SKIP LOCKED),
    returned AS (
        UPDATE token_reservations r SET returned = true, finished_at = now() FROM orphaned o
        WHERE (r.event_id, r.attempts, r.step) = (o.event_id, o.attempts, o.step) RETURNING r.event_id),
    freed AS (
        {_CHANGE}
        SELECT r.tenant, asked.dimension, asked.who, r.day, 0, -sum(r.tokens)
        FROM orphaned r CROSS JOIN LATERAL {_PAYERS}
        WHERE asked.who IS NOT NULL GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        {_ADD})
    SELECT count(*) FROM returned
""")  # noqa: S608
_REPORTED = text(f"""
    SELECT coalesce(sum(estimated_tokens), 0)::bigint, coalesce(sum(reported_tokens), 0)::bigint FROM token_usage
    WHERE tenant = :tenant AND day >= {TODAY} - 7 AND (:model = '' OR model = :model)
""")  # noqa: S608


class SqlSpending:
    """`Spending` on Postgres; `default_limit` is that of a tenant for which none was set, None for no limit."""

    def __init__(self, engine: Engine, default_limit: int | None) -> None:
        self._engine = engine
        self._default_limit = default_limit

    def reserve(self, call: PaidCall, tokens: int) -> None:
        """Nobody is refused for what only the dead hold."""
        try:
            resolved(lambda _: self._reserve(call, tokens))
        except BudgetSpent:
            if not self._return_unclaimed(call.payer.tenant):
                raise
            resolved(lambda _: self._reserve(call, tokens))

    def _reserve(self, call: PaidCall, tokens: int) -> None:
        wanted = {**_columns(call), "tokens": tokens, "default_limit": self._default_limit}
        with transaction(self._engine) as connection:
            refusing = connection.execute(_RESERVE, wanted).mappings().first()
            if refusing is not None:
                raise _refused(connection, refusing, tokens)

    def settle(self, call: PaidCall, expense: Expense) -> None:
        """Once, however often this is said."""
        resolved(lambda _: self._settle(call, expense))

    def _settle(self, call: PaidCall, expense: Expense) -> None:
        with transaction(self._engine) as connection:
            connection.execute(_SETTLE, _columns(call) | asdict(expense))

    def return_unclaimed(self) -> int:
        """A batch of them."""
        return self._return_unclaimed(None)

    def _return_unclaimed(self, tenant: str | None) -> int:
        with transaction(self._engine) as connection:
            return int(connection.execute(_RETURN, {"tenant": tenant}).scalar_one())

    def correction(self, tenant: str, model: str) -> float:
        """Of the last week."""
        with transaction(self._engine) as connection:
            return correction(*connection.execute(_REPORTED, {"tenant": tenant, "model": model}).one())


def _columns(call: PaidCall) -> dict[str, Any]:
    payer = call.payer
    return {
        "event_id": call.event_id, "attempts": call.attempts, "step": call.step, "owner": call.owner,
        "tenant": payer.tenant, "persona_id": payer.persona_id or None, "subject": payer.subject,
    }  # fmt: skip


def budget_of(row: RowMapping | Mapping[str, Any]) -> Budget:
    """The budget that a row tells of."""
    name = BudgetName(row["tenant"], Dimension(row["dimension"]), row["who"])
    return Budget(name, row["tokens_per_day"], row["used"], row["reserved"], row["day"])


def _refused(connection: Connection, refusing: RowMapping, tokens: int) -> BudgetSpent:
    """The refusal, with the figures that led to it: their row is locked until this transaction ends."""
    stands = connection.execute(_STANDS, dict(refusing)).mappings().one()
    return refused(budget_of({**refusing, **stands}), tokens)
