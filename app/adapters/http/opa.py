"""`Policy` by an Open Policy Agent: one bounded question, and only an answer that is exactly a yes counts as one.

Nothing is retried here: a turn or a call that waits is what is retried, and a request is told to come again.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.adapters.http.bounded import Answer, BoundedHttp, NoAnswer
from app.adapters.http.breaker import Breaker, BreakerOpen
from app.domain.errors import PolicyUnavailable
from app.domain.json_text import BadJson, parse_json
from app.domain.policy import Decision, PolicyQuestion, Standing, decision_on

_SECONDS = 1.0
_STANDING_SECONDS = 0.9
_FAILURES_TO_OPEN = 3
_OPEN_SECONDS = 2.0
_MAX_ANSWER_BYTES = 65_536
_PROBE = PolicyQuestion("", None, "health", "")
# An OPA that logs its decisions numbers them; with anything else beside it the answer is not what was asked for.
_KEYS = frozenset({"result", "decision_id"})


class OpaPolicy:
    """Safe for many threads, one instance per process."""

    def __init__(self, url: str, seconds: float = _SECONDS, breaker: Breaker | None = None) -> None:
        self._url = url
        self._seconds = seconds
        self._http = BoundedHttp(_MAX_ANSWER_BYTES)
        self._breaker = breaker or Breaker(_FAILURES_TO_OPEN, _OPEN_SECONDS, slow_seconds=seconds)

    def decide(self, question: PolicyQuestion) -> Decision:
        """Asked within a second."""
        try:
            with self._breaker.attempt():
                return decision_on(question, self._ask(question.as_json(), self._seconds))
        except BreakerOpen as error:
            raise PolicyUnavailable("the policy's service failed a moment ago", error.retry_after) from error

    def standing(self) -> Standing:
        """By a question of its own, whatever the breaker says; that it is well ends the breaker's pause."""
        try:
            self._ask(_PROBE.as_json(), _STANDING_SECONDS)
        except PolicyUnavailable as error:
            status = "down" if isinstance(error.__cause__, NoAnswer) else "degraded"
            return Standing(status, f"{error}; nothing that needs a decision is allowed")
        self._breaker.close()
        return Standing("ok", "OPA decides")

    def _ask(self, given: Mapping[str, Any], seconds: float) -> bool:
        body = json.dumps({"input": given}).encode()
        headers = {"Content-Type": "application/json"}
        try:
            answer = self._http.send("POST", self._url, headers, body, seconds)
        except NoAnswer as error:
            raise PolicyUnavailable(f"the policy's service gave no answer ({error.kind})") from error
        return _decided(answer)


def _decided(answer: Answer) -> bool:
    if answer.status != 200:
        raise PolicyUnavailable(f"the policy's service answered with status {answer.status}")
    try:
        said = parse_json(answer.body)
    except BadJson:
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("result"), bool) or said.keys() - _KEYS:
        raise PolicyUnavailable("the policy's service answered with something that is no decision")
    return bool(said["result"])
