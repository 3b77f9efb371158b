"""What callers may say, parsed once at the door: an object, an object as a JSON string, or `?payload=`."""

from typing import Annotated, Any, Literal, Self, TypeVar

from flask import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.brain.coordinates import DEFAULT_UNIVERSE
from app.domain.errors import Rejected
from app.domain.json_text import parse_json

_LONGEST_ADDRESS_BYTES = 2_400

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Number = Annotated[float, Field(ge=-1e12, le=1e12)]
Tags = Annotated[list[Name], Field(max_length=64)]
Seconds = Annotated[float, Field(gt=0, le=3_200_000_000)]


class WrongBody(Rejected):
    """A body that is JSON but not what the route takes; `detail` is the answer's."""

    def __init__(self, location: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.detail = [{"loc": ["body", *location], "msg": message, "type": "value_error"}]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)


class Item(_Body):
    """One memory without its place."""

    key: Key
    value: dict[str, Any]
    meta: dict[str, Any] | None = None
    ttl_seconds: Seconds | None = None
    tags: Tags = []
    policy_tags: Tags = []
    attachments: list[Any] = []
    links: list[Any] = []
    signals: dict[str, Any] = {}
    importance: Number | None = None
    novelty: Number | None = None
    trace_id: Annotated[str, StringConstraints(max_length=128)] | None = None
    idempotency_key: str | None = None


class Placed(_Body):
    """A request inside one place; a tenant that the body does not name comes from `X-Tenant-ID`."""

    tenant: Name
    namespace: Name
    universe: Annotated[str, StringConstraints(max_length=200)] | None = None

    @property
    def world(self) -> str:
        return self.universe or DEFAULT_UNIVERSE

    @model_validator(mode="after")
    def _short_enough(self) -> Self:
        keys = [item.key for item in getattr(self, "items", ())] or [getattr(self, "key", "") or ""]
        place = len(f"{self.tenant}{self.namespace}{self.world}".encode())
        if place + max(len(key.encode()) for key in keys) > _LONGEST_ADDRESS_BYTES:
            raise ValueError(f"tenant, namespace, universe and key are longer than {_LONGEST_ADDRESS_BYTES} bytes")
        return self


class Remember(Placed, Item):
    """`POST /memory/remember`."""


class RememberBatch(Placed):
    """`POST /memory/remember/batch`."""

    items: Annotated[list[Item], Field(min_length=1, max_length=1000)]


class Recall(Placed):
    """`POST /memory/recall`; what only other versions of SomaBrain act on is accepted and has no effect."""

    query: Annotated[str, StringConstraints(max_length=32_000)]
    top_k: Annotated[int, Field(ge=1, le=50)] = 3
    layer: Literal["wm", "ltm", "all"] = "all"
    tags: Tags = []
    min_score: Annotated[float, Field(ge=0, le=1)] | None = None
    max_age_seconds: Seconds | None = None
    session_id: str | None = None
    chunk_size: Annotated[int, Field(ge=1, le=50)] | None = None
    chunk_index: Annotated[int, Field(ge=0, le=50)] = 0


class Forget(Placed):
    """`POST /recall/delete`: by key (also called id), by coordinate, or by both, which must then agree.

    With the memory's idempotency key a write of it that is still under way is not kept either.
    """

    idempotency_key: str | None = None
    id: Key | None = None
    key: Key | None = None
    coordinate: Annotated[list[Annotated[float, Field(ge=-1, le=1)]], Field(min_length=3, max_length=3)] | None = None

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.key is None and self.id is None and self.coordinate is None:
            raise ValueError("one of key, id and coordinate is needed")
        return self


class Link(Placed):
    """`POST /link`: two memories belong together."""

    from_key: Key
    to_key: Key
    type: Name = "related"
    weight: Number = 1.0


class LegacyRemember(_Body):
    """The older `POST /remember`."""

    payload: dict[str, Any]
    universe: Annotated[str, StringConstraints(max_length=200)] | None = None


Some = TypeVar("Some", bound=BaseModel)


def read(model: type[Some], request: Request, defaults: dict[str, str]) -> Some:
    """The request as `model`; fields that the body leaves out come from `defaults`."""
    given = {name: value for name, value in fields_of(request).items() if value is not None}
    return model.model_validate({**defaults, **given})


def fields_of(request: Request) -> dict[str, Any]:
    """The object in any of its three forms; raises `BadJson` or `WrongBody`."""
    raw = request.get_data(cache=False) or request.args.get("payload", "").encode("utf-8", "replace")
    found = parse_json(raw)
    if isinstance(found, str):
        found = parse_json(found.encode())
    if not isinstance(found, dict):
        raise WrongBody((), "the body must be a JSON object")
    return found
