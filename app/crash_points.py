"""The steps at which a drill may have a process end, as if the power had gone, and how a drill says which.

`CRASH_POINT` holds `STEP`, `STEP:PASSING` or `STEP:PASSING:TIMES`: end when this step has been passed so often in one
process (1), and do it so many times in all (1). `@FILE` names a file that holds such a wish, looked at whenever a step
is passed, so that a drill can make a wish while everything runs. Where nothing is wished nothing of this is in the way.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self


class CrashStep(StrEnum):
    """The steps of the line after which something is done and nobody has been told yet."""

    ACCEPT_COMMIT = "after_accept_commit"
    REMEMBER = "after_remember"
    MARK_SYNCED = "after_mark_synced"
    PUBLISH = "after_publish"
    MARK_SENT = "after_mark_sent"
    REPLICA_COMMIT = "after_replica_commit"
    KAFKA_COMMIT = "after_kafka_commit"


@dataclass(frozen=True, slots=True)
class CrashWish:
    """End after the step was passed for the `passing`-th time in a process; `times` in all."""

    step: CrashStep
    passing: int = 1
    times: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """`ValueError` names the steps that there are."""
        step, *numbers = text.split(":")
        if step not in set(CrashStep):
            raise ValueError(f"there is no such step; the known ones are {', '.join(CrashStep)}")
        if len(numbers) > 2 or not all(number.isdecimal() and int(number) > 0 for number in numbers):
            raise ValueError("write STEP, STEP:PASSING or STEP:PASSING:TIMES, numbers from 1 on")
        return cls(CrashStep(step), *map(int, numbers))

    def __str__(self) -> str:
        return f"{self.step}:{self.passing}:{self.times}"

    @property
    def rest(self) -> str:
        """What is still wished once this was done once more; empty when nothing is."""
        return f"{self.step}:{self.passing}:{self.times - 1}" if self.times > 1 else ""


def check(text: str, environment: str) -> str:
    """The setting as it came; `ValueError` where it is wrong, and always on an installation that people rely on."""
    if not text:
        return text
    if environment == "PROD":
        raise ValueError("crash points are for drills and are refused where SA01_ENV=PROD; leave it empty")
    wish = read_wish(Path(text[1:])) if text.startswith("@") else text
    if wish:
        CrashWish.parse(wish)
    return text


def read_wish(path: Path) -> str:
    """What is wished in this file; empty while there is none."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
