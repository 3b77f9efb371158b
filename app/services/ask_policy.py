"""Nothing that needs a yes is done without one."""

from app.domain.errors import PolicyDenied
from app.domain.policy import Policy, PolicyQuestion


def demand(question: PolicyQuestion, policy: Policy) -> None:
    """Return where the policy says yes; `PolicyDenied` where it says no, `PolicyUnavailable` where it says nothing."""
    decision = policy.decide(question)
    if not decision.allowed:
        raise PolicyDenied(decision.reason)
