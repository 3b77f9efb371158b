"""The campaign's result: one row per fault with the count of every invariant, for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drills.checker import Verdict

COLUMNS = ("F", "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "P", "M")
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one fault; `reason` is set when it was not run or broke off."""

    id: str
    title: str
    verdicts: tuple[Verdict, ...] = ()
    figures: Mapping[str, object] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    broke_off: bool = False

    @property
    def failed(self) -> bool:
        """Whether it was run and did not pass; what was not run here has neither passed nor failed."""
        return self.broke_off or any(not verdict.kept for verdict in self.verdicts)

    @property
    def word(self) -> str:
        """PASS, FAIL or why there is neither."""
        if self.failed:
            return f"FAIL: {self.reason}" if self.reason else "FAIL"
        return f"not run here: {self.reason}" if self.reason else "PASS"


def table(rows: Sequence[Row]) -> str:
    """Every fault in a line, then what was broken where."""
    counted = " ".join(f"{name:>4}" for name in COLUMNS)
    head = f"  {'':<4} {'fault':<60} {counted}  answer  drained    POST p99, calm and then"
    lines = ["", head, *(_line(row) for row in rows)]
    for row in rows:
        lines += broken(row)
    failed = [row.id for row in rows if row.failed]
    run = sum(bool(row.verdicts) for row in rows)
    lines += ["", f"FAIL: {', '.join(failed)}" if failed else f"PASS: {run} faults"]
    return "\n".join(lines)


def _line(row: Row) -> str:
    counts = {verdict.id: len(verdict.problems) for verdict in row.verdicts}
    cells = " ".join(f"{counts.get(name, '-'):>4}" for name in COLUMNS)
    speed = f"{_seconds(row, 'first answer after healing, s')}  {_seconds(row, 'seconds until nothing was owed')}"
    return f"  {row.id:<4} {row.title:<60} {cells}  {speed}  {_post(row)}  {row.word}"


def _post(row: Row) -> str:
    calm, during = (row.figures.get(f"POST p99 {when} the fault, s") for when in ("before", "during"))
    return f"{'-' if calm is None else f'{calm} s':>10} {'-' if during is None else f'{during} s':>11}"


def _seconds(row: Row, name: str) -> str:
    found = next((value for key, value in row.figures.items() if key.startswith(name)), None)
    return f"{'-' if found is None else f'{found} s':>7}"


def broken(row: Row) -> list[str]:
    """Which promises were broken, with examples."""
    lines: list[str] = []
    for verdict in row.verdicts:
        if not verdict.kept:
            lines.append(f"  {row.id} {verdict.id} {verdict.title}: {len(verdict.problems)}")
            lines += [f"        {problem}" for problem in verdict.problems[:EXAMPLES]]
    return lines


def as_json(rows: Sequence[Row], settings: Mapping[str, object]) -> dict[str, object]:
    """The same for programs, with every problem."""
    return {
        "drill": "campaign",
        "passed": not any(row.failed for row in rows),
        "settings": dict(settings),
        "faults": [
            {
                "id": row.id,
                "title": row.title,
                "result": row.word,
                "seconds": round(row.seconds, 1),
                "invariants": {verdict.id: list(verdict.problems) for verdict in row.verdicts},
                "figures": dict(row.figures),
            }
            for row in rows
        ],
    }
