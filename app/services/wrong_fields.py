"""What is wrong with a request, field by field, in words for the one who sent it."""

from dataclasses import dataclass

from pydantic import BaseModel, ValidationError


@dataclass(frozen=True, slots=True)
class WrongField:
    """One finding; `place` is the way to it from the outermost object, empty for the whole."""

    place: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (".".join(self.place), self.reason)))


def wrong_fields(error: ValidationError, model: type[BaseModel]) -> list[WrongField]:
    """Every finding of pydantic's about a `model`, in its order; never the value that was sent."""
    return [
        WrongField(place := tuple(map(str, item["loc"])), _reason(item["type"], item["msg"], model, place))
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _reason(kind: str, message: str, model: type[BaseModel], place: tuple[str, ...]) -> str:
    if kind == "missing":
        return "it is missing"
    if kind == "extra_forbidden":
        return f"there is no such field{_known(model) if len(place) == 1 else ''}"
    return message.removeprefix("Value error, ").removeprefix("Input ")


def _known(model: type[BaseModel]) -> str:
    names = sorted(field.alias or name for name, field in model.model_fields.items())
    return f"; there is {', '.join(names)}" if names else "; it takes none"
