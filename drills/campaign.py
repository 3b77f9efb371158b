"""One drill from beginning to end: calm, fault, healing, quiet, evidence.

The stack is handed in running and belongs to the drill alone; nobody restarts anything by hand on the way.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

from drills.collect import UNIVERSE, Collector
from drills.faults import SABOTAGES, Fault, StackControl
from drills.load import Load, Shape, Target
from drills.observe import Database
from drills.record import Record, Window
from drills.recorder import Recorder
from drills.report import Timeline
from drills.vigil import Vigil
from drills.watch import Watch


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each part lasts (seconds), how much load there is, and what is sabotaged on purpose."""

    calm: float = 20.0
    fault: float = 40.0
    after: float = 10.0
    patience: float = 60.0
    sabotage: str = ""
    shape: Shape = field(default_factory=Shape)


class Campaign:
    """One fault against one running stack."""

    def __init__(self, stack: StackControl, fault: Fault, plan: Plan, timeline: Timeline, folder: Path) -> None:
        self._stack = stack
        self._fault = fault
        self._plan = plan
        self._timeline = timeline
        self._target = Target(stack.url("gateway"), f"drill-{int(time.time())}", UNIVERSE)
        self._journal = folder / "journal.jsonl"
        self._recorder = Recorder(self._journal)
        self._load = Load(self._target, self._recorder, plan.shape)
        self._database = Database(stack.environment["POSTGRES_DSN"], self._target.tenant)
        self._watch = Watch(stack, fault, self._load, self._database)
        self._vigil = Vigil(self._watch, self._database, timeline)

    def run(self) -> Record:
        """Go through all parts; the record is complete even when promises were broken."""
        try:
            return self._collect(self._live_through())
        finally:
            # Not before everything was read: the stack would make good what it has to answer for.
            self._undo_sabotage()

    def _live_through(self) -> Window:
        self._load.start()
        self._watch.start()
        try:
            broken_at, healed_at = self._break_and_heal()
            drained_at = self._drained_at(healed_at)
        finally:
            self._load.stop()
            self._watch.stop()
            self._recorder.close()
        return Window(broken_at, healed_at, drained_at, self._plan.patience)

    def _break_and_heal(self) -> tuple[float, float]:
        self._vigil.pass_time("calm", self._plan.calm)
        with self._watch.lock:
            self._fault.break_it(self._stack)
            broken_at = time.time()
        self._timeline.say("fault", self._fault.title)
        self._vigil.pass_time("fault", self._plan.fault)
        if self._plan.sabotage:
            SABOTAGES[self._plan.sabotage][0](self._stack)
            self._timeline.say("sabotage", self._plan.sabotage)
        with self._watch.lock:
            self._fault.heal(self._stack)
            healed_at = time.time()
        self._timeline.say("healed", f"after {healed_at - broken_at:.1f} s; the load goes on")
        return broken_at, healed_at

    def _undo_sabotage(self) -> None:
        if self._plan.sabotage:
            SABOTAGES[self._plan.sabotage][1](self._stack)

    def _drained_at(self, healed_at: float) -> float | None:
        """When nothing was owed any more; the load goes on for a while and then stops."""
        self._vigil.pass_time("after", self._plan.after)
        self._load.stop()
        return self._vigil.wait_for_quiet(healed_at, self._plan.patience)

    def _collect(self, window: Window) -> Record:
        """Read everything that exists; each store through its own door."""
        return Collector(self._stack, self._target, self._database, self._timeline).collect(
            self._journal, tuple(self._watch.samples), window
        )
