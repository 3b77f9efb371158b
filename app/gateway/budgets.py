"""Budgets of tokens, set by administrators, and what was spent of them."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.domain.budgets import Budget, BudgetName, Dimension
from app.domain.errors import NotFound
from app.gateway.api import Answer, Area, Query
from app.gateway.paging import cut, decode
from app.gateway.problems import BadRequest
from app.gateway.room import actor, room
from app.services.message_form import MAX_NAME_LENGTH

budgets = Area("budgets")
_ONE = "/v1/budgets/<dimension>/<who>"
_Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]


class BudgetAnswer(Answer):
    """A budget today; without `tokens_per_day` there is no limit. `used` is spent, `reserved` is what answers that are
    being given may still take.
    """

    tenant: str
    dimension: Dimension
    who: str
    tokens_per_day: int | None
    used: int
    reserved: int
    refills_at: AwareDatetime


class BudgetPage(Answer):
    """Budgets that were set, by tenant, dimension and name."""

    items: list[BudgetAnswer]
    next_cursor: str | None


class BudgetsQuery(Query):
    """Which budgets."""

    tenant: _Name | None = None
    after: str = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class BudgetQuery(Query):
    """Whose persona or key it is; by default the tenant of those who name none."""

    tenant: _Name | None = None


class BudgetBody(BaseModel):
    """How many tokens may be spent in a day, UTC; null for as many as it likes, whatever the default is."""

    model_config = ConfigDict(title="BudgetLimit", extra="forbid", strict=True, frozen=True)

    tokens_per_day: Annotated[int, Field(ge=0, le=2**62)] | None


@budgets.route(
    "GET", "/v1/budgets", "The budgets that were set", query=BudgetsQuery, answer=BudgetPage, errors=(422, 503)
)
def list_budgets(query: BudgetsQuery) -> BudgetPage:
    """One page."""
    place = decode(query.after, str, str, str)
    after = BudgetName(place[0], _dimension(place[1]), place[2]) if place else None
    found = room().serving.budget_desk.budgets(query.tenant, after, query.limit + 1)
    page, cursor = cut(found, query.limit, lambda each: (each.name.tenant, each.name.dimension, each.name.who))
    return BudgetPage(items=[_shown(budget) for budget in page], next_cursor=cursor)


@budgets.route(
    "GET",
    _ONE,
    "A budget of a tenant, persona or key, and how it stands today",
    query=BudgetQuery,
    answer=BudgetAnswer,
    errors=(404, 422, 503),
)
def get_budget(dimension: str, who: str, query: BudgetQuery) -> BudgetAnswer:
    """With the default limit where none was set."""
    return _shown(room().serving.budget_desk.budget(_name(dimension, who, query)))


@budgets.route(
    "PUT",
    _ONE,
    "Set how many tokens may be spent in a day",
    query=BudgetQuery,
    body=BudgetBody,
    answer=BudgetAnswer,
    errors=(400, 404, 413, 415, 422, 503),
)
def put_budget(dimension: str, who: str, query: BudgetQuery, body: BudgetBody) -> BudgetAnswer:
    """From the next call of a model on."""
    name, desk = _name(dimension, who, query), room().serving.budget_desk
    desk.set_limit(name, body.tokens_per_day, actor())
    return _shown(desk.budget(name))


@budgets.route(
    "DELETE",
    _ONE,
    "Forget a limit that was set; a tenant has the default one again",
    query=BudgetQuery,
    answer=BudgetAnswer,
    errors=(404, 422, 503),
)
def delete_budget(dimension: str, who: str, query: BudgetQuery) -> BudgetAnswer:
    """The budget as it stands then."""
    name, desk = _name(dimension, who, query), room().serving.budget_desk
    if not desk.drop_limit(name, actor()):
        raise NotFound("no limit was set for this budget")
    return _shown(desk.budget(name))


def _name(dimension: str, who: str, query: BudgetQuery) -> BudgetName:
    found = _dimension(dimension)
    if found is not Dimension.TENANT:
        return BudgetName(query.tenant or room().serving.settings.soma_tenant_id, found, who)
    if query.tenant not in (None, who):
        raise BadRequest(422, "a tenant's budget is its own", [{"loc": ["query", "tenant"], "msg": "leave it out"}])
    return BudgetName(who, found, who)


def _dimension(text: str) -> Dimension:
    if text not in set(Dimension):
        raise NotFound(f"budgets are kept for {', '.join(Dimension)}")
    return Dimension(text)


def _shown(budget: Budget) -> BudgetAnswer:
    name = budget.name
    return BudgetAnswer(
        tenant=name.tenant,
        dimension=name.dimension,
        who=name.who,
        tokens_per_day=budget.tokens_per_day,
        used=budget.used,
        reserved=budget.reserved,
        refills_at=budget.refills_at,
    )
