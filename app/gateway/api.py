"""How a route is declared: method, path and the models of its query, body and answer, from which come both the
parsing at the door and `/openapi.json`. The two cannot disagree, because there is only one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, TypeVar

from flask import Blueprint, Response, current_app, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from app.domain.errors import NotFound
from app.domain.json_text import BadJson, parse_json, read_json, storable
from app.gateway.problems import BadRequest
from app.services.wrong_fields import wrong_fields

View = Callable[..., Any]
_MAX_ID = 255


class Query(BaseModel):
    """Query parameters: read from text, unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Query):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    after: str = ""


_M = TypeVar("_M", bound=BaseModel)
_Q = TypeVar("_Q", bound=Query)


class Answer(BaseModel):
    """An answer, made of fields or read off an object (`model_validate`); what is not declared cannot leave."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Deleted(Answer):
    """It is gone."""

    deleted: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """One declared route, as the documentation shows it; with `items_apart` the view itself judges a list's items.

    `statuses` are those of good answers; the first is that of an answer which says none itself.
    """

    method: str
    path: str
    summary: str
    tag: str
    body: type[BaseModel] | None = None
    body_optional: bool = False
    query: type[Query] | None = None
    answer: type[BaseModel] | str | None = None
    statuses: tuple[int, ...] = (200,)
    errors: tuple[int, ...] = ()
    headers: Mapping[str, str] | None = None
    fill: Callable[[dict[str, Any]], None] | None = None
    items_apart: bool = False
    limit: str | None = None
    """The name in the application's configuration of how many bytes its body may have, where that is not what all may.
    """
    accepts: tuple[str, ...] = ()
    """Media types of a body that the view itself reads, piece by piece."""
    openai_errors: bool = False
    """Whether errors have the shape that clients of the OpenAI interface read."""


class Area:
    """The routes of one area: a Flask blueprint and the list of what was declared on it."""

    def __init__(self, name: str) -> None:
        self.blueprint = Blueprint(name, __name__)
        self.operations: list[Operation] = []
        self._name = name

    def route(self, method: str, path: str, summary: str, **declared: Any) -> Callable[[View], View]:
        """Declare a route; the view gets path values, and `query` and `body` where they are declared."""
        operation = Operation(method, path, summary, self._name, **declared)
        self.operations.append(operation)

        def declare(view: View) -> View:
            @wraps(view)
            def parsed(**path_values: str) -> Response:
                return _present(view(**_checked(path_values), **_arguments(operation)), operation.statuses[0])

            self.blueprint.add_url_rule(path, view.__name__, parsed, methods=[method])
            return view

        return declare


def _checked(path_values: dict[str, str]) -> dict[str, str]:
    if not all(storable(value) and len(value) <= _MAX_ID for value in path_values.values()):
        raise NotFound("there is no such thing")
    return path_values


def _arguments(operation: Operation) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if operation.query is not None:
        arguments["query"] = read_query(operation.query)
    if operation.body is not None:
        without = operation.body_optional and _is_empty()
        arguments["body"] = operation.body() if without else read_body(operation.body, operation)
    return arguments


def _is_empty() -> bool:
    return not request.content_length and "Transfer-Encoding" not in request.headers


def _present(answer: Any, status: int) -> Response:
    if isinstance(answer, Response):
        return answer
    response = jsonify(answer.model_dump(mode="json"))
    response.status_code = status
    return response


def read_query(model: type[_Q]) -> _Q:
    """This request's query parameters; 422 names the one that is wrong."""
    values: dict[str, str] = {}
    for name, found in request.args.lists():
        if len(found) > 1 or not storable(found[0]) or not storable(name):
            raise BadRequest(422, "a query parameter is wrong", [_place("query", name, "give it once, as plain text")])
        values[name] = found[0]
    return _validated(model, values, "query")


def read_body(model: type[_M], operation: Operation) -> _M:
    """This request's JSON body; the operation's `fill` may complete it from headers before it is checked."""
    if operation.limit is not None:
        request.max_content_length = current_app.config[operation.limit]
    value = _json(json_bytes(), read_json if operation.items_apart else parse_json)
    if operation.fill is not None:
        operation.fill(value)
    return _validated(model, value, "body")


def json_bytes() -> bytes:
    """This request's body, which says that it is JSON; 413 and 415 for another one."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise BadRequest(415, "send the body without Content-Encoding")
    if request.mimetype != "application/json":
        raise BadRequest(415, "send JSON with Content-Type: application/json")
    raw = request.get_data(cache=False)
    # A chunked body names no length: werkzeug stops reading at the limit and says nothing.
    if request.content_length is None and len(raw) >= (request.max_content_length or len(raw) + 1):
        raise RequestEntityTooLarge
    return raw


def _json(raw: bytes, read: Callable[[bytes], Any]) -> dict[str, Any]:
    try:
        value = read(raw)
    except BadJson as error:
        raise BadRequest(400 if error.kind == "bad_json" else 422, str(error)) from None
    if not isinstance(value, dict):
        raise BadRequest(400, "the body must be a JSON object")
    return value


def _validated(model: type[_M], values: dict[str, Any], where: str) -> _M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = wrong_fields(error, model)
        errors = [_place(where, ".".join(field.place), field.reason) for field in found]
        raise BadRequest(422, f"in the {where}, {found[0]}", errors) from None


def _place(where: str, name: str, message: str) -> dict[str, Any]:
    return {"loc": [where, *name.split(".")], "msg": message}
