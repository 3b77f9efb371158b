"""One trouble against the running stack: calm, break and heal, quiet, evidence; each with a tenant of its own."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from drills.collect import UNIVERSE, Collector
from drills.growth import more
from drills.load import Load, Shape, Target
from drills.observe import Database
from drills.readers import Audience
from drills.record import Evidence, Holdings, Record, Transcript, Window
from drills.recorder import Recorder
from drills.trouble import Signs, Stage, Trouble
from drills.vigil import Vigil
from drills.vitals import holdings
from drills.warm_up import fill_pools
from drills.watch import Watch

SETTLE_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds before the trouble, after it with the load still on, and at most until nothing may be owed."""

    calm: float = 8.0
    after: float = 6.0
    patience: float = 60.0
    readers: int = 4
    shape: Shape = field(default_factory=Shape)


def target_of(trouble: Trouble, gateway: str) -> Target:
    """A tenant that nobody else ever had."""
    return Target(gateway, f"drill-{trouble.id.lower()}-{int(time.time())}", UNIVERSE)


class Bout:
    """Goes through one trouble; the stage belongs to it alone."""

    def __init__(self, trouble: Trouble, stage: Stage, pace: Pace, folder: Path) -> None:
        self._trouble, self._stage, self._pace = trouble, stage, pace
        self._journal = folder / f"{trouble.id}-journal.jsonl"
        self._recorder = Recorder(self._journal)
        self._load = Load(stage.target, self._recorder, pace.shape)
        followed = self._load.sessions[: pace.readers]
        self._audience = Audience(stage.target.gateway, followed, pace.shape.seed)
        self._database = Database(stage.stack.environment["POSTGRES_DSN"], stage.target.tenant)
        self._signs = Signs(trouble, stage.stack)
        self._watch = Watch(stage.stack, self._signs, self._load, self._database)
        self._vigil = Vigil(self._watch, self._database, stage.timeline)

    def run(self) -> Record:
        """The whole record, also when promises were broken; what cannot even be asked for raises."""
        letters = self._database.dead_letters()
        fill_pools(self._stage)
        for part in (self._load, self._watch, self._audience):
            part.start()
        try:
            before, window = self._through()
            heads = self._database.heads()
            transcripts = self._audience.finish(heads)
            after = self._settled(before)
        finally:
            self._load.stop()
            self._audience.give_up()
            self._watch.stop()
            self._recorder.close()
        return self._complete(window, letters, transcripts, (before, after))

    def _through(self) -> tuple[Holdings, Window]:
        self._vigil.pass_time("calm", self._pace.calm)
        before = holdings(self._stage.stack.data_dir, self._database)
        self._signs.forget()
        broken_at = time.time()
        self._stage.timeline.say("fault", self._trouble.title)
        self._trouble.act(self._stage)
        healed_at = time.time()
        self._stage.timeline.say("healed", f"after {healed_at - broken_at:.1f} s, felt {self._stage.felt} times")
        self._vigil.pass_time("after", self._pace.after)
        self._load.stop()
        patience = self._pace.patience
        return before, Window(broken_at, healed_at, self._vigil.wait_for_quiet(healed_at, patience), patience)

    def _settled(self, before: Holdings) -> Holdings:
        """What is held once all is quiet; what is only slow to be given back gets a while."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            after = holdings(self._stage.stack.data_dir, self._database)
            if not more(before, after) or time.monotonic() > deadline:
                return after
            time.sleep(1)

    def _complete(
        self,
        window: Window,
        letters: int,
        transcripts: tuple[Transcript, ...],
        held: tuple[Holdings, Holdings],
    ) -> Record:
        stage = self._stage
        collector = Collector(stage.stack, stage.target, self._database, stage.timeline)
        record = collector.collect(self._journal, tuple(self._watch.samples), window)
        needed = max(1, round(self._trouble.felt * stage.scale))
        stage.figures["times a stream was dropped and resumed"] = self._audience.resumes
        return replace(
            record,
            dead_letters=record.dead_letters - letters,
            planted=stage.planted,
            evidence=Evidence(stage.felt, needed, bool(self._trouble.shown_by), self._trouble.beside_posts),
            transcripts=transcripts,
            holdings=held,
            complaints=tuple(_complaints(stage.later)),
        )


def _complaints(checks: list[Callable[[], list[str]]]) -> list[str]:
    return [problem for check in checks for problem in check()]
