"""The description comes from the declared routes and cannot disagree with them; no server is needed to read it."""

import re
from typing import Any

import pytest

from app.gateway.app import AREAS
from app.gateway.docs import openapi
from app.gateway.openai_errors import is_openai
from app.settings import read
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return openapi([operation for area in AREAS for operation in area.operations], read({}).sa01_version)


def test_the_message_is_described_with_its_limits(description: dict[str, Any]) -> None:
    call = description["paths"]["/v1/session/message"]["post"]
    schema = description["components"]["schemas"]["MessageForm"]

    assert call["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/MessageForm")
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["message"]
    assert (schema["properties"]["message"]["minLength"], schema["properties"]["message"]["maxLength"]) == (1, 32_000)
    assert {"Idempotency-Key", "X-Universe-Id"} <= {p["name"] for p in call["parameters"] if p["in"] == "header"}


def test_every_error_is_a_problem_but_for_clients_of_the_openai_interface(description: dict[str, Any]) -> None:
    for path, calls in description["paths"].items():
        shape = "application/json" if is_openai(path) else "application/problem+json"
        for call in calls.values():
            for status, answer in call["responses"].items():
                assert int(status) < 400 or list(answer["content"]) == [shape]


def test_what_is_done_later_or_in_part_is_described_so(description: dict[str, Any]) -> None:
    good = {
        f"{method} {path}": statuses
        for path, calls in description["paths"].items()
        for method, call in calls.items()
        if (statuses := [int(status) for status in call["responses"] if int(status) < 400]) != [200]
    }

    assert good == {
        "delete /v1/memory/{memory_id}": [200, 202],
        "post /v1/schedules": [201],
        "post /v1/webhooks": [201],
        "post /v1/memory/export/jobs": [202],
        "get /v1/memory/export/jobs/{job_id}/download": [200, 206, 304],
        "post /v1/model-profiles": [201],
        "post /v1/admin/memory/rebuild": [202],
        "post /v1/admin/memory/reconcile": [202],
        "post /mcp": [200, 202],
    }


def test_lists_say_their_limits(description: dict[str, Any]) -> None:
    parameters = {p["name"]: p["schema"] for p in description["paths"]["/v1/sessions"]["get"]["parameters"]}

    assert (parameters["limit"]["minimum"], parameters["limit"]["maximum"], parameters["limit"]["default"]) == (
        1,
        200,
        50,
    )


def test_a_parameter_shows_the_values_it_may_have(description: dict[str, Any]) -> None:
    parameters = {p["name"]: p["schema"] for p in description["paths"]["/v1/admin/work"]["get"]["parameters"]}

    assert parameters["kind"]["anyOf"][0]["enum"] == ["turn", "memory", "record", "tool_call", "export", "webhook"]
    assert parameters["state"]["anyOf"][0]["enum"] == ["owed", "waiting", "leased", "dead"]
    assert "$ref" not in str(parameters)


def test_the_gateway_never_reaches_kafka_or_a_model() -> None:
    forbidden = re.compile(
        r"\b(import kafka|from kafka|adapters\.kafka|import openai|from openai|adapters\.http\.model)\b"
    )
    for folder in ("app/gateway", "app/wiring/serving.py"):
        paths = [ROOT / folder] if folder.endswith(".py") else list((ROOT / folder).glob("*.py"))
        for path in paths:
            assert not forbidden.findall(path.read_text()), path
