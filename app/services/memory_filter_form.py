"""Which memories are meant, as callers of the list, the export and its jobs write it: parsed once, the same for all."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from app.domain.browse import MAX_QUERY_LENGTH, MemoryFilter, search_words

_COLUMNS = ("tenant", "persona_id", "role", "session_id", "universe", "namespace")


def _searchable(query: str) -> str:
    search_words(query)
    return query


Name = Annotated[str, Field(max_length=255)] | None
Moment = Annotated[float, Field(ge=0, allow_inf_nan=False, description="epoch seconds")] | None
Words = Annotated[str, Field(max_length=MAX_QUERY_LENGTH), AfterValidator(_searchable)]


class MemoryFilterForm(BaseModel):
    """Which memories; every filter given must hold. `q`: words that must all occur, whole and without case; a word
    with other signs in it (50%, snake_case, ann@example.org) must also stand there as it is written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant: Name = None
    persona_id: Name = None
    role: Name = None
    session_id: Name = None
    universe: Name = None
    namespace: Name = None
    q: Words | None = None
    min_ts: Moment = None
    max_ts: Moment = None

    @field_validator("max_ts")
    @classmethod
    def _not_before_the_beginning(cls, upper: float | None, info: ValidationInfo) -> float | None:
        lower = info.data.get("min_ts")
        if upper is not None and lower is not None and lower > upper:
            raise ValueError("it must not be less than min_ts")
        return upper

    def filter(self) -> MemoryFilter:
        """As the stores take it."""
        words = search_words(self.q) if self.q else ()
        return MemoryFilter(
            **{name: getattr(self, name) for name in _COLUMNS}, words=words, min_ts=self.min_ts, max_ts=self.max_ts
        )
