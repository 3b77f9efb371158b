"""Standing by while a drill runs: lines about the load now and then, and the wait until nothing is owed."""

import time
from dataclasses import dataclass

import psycopg2

from drills.observe import Database
from drills.record import Sample
from drills.report import Timeline
from drills.watch import Watch

LINE_EVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Vigil:
    """Tells the timeline what the watch sees and what the database still owes."""

    watch: Watch
    database: Database
    timeline: Timeline

    def pass_time(self, part: str, seconds: float) -> None:
        """Let the load run; a line now and then."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(LINE_EVERY_SECONDS, left))
            if self.watch.samples:
                self.timeline.say(part, in_words(self.watch.samples[-1]))

    def wait_for_quiet(self, healed_at: float, patience: float) -> float | None:
        """When nothing was owed any more; None when patience, which began with the healing, ended before that."""
        owed, quiet = self._owed()
        self.timeline.say("quiet", f"no new messages; waiting for {owed}")
        while time.time() - healed_at < patience:
            if quiet:
                self.timeline.say("drained", f"{time.time() - healed_at:.1f} s after the healing nothing is owed")
                return time.time()
            time.sleep(0.25)
            owed, quiet = self._owed()
        self.timeline.say("drained", f"not within {patience:.0f} s: {owed}")
        return None

    def _owed(self) -> tuple[str, bool]:
        """What is owed, in words, and whether that is nothing."""
        try:
            found = self.database.owed()
        except psycopg2.Error as error:
            return f"Postgres, which does not tell ({type(error).__name__})", False
        return str(found), not found.total


def in_words(sample: Sample) -> str:
    """One sample as a line of the timeline."""
    metric = "?" if sample.metric_backlog is None else f"{sample.metric_backlog:.0f}"
    return (
        f"accepted {sample.accepted}, replica {sample.replica_rows}, memory_sync backlog {sample.backlog} "
        f"(worker metric {metric}), fault {'felt' if sample.felt else 'not felt'}, "
        f"{'shown in health' if sample.shown else 'health shows none'}"
    )
