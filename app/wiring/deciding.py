"""Who decides what is allowed: an Open Policy Agent where one is named, else the Rego that came with this version."""

from pathlib import Path

from app.adapters.http.opa import OpaPolicy
from app.adapters.kept_decisions import KeptDecisions
from app.adapters.rego import RegoPolicy
from app.domain.policy import Policy
from app.domain.ports import Clock
from app.settings import Settings

_OURS = Path(__file__).resolve().parents[2] / "policy"


def policy_of(settings: Settings, clock: Clock) -> Policy:
    """`Misconfigured`, with file and line, where the Rego is broken; OPA is not asked before it is needed."""
    if settings.opa_url:
        opa = OpaPolicy(settings.opa_url + settings.opa_decision_path)
        return KeptDecisions(opa, settings.policy_cache_ttl, clock)
    return _rego(settings)


def check_policy(settings: Settings) -> None:
    """Refuse to start on broken Rego; an OPA may come later."""
    if not settings.opa_url:
        _rego(settings)


def _rego(settings: Settings) -> RegoPolicy:
    return RegoPolicy(Path(settings.policy_dir) if settings.policy_dir else _OURS)
