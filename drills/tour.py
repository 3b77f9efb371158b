"""The campaign: fault after fault on a stack of its own, one row for each, and one verdict at the end.

`python -m drills campaign`: exit status 0 every promise was kept, 1 not, 2 wrong usage, 130 stopped by a person.
"""

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psycopg2
import requests
from kafka.errors import KafkaError

from devstack.faults import CannotStart
from drills import catalogue, checker, report, table
from drills.bout import Bout, Pace, target_of
from drills.ground import Ground, NotOurs, refuse_foreign
from drills.invariants import post_seconds
from drills.load import Shape
from drills.record import Record
from drills.trouble import NotHere, Stage, Trouble

BREAKS_OFF = (CannotStart, psycopg2.Error, requests.RequestException, KafkaError, OSError)
SMOKE_SCALE = 0.2


@dataclass(frozen=True, slots=True)
class Orders:
    """What the command line asked for."""

    faults: Sequence[Trouble | NotHere]
    pace: Pace
    scale: float
    minutes: float
    seed: int
    settings: Mapping[str, str]


@dataclass(slots=True)
class Tour:
    """Runs the faults; `rows` grows by one for each."""

    orders: Orders
    ground: Ground
    timeline: report.Timeline
    folder: Path
    rows: list[table.Row] = field(default_factory=list)
    calm_posts: list[float] = field(default_factory=list)
    """How quick a POST is on this machine when nothing is broken: one calm alone is too short to say."""

    def run(self) -> None:
        """Every fault, in order; one that breaks off costs the stack, not the campaign."""
        for fault in self.orders.faults:
            if isinstance(fault, NotHere):
                self.rows.append(table.Row(fault.id, fault.title, reason=fault.reason))
            elif reason := fault.missing():
                self.rows.append(table.Row(fault.id, fault.title, reason=reason))
            else:
                self.rows.append(self._row(fault))
                self.timeline.say(fault.id, "\n".join([self.rows[-1].word, *table.broken(self.rows[-1])]))

    def _row(self, trouble: Trouble) -> table.Row:
        began = time.monotonic()
        try:
            return self._judged(trouble, began)
        except BREAKS_OFF as error:
            self.ground.close()
            reason = f"broke off: {type(error).__name__}: {error}".splitlines()[0][:200]
            seconds = time.monotonic() - began
            return table.Row(trouble.id, trouble.title, seconds=seconds, reason=reason, broke_off=True)

    def _judged(self, trouble: Trouble, began: float) -> table.Row:
        stack = self.ground.stack_with(trouble.overrides, trouble.linked, trouble.room, trouble.decided)
        stage = Stage(
            stack=stack,
            model=self.ground.model,
            target=target_of(trouble, stack.url("gateway")),
            timeline=self.timeline,
            dice=random.Random(f"{self.orders.seed}/{trouble.id}"),
            scale=self.orders.scale,
            minutes=self.orders.minutes,
            opa=self.ground.opa,
        )
        record = Bout(trouble, stage, self.orders.pace, self.folder).run()
        report.write_json(self.folder / f"{trouble.id}-evidence.json", asdict(record))
        self.calm_posts += post_seconds(record, record.window.before)
        record = replace(record, calm_posts=tuple(self.calm_posts))
        verdicts = tuple(checker.judge(record, trouble))
        figures = {**checker.figures(record), **_recovery(record), **stage.figures}
        return table.Row(trouble.id, trouble.title, verdicts, figures, time.monotonic() - began)


def _recovery(record: Record) -> Mapping[str, float | None]:
    healed_at = record.window.healed_at
    first = min((event.at for event in record.finals if event.at >= healed_at), default=None)
    return {"first answer after healing, s": None if first is None else round(first - healed_at, 1)}


def main(arguments: Sequence[str]) -> int:
    """Run the campaign that the command line describes."""
    options = _parser().parse_args(arguments)
    try:
        faults = catalogue.chosen(options.fault, options.smoke)
        refuse_foreign(Path(options.data))
    except KeyError as error:
        print(f"there is no fault {error.args[0]}; these are known:\n{catalogue.listing()}", file=sys.stderr)
        return 2
    except NotOurs as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    return _run(_orders(options, faults), Path(options.data), Path(options.json))


def _orders(options: argparse.Namespace, faults: Sequence[Trouble | NotHere]) -> Orders:
    shape = Shape(rate=options.rate, seed=options.seed)
    usual = Pace(shape=shape)
    short = Pace(calm=4.0, after=3.0, shape=shape)
    scale = SMOKE_SCALE if options.smoke else 1.0
    pace = short if options.smoke else usual
    return Orders(faults, pace, scale, options.minutes, options.seed, dict(options.set))


def _run(orders: Orders, data: Path, json_path: Path) -> int:
    folder = data / f"campaign-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    timeline = report.Timeline()
    timeline.title(
        f"campaign of {len(orders.faults)} faults, {orders.pace.shape.rate:g} messages/s, seed {orders.seed}"
    )
    ground = Ground(folder, timeline, orders.pace.shape.rate, orders.settings)
    tour = Tour(orders, ground, timeline, folder)
    try:
        tour.run()
    finally:
        ground.close()
    print(table.table(tour.rows), flush=True)
    settings = {"seed": orders.seed, "scale": orders.scale, "minutes": orders.minutes, **asdict(orders.pace)}
    settings["set"] = dict(orders.settings)
    report.write_json(json_path, table.as_json(tour.rows, settings))
    print(f"({timeline.seconds:.0f} s; {json_path}, journals and evidence in {folder})")
    return int(any(row.failed for row in tour.rows))


def _setting(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not (name and found):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m drills campaign",
        description="Break one thing after the other under load, heal it, and judge what was lost.",
        epilog=f"faults:\n{catalogue.listing()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--fault", action="append", default=[], metavar="F12", help="only this one; may be repeated")
    parser.add_argument("--smoke", action="store_true", help="five faults in short, in less than 5 minutes")
    parser.add_argument("--seed", type=int, default=1, help="makes the load and the random mix repeat themselves (1)")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the random mix F33 (2)")
    parser.add_argument("--rate", type=float, default=5.0, help="messages per second of all writers (5)")
    parser.add_argument(
        "--set", action="append", default=[], type=_setting, metavar="NAME=VALUE", help="a setting for every process"
    )
    parser.add_argument("--json", default="drill.json", help="where the result goes (drill.json)")
    parser.add_argument("--data", default="var/drills", help="folder for the drill's own stacks (var/drills)")
    return parser
