"""Which SomaBrain answers: what was learnt of its version in this process, so that nothing is asked twice."""

from dataclasses import dataclass
from enum import StrEnum

from app.adapters.http.bounded import Answer

NOT_FOUND = 404
_NOT_THIS_FORM = frozenset({400, 415, 422})


class Form(StrEnum):
    """How the body of recall is written, in the order in which the forms are tried."""

    OBJECT = "object"
    TEXT = "text"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to ask: by the route of today or the `older` one, in one form."""

    older: bool = False
    form: Form = Form.OBJECT


_FIRST = Way()
_FORMS = tuple(Form)


class Dialect:
    """What is known of SomaBrain's version; only answers that worked teach it, and a route that goes away unteaches.

    Threads share it without a lock: two that learn at once learn the same.
    """

    def __init__(self, allow_older: bool) -> None:
        self._allow_older = allow_older
        self._recall: Way | None = None
        self._deletes_at = ("/recall/delete", "/delete")
        self.takes_batches = True
        self.remembers_the_older_way = False

    @property
    def way_to_recall(self) -> Way:
        """The way that worked before, else the newest."""
        return self._recall or _FIRST

    @property
    def routes_to_forget(self) -> tuple[str, str]:
        """Where deletion may be, the route that was there before first."""
        return self._deletes_at

    def has_only_the_older_way(self, answer: Answer) -> bool:
        """Whether this answer of a newest route sends us to the older one, and we may go there."""
        return answer.status == NOT_FOUND and self._allow_older

    def next_way_to_recall(self, way: Way, answer: Answer) -> Way | None:
        """What to try after this answer, None when it is to be taken as it is. A known way has no alternative; who
        asked another way, because it was not known yet, goes on with the known one.
        """
        known = self._recall
        other = self._after(way, answer)
        if known is None or other is None:
            return other
        return None if way == known else known

    def _after(self, way: Way, answer: Answer) -> Way | None:
        if way == _FIRST and self.has_only_the_older_way(answer):
            return Way(older=True)
        if answer.status in _NOT_THIS_FORM and way.form is not _FORMS[-1]:
            return Way(way.older, _FORMS[_FORMS.index(way.form) + 1])
        return None

    def recalls(self, way: Way) -> None:
        """This way brought memories."""
        self._recall = way

    def does_not_recall(self, way: Way, answer: Answer) -> None:
        """Where the known way was refused, another version may answer now: the next question asks all ways again."""
        if way == self._recall and answer.status in _NOT_THIS_FORM | {NOT_FOUND}:
            self._recall = None

    def forgets_at(self, path: str) -> None:
        """Deletion is here."""
        first, second = self._deletes_at
        self._deletes_at = (second, first) if path == second else (first, second)
