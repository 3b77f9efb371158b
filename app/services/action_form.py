"""A quick action as callers write it."""

import uuid
from typing import Annotated

from pydantic import ConfigDict, Field

from app.domain.actions import REQUESTS, Action
from app.domain.conversation import UserMessage
from app.domain.terms import Terms
from app.services.message_form import SessionForm, SessionId


class ActionForm(SessionForm):
    """Something asked for with one press."""

    model_config = ConfigDict(title="Action")

    session_id: SessionId
    action: Annotated[str, Field(max_length=64, description=f"one of {', '.join(Action)}")]


def action_in(form: ActionForm) -> Action | None:
    """Which it is; None for one that there is not."""
    return Action(form.action) if form.action in list(Action) else None


def request_in(form: ActionForm, action: Action, default_tenant: str, traceparent: str | None) -> UserMessage:
    """The message that asks for it: it is answered like any other, and is no memory of anybody's."""
    return UserMessage(
        event_id=str(uuid.uuid4()),
        session_id=form.session_id,
        text=REQUESTS[action],
        tenant=form.tenant_named or default_tenant,
        tenant_named=bool(form.tenant_named),
        persona_id=form.persona_id,
        metadata={**form.metadata, "action": action.value},
        traceparent=traceparent,
        terms=Terms(remembered=False),
    )
