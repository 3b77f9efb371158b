"""Budgets and usage over HTTP: set, read, listed and dropped, with an entry in the audit, and refused in words."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from app.adapters.sql.spending import SqlSpending
from app.domain.budgets import Expense, PaidCall, Payer
from tests.builders import an_id
from tests.integration.gateway_process import Gateway, assert_problem
from tests.integration.test_gateway_desk import audited

pytestmark = pytest.mark.servers


@pytest.fixture
def tenant() -> str:
    return an_id("t-")


def put(gateway: Gateway, path: str, tokens: Any, **query: str) -> Any:
    return gateway.call("PUT", f"/v1/budgets/{path}", params=query, json={"tokens_per_day": tokens})


def spend(engine: Engine, tenant: str, model: str, *tokens: int, persona: str | None = "p-1") -> None:
    spending = SqlSpending(engine, None)
    call = PaidCall(an_id(), 1, "1", "nobody", Payer(tenant, persona, "anonymous"))
    spending.reserve(call, 100)
    spending.settle(call, Expense(model, *tokens, cost=0.5))


def test_a_budget_is_set_read_with_what_was_spent_and_dropped(gateway: Gateway, engine: Engine, tenant: str) -> None:
    path = f"tenant/{tenant}"

    first = put(gateway, path, 1_000).json()
    spend(engine, tenant, "m", 60, 7)

    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    assert first == {
        "tenant": tenant, "dimension": "tenant", "who": tenant, "tokens_per_day": 1_000, "used": 0, "reserved": 0,
        "refills_at": first["refills_at"],
    }  # fmt: skip
    assert datetime.fromisoformat(first["refills_at"]) == datetime.combine(tomorrow, datetime.min.time(), UTC)
    assert gateway.get(f"/v1/budgets/{path}").json() == first | {"used": 67}
    assert put(gateway, path, None).json()["tokens_per_day"] is None
    assert gateway.call("DELETE", f"/v1/budgets/{path}").json()["tokens_per_day"] is None
    assert_problem(gateway.call("DELETE", f"/v1/budgets/{path}"), 404, "limit was set")


def test_who_set_or_dropped_a_limit_is_in_the_audit(gateway: Gateway, engine: Engine, tenant: str) -> None:
    headers, path = {"X-Request-ID": an_id("r-")}, "/v1/budgets/persona/p-1"
    query = {"tenant": tenant}

    gateway.call("PUT", path, params=query, json={"tokens_per_day": 5}, headers=headers)
    gateway.call("DELETE", path, params=query, headers=headers)
    gateway.call("DELETE", path, params=query, headers=headers)

    name = f"{tenant}/persona/p-1"
    assert audited(engine, headers["X-Request-ID"]) == [
        ("anonymous", "budget.set", name, {"tokens_per_day": 5}), ("anonymous", "budget.drop", name, {}),
    ]  # fmt: skip


def test_personas_and_keys_have_budgets_of_their_own_within_their_tenant(gateway: Gateway, tenant: str) -> None:
    put(gateway, "persona/p-1", 5, tenant=tenant)
    put(gateway, "key/anonymous", 6, tenant=tenant)
    put(gateway, f"tenant/{tenant}", 7)

    def page(**query: Any) -> Any:
        return gateway.get("/v1/budgets", params={"tenant": tenant, "limit": 2, **query}).json()

    first = page()
    rest = page(after=first["next_cursor"])
    assert [item["tokens_per_day"] for item in [*first["items"], *rest["items"]]] == [6, 5, 7]
    assert rest["next_cursor"] is None
    assert gateway.get("/v1/budgets/persona/p-1", params={"tenant": an_id("t-")}).json()["tokens_per_day"] is None


@pytest.mark.parametrize("tokens", [-1, 1.5, "5", True, 2**63])
def test_a_limit_that_is_none_is_answered_with_why(gateway: Gateway, tenant: str, tokens: object) -> None:
    assert_problem(put(gateway, f"tenant/{tenant}", tokens), 422, "tokens_per_day")


def test_what_budgets_are_kept_for_is_said_to_who_asks_for_another(gateway: Gateway, tenant: str) -> None:
    assert_problem(gateway.get("/v1/budgets/planet/earth"), 404, "tenant, persona, key")
    assert_problem(put(gateway, f"tenant/{tenant}", 5, tenant=an_id("t-")), 422, "its own")
    assert_problem(gateway.get("/v1/budgets", params={"after": "W10"}), 422, "cursor")


def test_usage_is_told_by_day_and_whose_it_was(gateway: Gateway, engine: Engine, tenant: str) -> None:
    spend(engine, tenant, "big", 60, 7)
    spend(engine, tenant, "big", 40, 3, persona=None)
    spend(engine, tenant, "small", 1, 1)
    today = datetime.now(UTC).date()

    def lines(by: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = gateway.get("/v1/usage", params={"by": by, "tenant": tenant}).json()["items"]
        return found

    assert lines("tenant") == [
        {"day": today.isoformat(), "tenant": tenant, "persona_id": None, "key": None, "model": None,
         "requests": 3, "input_tokens": 101, "output_tokens": 11, "cost": 1.5}
    ]  # fmt: skip
    assert [(line["persona_id"], line["requests"]) for line in lines("persona")] == [(None, 1), ("p-1", 2)]
    assert [(line["key"], line["requests"]) for line in lines("key")] == [("anonymous", 3)]
    assert [(line["model"], line["input_tokens"]) for line in lines("model")] == [("big", 100), ("small", 1)]


def test_usage_comes_in_pages_and_of_the_days_that_are_asked_for(gateway: Gateway, engine: Engine, tenant: str) -> None:
    for model in ("a", "b", "c"):
        spend(engine, tenant, model, 1, 1)
    today = datetime.now(UTC).date()

    def page(**query: Any) -> Any:
        return gateway.get("/v1/usage", params={"tenant": tenant, "by": "model", **query}).json()

    first = page(limit=2)
    rest = page(limit=2, after=first["next_cursor"])
    assert [line["model"] for line in [*first["items"], *rest["items"]]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None
    assert len(page(**{"from": today.isoformat(), "to": today.isoformat()})["items"]) == 3
    assert page(to=(today - timedelta(days=1)).isoformat())["items"] == []
    assert page(**{"from": (today + timedelta(days=1)).isoformat()})["items"] == []


@pytest.mark.parametrize(
    "query",
    [{"by": "planet"}, {"from": "yesterday"}, {"to": "2026-02-30"}, {"after": "x"}, {"after": "WyJhIiwiYiIsImMiXQ"},
     {"first": "2026-01-01"}, {"limit": 501}, {"from": "2026-02-02", "to": "2026-02-01"}],
)  # fmt: skip
def test_a_wrong_question_about_usage_is_answered_with_why(gateway: Gateway, query: dict[str, str]) -> None:
    assert_problem(gateway.get("/v1/usage", params=query), 422)


def test_the_first_day_of_all_is_no_error(gateway: Gateway) -> None:
    assert gateway.get("/v1/usage", params={"to": date.min.isoformat()}).status_code == 200
