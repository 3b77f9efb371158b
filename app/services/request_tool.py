"""A tool call that was accepted cannot be lost, even if everything but Postgres is away."""

from dataclasses import dataclass

from app.domain.conversation import Receipt, RequestKey
from app.domain.events import envelope
from app.domain.policy import Policy, may_run
from app.domain.ports import Broadcast, Doorbell
from app.domain.tool_ports import ToolRequests
from app.domain.tools import ToolRequest
from app.routing import TaskName
from app.services.ask_policy import demand


@dataclass(frozen=True, slots=True)
class ToolCounter:
    """What accepting a call needs: the store that keeps, the bell that hurries, the broadcast that shows,
    the policy that allows.
    """

    requests: ToolRequests
    doorbell: Doorbell
    broadcast: Broadcast
    policy: Policy


def request_tool(request: ToolRequest, key: RequestKey | None, counter: ToolCounter) -> Receipt:
    """Keep the call, then hint at it; `StoreUnavailable` when it could not be kept. What the policy does not allow is
    not kept (`PolicyDenied`), nor what nobody can decide about now (`PolicyUnavailable`).
    """
    demand(may_run(request), counter.policy)
    receipt, events = counter.requests.accept(request, key)
    for event in events:
        counter.broadcast.publish(event.session_id, envelope(event))
    counter.doorbell.ring(TaskName.EXECUTE_TOOL, receipt.event_id)
    return receipt
