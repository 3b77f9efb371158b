"""`/openapi.json` from the declared routes, and `/docs` to read and try them; every asset from this server."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, jsonify, send_from_directory
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.gateway.api import Area, Operation
from app.gateway.context import DOCS_CSP

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>SomaAgent01 API</title>
<link rel="icon" href="/docs/favicon-32x32.png"><link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<noscript>This page needs JavaScript; the description itself is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script>
</body>
</html>
"""
_START = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null});\n'
_GOOD_TEXTS = {
    200: "Done",
    201: "Made",
    202: "Kept, and done later",
    206: "The part that was asked for",
    304: "Not changed",
}
_WITHOUT_CONTENT = frozenset({304})
_PROBLEM_TEXTS = {
    400: "Not JSON, or not an object",
    403: "A page of another origin asks",
    404: "Unknown, or not yours",
    406: "The answer would be JSON, and `Accept` does not take that",
    409: "The same request is still being answered",
    410: "It was there, and is gone for good",
    413: "Larger than this server takes",
    415: "Not JSON by its Content-Type",
    416: "Beyond the end of what is there",
    422: "A value is wrong; `errors` says which",
    429: "More often, or more at once, than is allowed; `Retry-After` says when to come again",
    502: "The model gave no answer",
    503: "A dependency is away; `Retry-After` says when to come again",
    504: "The answer takes longer than this request may wait; it is still being given",
}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "a sentence for people"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "loc": {"type": "array", "items": {"type": "string"}},
                    "msg": {"type": "string"},
                },
            },
        },
    },
}

_OPENAI_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "a sentence for people"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "the field at fault"},
                "code": {"type": ["string", "null"], "description": "for programs"},
            },
        }
    },
}


def docs_blueprint(areas: Sequence[Area], version: str) -> Blueprint:
    """Routes for the description and the page that shows it."""
    blueprint = Blueprint("docs", __name__)
    description = openapi([operation for area in areas for operation in area.operations], version)
    assets = str(files("flask_swagger_ui") / "dist")

    @blueprint.get("/openapi.json")
    def describe() -> Response:
        return jsonify(description)

    @blueprint.get("/docs")
    def page() -> Response:
        return Response(_PAGE, mimetype="text/html", headers={"Content-Security-Policy": DOCS_CSP})

    @blueprint.get("/docs/start.js")
    def start() -> Response:
        return Response(_START, mimetype="text/javascript")

    @blueprint.get('/docs/<any("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):name>')
    def asset(name: str) -> Response:
        return send_from_directory(assets, name, max_age=86_400)

    return blueprint


def openapi(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 description of these routes."""
    models = sorted(
        {model for operation in operations for model in _models(operation)}, key=lambda model: model.__name__
    )
    references, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    components = schemas.get("$defs", {}) | {"Problem": _PROBLEM, "OpenAIError": _OPENAI_ERROR}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = re.sub("<(?:path:)?([^>]+)>", r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _described(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SomaAgent01 gateway",
            "version": version,
            "description": "Send messages to an agent; what was accepted is never lost. `WS /v1/session/{id}/stream`"
            " carries the same stream as the server-sent events, one JSON text frame per item.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _models(operation: Operation) -> list[type[BaseModel]]:
    found = (operation.body, operation.query, operation.answer)
    return [model for model in found if isinstance(model, type) and issubclass(model, BaseModel)]


def _described(operation: Operation, references: Any) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "tags": [operation.tag],
        "operationId": operation.method.lower() + re.sub(r"[^a-z_]+", "_", operation.path),
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_header_parameters(operation)],
        "responses": _responses(operation, references),
    }
    if operation.accepts:
        described["requestBody"] = {"required": True, "content": {kind: {} for kind in operation.accepts}}
    if operation.body is not None:
        schema = references[(operation.body, "validation")]
        required = not operation.body_optional
        described["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    names = re.findall("<(?:path:)?([^>]+)>", operation.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    described = operation.query.model_json_schema()
    properties = _spelled_out(described["properties"], described.get("$defs", {}))
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]


def _spelled_out(schema: Any, named: Mapping[str, Any]) -> Any:
    """The same schema without references: a parameter stands alone, and an enum in it shows its values."""
    if isinstance(schema, list):
        return [_spelled_out(item, named) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _spelled_out(named[schema["$ref"].rsplit("/", 1)[1]], named)
    return {name: _spelled_out(value, named) for name, value in schema.items()}


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in (operation.headers or {}).items()
    ]


def _responses(operation: Operation, references: Any) -> dict[str, Any]:
    if isinstance(operation.answer, str):
        content: dict[str, Any] = {operation.answer: {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": references[(operation.answer, "validation")]}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    if operation.openai_errors:
        problem = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}}
    good = {
        str(status): {"description": _GOOD_TEXTS[status]} | ({} if status in _WITHOUT_CONTENT else {"content": content})
        for status in operation.statuses
    }
    return good | {
        str(status): {"description": _PROBLEM_TEXTS[status], "content": problem} for status in operation.errors
    }
