"""`python -m drills NAME`: start a stack of its own, run one drill on it, print the verdict, leave nothing behind.

Exit status: 0 the promises were kept, 1 they were not, 2 wrong usage, 130 stopped by a person.
"""

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from devstack.faults import CannotStart
from devstack.notes import Kind, Note
from devstack.stack import Stack
from drills import checker, report, tour
from drills.campaign import Campaign, Plan
from drills.faults import FAULTS, SABOTAGES, Fault
from drills.ground import PARTS
from drills.load import Shape
from drills.model_peer import ModelPeer
from drills.record import Record

NOTICE = (
    "the model is a scripted OpenAI-compatible endpoint of the drill, reached over HTTP like any other (the built-in\n"
    "  model is too slow for this load); Postgres, Redis, Kafka, SomaBrain and all our processes are the real ones"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill that the command line names."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _as_interrupt)
    if words[:1] == ["campaign"]:
        return _interruptible(lambda: tour.main(words[1:]))
    options = _parser().parse_args(words)
    plan = Plan(
        calm=options.calm,
        fault=options.fault,
        patience=options.patience,
        sabotage=options.sabotage,
        shape=Shape(rate=options.rate, seed=options.seed),
    )
    return _interruptible(lambda: run(FAULTS[options.name], plan, Path(options.data), Path(options.json)))


def _interruptible(drill: Callable[[], int]) -> int:
    try:
        return drill()
    except KeyboardInterrupt:
        print("\nstopped; everything the drill had started is gone", file=sys.stderr)
        return 130
    except CannotStart as error:
        print(f"\nFAIL: the stack of the drill does not run: {error}", file=sys.stderr)
        return 1


def run(fault: Fault, plan: Plan, data: Path, json_path: Path) -> int:
    """One drill on a fresh stack; the servers' data is kept only when something was wrong."""
    folder = data / f"{fault.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    timeline = report.Timeline()
    timeline.title(f"drill {fault.name}: {fault.title}, {plan.fault:.0f} s, {plan.shape.rate:g} messages/s\n  {NOTICE}")
    timeline.say("stack", f"starting one of its own in {folder}")
    try:
        record = _on_own_stack(fault, plan, timeline, folder)
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return _conclude(fault, plan, timeline, record, folder, json_path)


def _on_own_stack(fault: Fault, plan: Plan, timeline: report.Timeline, folder: Path) -> Record:
    with (
        ModelPeer() as model,
        Stack(
            folder / "stack",
            port_offset=None,
            only=PARTS,
            overrides={"LLM_BASE_URL": model.url},
            report=lambda note: _told(timeline, note),
        ) as stack,
    ):
        timeline.say("stack", "ready")
        return Campaign(stack, fault, plan, timeline, folder).run()


def _told(timeline: report.Timeline, note: Note) -> None:
    """What happens to a running part belongs into the timeline; steps and lines of logs would drown it."""
    if note.kind is Kind.EVENT:
        timeline.say("stack", f"{note.name}: {note.text}"[:200])


def _conclude(
    fault: Fault, plan: Plan, timeline: report.Timeline, record: Record, folder: Path, json_path: Path
) -> int:
    verdicts = checker.judge(record, fault)
    figures = checker.figures(record)
    passed = all(verdict.kept for verdict in verdicts)
    print(report.summary(verdicts, figures), flush=True)
    report.write_json(json_path, report.as_json(fault.name, verdicts, figures, timeline, asdict(plan)))
    report.write_json(folder / "evidence.json", asdict(record))
    if passed:
        shutil.rmtree(folder / "stack", ignore_errors=True)
    print(f"({timeline.seconds:.0f} s; {json_path}, journal and evidence in {folder})")
    return 0 if passed else 1


def _parser() -> argparse.ArgumentParser:
    known = "\n".join(f"  {fault.name:<12} {fault.title}" for fault in FAULTS.values())
    parser = argparse.ArgumentParser(
        prog="python -m drills",
        description="Break one thing under load, heal it, and let an independent checker say what was lost.",
        epilog=f"drills:\n{known}\n  campaign     every fault, one after another: python -m drills campaign --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", choices=sorted(FAULTS), help=f"one of: {', '.join(sorted(FAULTS))}")
    seconds = (
        ("calm", 20.0, "before the fault"),
        ("fault", 40.0, "of the fault"),
        ("patience", 60.0, "after healing, at most, until nothing may be owed"),
    )
    for name, default, meaning in seconds:
        parser.add_argument(f"--{name}", type=_positive, default=default, help=f"seconds {meaning} ({default:g})")
    parser.add_argument("--rate", type=_positive, default=10.0, help="messages per second of all writers (10)")
    parser.add_argument("--seed", type=int, default=1, help="makes the load repeat itself (1)")
    parser.add_argument(
        "--sabotage", choices=sorted(SABOTAGES), default="", help="break the recovery; must end in FAIL"
    )
    parser.add_argument("--json", default="drill.json", help="where the result goes (drill.json)")
    parser.add_argument("--data", default="var/drills", help="folder for the drill's own stack (var/drills)")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 3600")
    return value


def _as_interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
