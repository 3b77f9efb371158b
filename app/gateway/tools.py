"""Tools: which there are, and calls of them."""

from typing import Any

from flask import Response, g

from app.domain.tools import Effect, Tool
from app.gateway.api import Answer, Area
from app.gateway.problems import BadRequest
from app.gateway.request_keys import REPEATABLE, key_of, repeatable
from app.gateway.room import room
from app.services.request_tool import request_tool
from app.services.tool_form import ToolForm, WrongArguments, call_in

tools = Area("tools")


class ToolInfo(Answer):
    """One tool; `parameters` is the JSON schema of its arguments, `effect` what it does to the world."""

    name: str
    description: str
    parameters: dict[str, Any]
    effect: Effect
    enabled: bool


class ToolList(Answer):
    """Every tool, by name."""

    tools: list[ToolInfo]
    count: int


class Enqueued(Answer):
    """The call is kept; `event_id` is its id, in the stream `metadata.request_id`."""

    status: str
    event_id: str


@tools.route("GET", "/v1/tools", "The tools that can be called", answer=ToolList)
def list_tools() -> ToolList:
    """All of them."""
    found = [_info(tool) for _, tool in sorted(room().serving.toolbox.items())]
    return ToolList(tools=found, count=len(found))


def _info(tool: Tool) -> ToolInfo:
    return ToolInfo(
        name=tool.name,
        description=tool.description,
        parameters=tool.arguments.model_json_schema(),
        effect=Effect(tool.effect),
        enabled=True,
    )


@tools.route(
    "POST",
    "/v1/tool/request",
    "Have a tool called; the call is kept before this answers",
    body=ToolForm,
    answer=Enqueued,
    errors=(400, 403, 404, 409, 413, 415, 422, 503),
    headers=REPEATABLE,
)
def post_tool_request(body: ToolForm) -> Response:
    """Parse, keep, answer."""
    serving = room().serving
    tenant = serving.settings.soma_tenant_id
    try:
        wanted = call_in(body, serving.toolbox, tenant, g.traceparent)
    except WrongArguments as error:
        raise BadRequest(400, str(error), error.errors) from None
    receipt = request_tool(wanted, key_of(body, body.tenant_named or tenant), serving.tool_counter)
    return repeatable({"status": "enqueued", "event_id": receipt.event_id}, receipt.replayed)
