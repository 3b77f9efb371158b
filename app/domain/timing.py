"""When turns are due that nobody asks for at the time: at one moment, or by a cron expression on the clock of a time
zone. Pure; time is an argument.

A clock that is set forward leaves an hour out, and one that is set back shows it twice. What names its hour and minute
runs once all the same: at the moment the clock goes on, and in the first showing. What names `*` goes by the hours that
there are.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from app.domain.errors import Rejected

MAX_CRON_LENGTH = 200
_FIELDS = 5
# An L or an n-th weekday with a step would be read as something else.
_FIELD = re.compile(r"(?!.*[L#].*/)[0-9A-Za-z*/,#-]+", re.IGNORECASE)


class BadTiming(Rejected, ValueError):
    """This can never be due, or not any more; the text says what to write instead."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Either `at`, or `cron` on the clock of `time_zone`."""

    at: datetime | None = None
    cron: str | None = None
    time_zone: str = "UTC"

    def after(self, moment: datetime) -> datetime | None:
        """The first time after this moment, in UTC; None where none follows."""
        return next(iter(self._times(moment)), None)

    def count(self, first: datetime, last: datetime, limit: int) -> int:
        """How many times there are from `first`, which is one, to `last`; at most `limit`."""
        later = islice(self._times(first), max(limit - 1, 0))
        return 1 + sum(1 for _ in _while_until(later, last))

    def _times(self, moment: datetime) -> Iterable[datetime]:
        if self.cron is None:
            return (self.at,) if self.at is not None and self.at > moment else ()
        local = moment.astimezone(_zone(self.time_zone))
        times = (found.astimezone(UTC) for found in _parsed(self.cron, local))
        # Within an hour that is shown for the second time, the first times found lie in its first showing.
        return _distinct(found for found in times if found > moment)


def first_time(timing: Timing, now: datetime) -> datetime:
    """When it is due for the first time; `BadTiming` where that is never, or over."""
    found = timing.after(now)
    if found is None and timing.cron is None:
        raise BadTiming("this moment is over; name one in the future")
    if found is None:
        raise BadTiming(f"{timing.cron} is never due; check its day and month")
    return found


def check_zone(name: str) -> str:
    """The name as it came; `BadTiming` where it is no time zone."""
    _zone(name)
    return name


def check_cron(expression: str) -> str:
    """The expression as it came; `BadTiming` where it is none."""
    fields = expression.split()
    if len(fields) == _FIELDS + 1:
        raise BadTiming("seconds are finer than a schedule can be; write minute, hour, day, month and weekday")
    if len(fields) != _FIELDS or len(expression) > MAX_CRON_LENGTH:
        raise BadTiming("write five fields: minute, hour, day, month and weekday, for example 30 8 * * 1-5")
    _parsed(expression, datetime(2000, 1, 1, tzinfo=UTC))
    return expression


def _parsed(expression: str, moment: datetime) -> CronSim:
    try:
        if all(map(_FIELD.fullmatch, expression.split())):
            return CronSim(expression, moment)
        fault = "it has signs that no field can have"
    except CronSimError as error:
        fault = _fault(str(error))
    raise BadTiming(f"{expression} is no cron expression: {fault}")


def _fault(said: str) -> str:
    name = said.removeprefix("Bad ")
    return f"its {name} cannot be, at least not in these months" if name == "day-of-month" else f"its {name} cannot be"


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(name: str) -> ZoneInfo:
    if name not in _zone_names():
        raise BadTiming("there is no such time zone; write one like Europe/Berlin or UTC")
    return ZoneInfo(name)


def _while_until(times: Iterable[datetime], last: datetime) -> Iterable[datetime]:
    for found in times:
        if found > last:
            return
        yield found


def _distinct(times: Iterable[datetime]) -> Iterable[datetime]:
    """Times that the clock leaves out fall together on the moment at which it goes on."""
    before = None
    for found in times:
        if found != before:
            yield found
        before = found
