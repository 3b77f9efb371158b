"""What can happen to budgets: workers die over a call for which tokens are set aside."""

import requests

from drills.trouble import Stage
from drills.worker_faults import SHARED_DEATHS, send_a_killer

KILLS = SHARED_DEATHS + 1
ONE_CALL = 1_024 + 512
"""Tokens: the longest answer of the stack's model, and more than the message and its instructions are."""
LIMIT = 2_000
"""Suffices for one call at a time: what a dead worker still held would have the next attempt refused."""
_HELD = "SELECT coalesce(sum(reserved), 0) FROM token_spending"
_RETURNED = "SELECT count(*) FROM token_reservations WHERE tenant = %(tenant)s AND returned"
_SPENT = "SELECT coalesce(sum(used), 0) FROM token_spending WHERE tenant = %(tenant)s AND dimension = 'tenant'"


def kill_reserved(stage: Stage) -> None:
    """Kill whoever answers one message of a tenant with a small budget, while the model is asked; then let it be."""
    tenant = f"{stage.target.tenant}-budget"
    path = f"{stage.target.gateway}/v1/budgets/tenant/{tenant}"
    requests.put(path, json={"tokens_per_day": LIMIT}, timeout=10).raise_for_status()
    send_a_killer(stage, "budget", KILLS, "done", KILLS)
    stage.later.append(lambda: _unbalanced(stage, tenant))


def _unbalanced(stage: Stage, tenant: str) -> list[str]:
    """What is wrong with the budgets now that nobody answers anything."""
    held, returned, spent = (int(stage.sql(question, tenant=tenant)[0][0]) for question in (_HELD, _RETURNED, _SPENT))
    found = [f"{held} tokens are reserved and nobody answers"] if held else []
    if returned != KILLS:
        found.append(f"{returned} reservations were returned after {KILLS} deaths")
    if not 0 < spent <= LIMIT + ONE_CALL:
        found.append(f"{spent} tokens were spent on a budget of {LIMIT}")
    return found
