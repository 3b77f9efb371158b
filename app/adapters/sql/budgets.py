"""The budgets and their usage as people see them: limits set with an entry in the audit, sums by day."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

from sqlalchemy import Engine, text

from app.adapters.sql.audit import write_audit
from app.adapters.sql.engine import transaction
from app.adapters.sql.spending import LIMIT, TODAY, budget_of
from app.domain.audit import Actor, AuditEntry
from app.domain.budgets import Budget, BudgetName, DailyUsage, UsageBy, UsageFilter, UsagePlace

_STANDS_TODAY = f"""
    SELECT tenant, asked.dimension, who, {LIMIT} AS tokens_per_day,
           coalesce(budget.used, 0) AS used, coalesce(budget.reserved, 0) AS reserved, {TODAY} AS day
    FROM asked LEFT JOIN token_budgets chosen USING (tenant, dimension, who)
    LEFT JOIN (SELECT * FROM token_spending WHERE day = {TODAY}) budget USING (tenant, dimension, who)"""  # noqa: S608
_ONE = text(f"""
    WITH asked (tenant, dimension, who) AS (
        SELECT CAST(:tenant AS text), CAST(:dimension AS text), CAST(:who AS text))
    {_STANDS_TODAY}
""")
_PAGE = text(f"""
    WITH asked AS (
        SELECT tenant, dimension, who FROM token_budgets
        WHERE (CAST(:tenant AS text) IS NULL OR tenant = :tenant)
          AND (tenant, dimension, who) > (:after_tenant, :after_dimension, :after_who)
        ORDER BY tenant, dimension, who LIMIT :limit)
    {_STANDS_TODAY} ORDER BY 1, 2, 3
""")  # noqa: S608
_SET = text("""
    INSERT INTO token_budgets (tenant, dimension, who, tokens_per_day)
    VALUES (:tenant, :dimension, :who, :tokens_per_day)
    ON CONFLICT (tenant, dimension, who) DO UPDATE SET tokens_per_day = excluded.tokens_per_day, updated_at = now()
""")
_DROP = text("DELETE FROM token_budgets WHERE tenant = :tenant AND dimension = :dimension AND who = :who")
_WHO = {UsageBy.TENANT: "''", UsageBy.PERSONA: "persona_id", UsageBy.KEY: "subject", UsageBy.MODEL: "model"}
_USAGE = {
    by: text(f"""
        SELECT day, tenant, {who} AS who, sum(requests)::bigint AS requests, sum(input_tokens)::bigint AS input_tokens,
               sum(output_tokens)::bigint AS output_tokens, sum(cost)::float AS cost
        FROM token_usage
        WHERE day BETWEEN :first AND :last AND (CAST(:tenant AS text) IS NULL OR tenant = :tenant)
          AND (day, tenant, {who}) > (:after_day, :after_tenant, :after_who)
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT :limit""")  # noqa: S608
    for by, who in _WHO.items()
}


class SqlBudgetDesk:
    """`BudgetDesk` on Postgres."""

    def __init__(self, engine: Engine, default_limit: int | None) -> None:
        self._engine = engine
        self._default_limit = default_limit

    def budget(self, name: BudgetName) -> Budget:
        """As it stands now."""
        with transaction(self._engine) as connection:
            asked = asdict(name) | {"default_limit": self._default_limit}
            return budget_of(connection.execute(_ONE, asked).mappings().one())

    def budgets(self, tenant: str | None, after: BudgetName | None, limit: int) -> Sequence[Budget]:
        """One page."""
        wanted = {
            "tenant": tenant, "limit": limit, "default_limit": self._default_limit,
            "after_tenant": after.tenant if after else "",
            "after_dimension": after.dimension if after else "", "after_who": after.who if after else "",
        }  # fmt: skip
        with transaction(self._engine) as connection:
            return [budget_of(row) for row in connection.execute(_PAGE, wanted).mappings()]

    def set_limit(self, name: BudgetName, tokens_per_day: int | None, actor: Actor) -> None:
        """The same limit again changes nothing."""
        limit = {"tokens_per_day": tokens_per_day}
        with transaction(self._engine) as connection:
            connection.execute(_SET, asdict(name) | limit)
            write_audit(connection, AuditEntry(actor, "budget.set", str(name), limit))

    def drop_limit(self, name: BudgetName, actor: Actor) -> bool:
        """The default is in force again."""
        with transaction(self._engine) as connection:
            found = bool(connection.execute(_DROP, asdict(name)).rowcount)
            if found:
                write_audit(connection, AuditEntry(actor, "budget.drop", str(name)))
            return found

    def usage(self, wanted: UsageFilter, after: UsagePlace | None, limit: int) -> Sequence[DailyUsage]:
        """One page."""
        place = after or UsagePlace(date.min, "", "")
        values = {
            "first": wanted.first, "last": wanted.last, "tenant": wanted.tenant, "limit": limit,
            "after_day": place.day, "after_tenant": place.tenant, "after_who": place.who,
        }  # fmt: skip
        with transaction(self._engine) as connection:
            return [DailyUsage(**row) for row in connection.execute(_USAGE[wanted.by], values).mappings()]
