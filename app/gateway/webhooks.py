"""Webhooks: who is told of final answers and of dead work, and what became of each delivery."""

from typing import Annotated

from flask import Response
from pydantic import AwareDatetime, Field

from app.domain.errors import NotFound
from app.domain.webhooks import DeliveryState, Webhook, WebhookEvent
from app.gateway.api import Answer, Area, Deleted, PageQuery
from app.gateway.paging import cut, decode_place
from app.gateway.request_keys import REPEATABLE, key_of, repeatable
from app.gateway.room import room
from app.routing import TaskName
from app.services.message_form import MAX_NAME_LENGTH
from app.services.webhook_form import WebhookChangeForm, WebhookForm, change_in, webhook_in

webhooks = Area("webhooks")
_PATH = "/v1/webhooks"
_ONE = f"{_PATH}/<webhook_id>"
_UNKNOWN = "there is no such webhook"


class WebhookInfo(Answer):
    """A webhook; `secret` is shown when it is made and when it is changed for another, `reason` says why we switched it
    off.
    """

    id: str
    tenant: str
    url: str
    events: list[WebhookEvent]
    enabled: bool
    reason: str | None
    secret: str | None = None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class WebhooksQuery(PageQuery):
    """Which webhooks."""

    tenant: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)] | None = None


class Webhooks(Answer):
    """A page of webhooks, newest first."""

    items: list[WebhookInfo]
    next_cursor: str | None


@webhooks.route(
    "POST",
    _PATH,
    "Be told of final answers, other ends of turns and dead work; the answer shows the secret of its signatures",
    body=WebhookForm,
    answer=WebhookInfo,
    statuses=(201,),
    errors=(400, 409, 413, 415, 422, 503),
    headers=REPEATABLE,
)
def post_webhook(body: WebhookForm) -> Response:
    """Parse, keep, answer."""
    serving = room().serving
    wanted = webhook_in(body, serving.settings.soma_tenant_id, serving.settings.webhook_allow_private)
    receipt = serving.webhook_desk.accept(wanted, key_of(body, wanted.tenant))
    made = _info(_found(receipt.event_id), serving.webhook_desk.secret(receipt.event_id))
    return repeatable(made.model_dump(mode="json"), receipt.replayed, 201)


@webhooks.route("GET", _PATH, "Webhooks, newest first", query=WebhooksQuery, answer=Webhooks, errors=(422, 503))
def list_webhooks(query: WebhooksQuery) -> Webhooks:
    """One page."""
    found = room().serving.webhook_desk.page(query.tenant, decode_place(query.after), query.limit + 1)
    page, cursor = cut(found, query.limit, lambda each: (each.created_at.isoformat(), each.id))
    return Webhooks(items=[_info(each) for each in page], next_cursor=cursor)


@webhooks.route("GET", _ONE, "A webhook as it stands", answer=WebhookInfo, errors=(404, 503))
def get_webhook(webhook_id: str) -> WebhookInfo:
    """Without its secret."""
    return _info(_found(webhook_id))


@webhooks.route(
    "PATCH",
    _ONE,
    "Change a webhook, switch it off or on, have a new secret; while it is off what is owed waits and nothing is added",
    body=WebhookChangeForm,
    answer=WebhookInfo,
    errors=(400, 404, 413, 415, 422, 503),
)
def patch_webhook(webhook_id: str, body: WebhookChangeForm) -> WebhookInfo:
    """As it stands then."""
    serving = room().serving
    change = change_in(body, serving.settings.webhook_allow_private)
    changed = serving.webhook_desk.change(webhook_id, change)
    if changed is None:
        raise NotFound(_UNKNOWN)
    serving.doorbell.ring(TaskName.DELIVER_WEBHOOKS)
    return _info(changed, change.secret)


@webhooks.route(
    "DELETE", _ONE, "Delete a webhook; what it is still owed is discarded", answer=Deleted, errors=(404, 503)
)
def delete_webhook(webhook_id: str) -> Deleted:
    """For good."""
    if not room().serving.webhook_desk.remove(webhook_id):
        raise NotFound(_UNKNOWN)
    return Deleted(deleted=True)


class DeliveryInfo(Answer):
    """A delivery: its `id` is the `webhook-id` of every attempt, `reason` what became of the last one."""

    id: str
    webhook_id: str
    tenant: str
    type: WebhookEvent
    session_id: str | None
    state: DeliveryState
    attempts: int
    failures: int
    reason: str | None
    run_at: AwareDatetime
    created_at: AwareDatetime
    finished_at: AwareDatetime | None


class DeliveriesQuery(PageQuery):
    """Which deliveries."""

    state: DeliveryState | None = None


class Deliveries(Answer):
    """A page of deliveries, newest first; delivered ones are kept for seven days."""

    items: list[DeliveryInfo]
    next_cursor: str | None


@webhooks.route(
    "GET",
    f"{_ONE}/deliveries",
    "What a webhook is owed, what it has taken and what died",
    query=DeliveriesQuery,
    answer=Deliveries,
    errors=(404, 422, 503),
)
def list_deliveries(webhook_id: str, query: DeliveriesQuery) -> Deliveries:
    """One page."""
    _found(webhook_id)
    place = decode_place(query.after)
    found = room().serving.webhook_desk.deliveries(webhook_id, query.state, place, query.limit + 1)
    page, cursor = cut(found, query.limit, lambda each: (each.created_at.isoformat(), each.id))
    return Deliveries(items=[DeliveryInfo.model_validate(each) for each in page], next_cursor=cursor)


@webhooks.route(
    "POST",
    f"{_PATH}/deliveries/<delivery_id>/replay",
    "Send a delivery again, under the same id; one that waits is tried now",
    answer=DeliveryInfo,
    errors=(404, 503),
)
def replay_delivery(delivery_id: str) -> DeliveryInfo:
    """As it stands then."""
    serving = room().serving
    found = serving.webhook_desk.replay(delivery_id)
    if found is None:
        raise NotFound("there is no such delivery, or its webhook is gone")
    serving.doorbell.ring(TaskName.DELIVER_WEBHOOKS)
    return DeliveryInfo.model_validate(found)


def _found(webhook_id: str) -> Webhook:
    found = room().serving.webhook_desk.find(webhook_id)
    if found is None:
        raise NotFound(_UNKNOWN)
    return found


def _info(found: Webhook, secret: str | None = None) -> WebhookInfo:
    return WebhookInfo.model_validate(found).model_copy(update={"secret": secret})
