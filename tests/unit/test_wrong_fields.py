"""A wrong request is answered in words that say where, what and, where it helps, what there is instead."""

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.services.wrong_fields import wrong_fields


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = Field(ge=1)

    @field_validator("size")
    @classmethod
    def even(cls, size: int) -> int:
        if size % 2:
            raise ValueError("must be even")
        return size


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    parts: list[Part] = []


class Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


def said_of(model: type[BaseModel], values: object) -> list[str]:
    with pytest.raises(ValidationError) as found:
        model.model_validate(values)
    return [str(field) for field in wrong_fields(found.value, model)]


def test_an_unknown_field_is_named_as_it_was_written_beside_those_that_there_are() -> None:
    assert said_of(Whole, {"name": "a", "Colour": 1}) == ["Colour: there is no such field; there is name, parts"]
    assert said_of(Nothing, {"colour": 1}) == ["colour: there is no such field; it takes none"]


def test_a_missing_field_is_said_to_be_missing() -> None:
    assert said_of(Whole, {}) == ["name: it is missing"]


def test_a_place_inside_a_list_is_led_to() -> None:
    found = said_of(Whole, {"name": "a", "parts": [{"size": 2}, {"size": 3}, {"size": 0}, {"size": 2, "kind": "x"}]})
    assert found == [
        "parts.1.size: must be even",
        "parts.2.size: should be greater than or equal to 1",
        "parts.3.kind: there is no such field",
    ]


def test_the_whole_has_no_place_and_no_value_is_repeated() -> None:
    assert said_of(Whole, "secret") == ["should be a valid dictionary or instance of Whole"]
