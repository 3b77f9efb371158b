"""What a person reads: a timeline while the drill runs, the promises and figures at its end, and `drill.json`."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from drills.checker import Verdict

EXAMPLES = 3


class Timeline:
    """Lines with the time since the drill began; a line is `moment  what happened`."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self.lines: list[tuple[float, str, str]] = []
        self._began = time.monotonic()
        self._out = out

    def say(self, what: str, words: str) -> None:
        """Print and keep one line."""
        seconds = time.monotonic() - self._began
        self.lines.append((round(seconds, 1), what, words))
        print(f"  {int(seconds) // 60:02d}:{int(seconds) % 60:02d}  {what:<7} {words}", file=self._out, flush=True)

    def title(self, words: str) -> None:
        """Print a heading."""
        print(words, file=self._out, flush=True)

    @property
    def seconds(self) -> float:
        """How long the drill has been running."""
        return time.monotonic() - self._began


def summary(verdicts: Sequence[Verdict], figures: Mapping[str, object]) -> str:
    """The table of promises and the figures, ending in one line that says PASS or FAIL and why."""
    lines = [""]
    for verdict in verdicts:
        state = "ok  " if verdict.kept else "FAIL"
        lines.append(f"  {state} {verdict.id:<4} {verdict.title:<50} {len(verdict.problems):>5}")
        lines += [f"              {problem}" for problem in verdict.problems[:EXAMPLES]]
        if len(verdict.problems) > EXAMPLES:
            lines.append(f"              and {len(verdict.problems) - EXAMPLES} more, see drill.json")
    lines.append("")
    lines += [f"  {name:<55} {'never' if value is None else value}" for name, value in figures.items()]
    broken = [f"{verdict.id} {verdict.title}" for verdict in verdicts if not verdict.kept]
    lines += ["", "PASS" if not broken else f"FAIL: {'; '.join(broken)}"]
    return "\n".join(lines)


def as_json(
    name: str,
    verdicts: Sequence[Verdict],
    figures: Mapping[str, object],
    timeline: Timeline,
    settings: Mapping[str, object],
) -> dict[str, object]:
    """The same for programs."""
    return {
        "drill": name,
        "passed": all(verdict.kept for verdict in verdicts),
        "seconds": round(timeline.seconds, 1),
        "settings": dict(settings),
        "figures": dict(figures),
        "invariants": [
            {"id": verdict.id, "title": verdict.title, "kept": verdict.kept, "problems": list(verdict.problems)}
            for verdict in verdicts
        ],
        "timeline": [{"at": at, "what": what, "words": words} for at, what, words in timeline.lines],
    }


def write_json(path: Path, body: Mapping[str, object]) -> None:
    """Write `drill.json`; a half-written one is never seen."""
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)
