"""Policy: what has to be asked before something is done, and what may come back. Nothing is done without a yes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from app.domain.conversation import Turn
from app.domain.tools import ToolCall, ToolRequest

CONVERSATION = "conversation"
"""The resource of an answer for which no profile was named."""


class Action(StrEnum):
    """What can be asked for, as policies name it."""

    RESPOND = "conversation.respond"
    RUN_TOOL = "tool.run"


@dataclass(frozen=True, slots=True)
class PolicyQuestion:
    """Whether this tenant may do this with that. `context` is JSON data that a policy may look into."""

    tenant: str
    persona_id: str | None
    action: str
    resource: str
    context: Mapping[str, Any] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The `input` of a policy."""
        return {
            "tenant": self.tenant,
            "persona_id": self.persona_id,
            "action": self.action,
            "resource": self.resource,
            "context": dict(self.context),
            "scopes": list(self.scopes),
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """A yes, or a no with its reason as a sentence for people."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """How whoever decides is: ok, degraded or down, and what people should know of it."""

    status: str
    detail: str


class Policy(Protocol):
    """Decides."""

    def decide(self, question: PolicyQuestion) -> Decision:
        """The decision; `PolicyUnavailable` where none could be had, which is no yes."""

    def standing(self) -> Standing:
        """Whether decisions can be had now, found out anew and within a second. Never raises."""


_REFUSALS: Mapping[str, str] = {
    Action.RESPOND: "The policy of this installation does not allow an answer to this message.",
    Action.RUN_TOOL: "The policy of this installation does not allow this call of the tool {resource}.",
}


def decision_on(question: PolicyQuestion, allowed: bool) -> Decision:
    """This answer, a no with words: a policy itself says only yes or no."""
    if allowed:
        return Decision(True)
    words = _REFUSALS.get(question.action, "The policy of this installation does not allow this.")
    return Decision(False, words.format(resource=question.resource))


def may_respond(turn: Turn) -> PolicyQuestion:
    """Whether this message may be answered, by the profile that it names."""
    profile = turn.metadata.get("agent_profile_id")
    return PolicyQuestion(turn.tenant, turn.persona_id, Action.RESPOND, str(profile or CONVERSATION))


def may_run(call: ToolCall | ToolRequest) -> PolicyQuestion:
    """Whether this tool may be run so. What a client says of its own call (its metadata) is no part of it."""
    context = {"effect": call.effect.value, "args": dict(call.args)}
    return PolicyQuestion(call.tenant, call.persona_id, Action.RUN_TOOL, call.tool, context)
