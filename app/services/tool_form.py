"""A tool call as callers write it: parsed once, its arguments held against what the tool itself says of them."""

import json
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

from pydantic import ConfigDict, Field, ValidationError

from app.domain.errors import NotFound, Rejected
from app.domain.tools import MAX_ARGS_BYTES, Effect, Tool, ToolRequest
from app.services.message_form import SessionForm, SessionId
from app.services.wrong_fields import WrongField, wrong_fields


class WrongArguments(Rejected):
    """The arguments break the tool's schema; `errors` says where, as `{loc, msg}`."""

    def __init__(self, message: str, errors: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.errors = errors


class ToolForm(SessionForm):
    """A call of a tool."""

    model_config = ConfigDict(title="ToolRequest")

    session_id: SessionId
    tool_name: Annotated[str, Field(min_length=1, max_length=128)]
    args: Annotated[dict[str, Any], Field(default_factory=dict)]


def call_in(form: ToolForm, tools: Mapping[str, Tool], default_tenant: str, traceparent: str | None) -> ToolRequest:
    """The call under a new id; `NotFound` for an unknown tool, `WrongArguments` where its schema is broken."""
    tool = tools.get(form.tool_name)
    if tool is None:
        raise NotFound(f"there is no tool called {form.tool_name}; GET /v1/tools lists those that there are")
    check_arguments(tool, form.args)
    return ToolRequest(
        call_id=str(uuid.uuid4()),
        session_id=form.session_id,
        tool=tool.name,
        effect=Effect(tool.effect),
        args=form.args,
        tenant=form.tenant_named or default_tenant,
        tenant_named=bool(form.tenant_named),
        persona_id=form.persona_id,
        metadata=form.metadata,
        traceparent=traceparent,
    )


def check_arguments(tool: Tool, args: dict[str, Any]) -> None:
    """`WrongArguments` where they break the tool's schema or are too many bytes."""
    if len(json.dumps(args, ensure_ascii=False).encode()) > MAX_ARGS_BYTES:
        _refuse(tool, WrongField((), f"all of them together must be at most {MAX_ARGS_BYTES} bytes of JSON"))
    try:
        tool.arguments.model_validate(args)
    except ValidationError as error:
        _refuse(tool, *wrong_fields(error, tool.arguments))


def _refuse(tool: Tool, *found: WrongField) -> NoReturn:
    errors = [{"loc": ["body", "args", *field.place], "msg": field.reason} for field in found]
    raise WrongArguments(f"in the arguments of {tool.name}, {found[0]}", errors)
