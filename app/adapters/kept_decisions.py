"""Decisions that are still fresh, so that a tool loop does not ask the same thing again and again."""

import json
import threading
from collections import OrderedDict

from app.domain.policy import Decision, Policy, PolicyQuestion, Standing
from app.domain.ports import Clock

_MOST = 4_096
_LONGEST_KEY = 4_096
"""Characters; longer questions, with long arguments in them, are hardly asked twice."""


class KeptDecisions:
    """`Policy` that asks another one, and keeps each decision for so many seconds; the least used ones make room."""

    def __init__(self, policy: Policy, seconds: float, clock: Clock, most: int = _MOST) -> None:
        self._policy = policy
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Decision, float]] = OrderedDict()

    def decide(self, question: PolicyQuestion) -> Decision:
        """The one that is kept, while it is fresh; that no decision could be had is not kept."""
        key = json.dumps(question.as_json(), sort_keys=True)
        kept = self._fresh(key)
        if kept is not None:
            return kept
        # As old as the question: a policy that changed meanwhile is heard within the promised time.
        asked_at = self._clock.monotonic()
        decision = self._policy.decide(question)
        if self._seconds > 0 and len(key) <= _LONGEST_KEY:
            self._keep(key, decision, asked_at)
        return decision

    def standing(self) -> Standing:
        """The other one's."""
        return self._policy.standing()

    def _fresh(self, key: str) -> Decision | None:
        with self._lock:
            decision, asked_at = self._kept.get(key, (None, 0.0))
            if decision is None:
                return None
            if self._clock.monotonic() - asked_at >= self._seconds:
                del self._kept[key]
                return None
            self._kept.move_to_end(key)
            return decision

    def _keep(self, key: str, decision: Decision, asked_at: float) -> None:
        with self._lock:
            self._kept[key] = (decision, asked_at)
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
