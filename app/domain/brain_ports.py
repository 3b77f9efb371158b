"""What services need of SomaBrain, as a role."""

from collections.abc import Sequence
from typing import Protocol

from app.domain.memory import Memory, Place, Remembered
from app.domain.recall import Question, Recollection


class Brain(Protocol):
    """SomaBrain."""

    @property
    def breaker_open(self) -> bool: ...

    @property
    def refuses_us(self) -> bool:
        """Whether this process's last call was answered that our credentials are wrong."""

    def remember(self, memory: Memory) -> Remembered:
        """Keep one memory; `BrainUnavailable`, `BrainForbidden` or `MemoryRefused`."""

    def remember_all(self, memories: Sequence[Memory]) -> list[Remembered]:
        """Keep memories of one place in one call, all or none, and a receipt for each in order; `BrainUnavailable`,
        `BrainForbidden`, or `BatchRefused` where they have to be offered one by one.
        """

    def recall(self, question: Question, seconds: float | None = None) -> list[Recollection]:
        """At most `top_k` different memories of the question's place, best first, within `seconds` (None: the
        configured deadline); `BrainUnavailable` or `BrainForbidden`, also where SomaBrain refuses the question.
        """

    def forget(
        self,
        event_id: str,
        place: Place,
        request_id: str,
        *,
        traceparent: str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Delete one memory; one that is not there is deleted already. With the memory's `idempotency_key`, versions
        that read it keep no write of it that comes late. `BrainUnavailable`, `BrainForbidden`, `BrainCannotForget`
        where SomaBrain is well and cannot delete, `MemoryRefused` where it never will.
        """

    def healthy(self) -> bool:
        """Whether SomaBrain says it is well, within a second; never raises."""

    def close_breaker(self) -> None: ...
