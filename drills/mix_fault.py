"""A seeded random mix: anything is killed or stopped at any time, for minutes."""

import time

from drills.trouble import Stage

VICTIMS = (
    *("gateway", "worker-conversation", "worker-delivery", "worker-replicator", "beat", "brain"),
    *("redis", "kafka", "postgres"),
)
FROZEN_SECONDS = (0.5, 4.0)
# Nobody answers for a frozen gateway: longer than this, the drill itself would break what is promised of a POST.
FROZEN_GATEWAY_SECONDS = (0.5, 2.0)
PAUSE_SECONDS = (0.5, 3.0)


def mix(stage: Stage) -> None:
    """Kill (mostly) or freeze a random part, again and again; the same seed chooses the same parts."""
    deadline = time.monotonic() + 60 * stage.minutes
    blows = 0
    while time.monotonic() < deadline:
        part = stage.dice.choice(VICTIMS)
        blow = stage.dice.choices((_kill, _freeze), weights=(3, 1))[0]
        blow(stage, part)
        blows += 1
        time.sleep(stage.dice.uniform(*PAUSE_SECONDS))
    for part in VICTIMS:
        stage.stack.wait_ready(part)
    stage.figures["kills and freezes"] = blows


def _kill(stage: Stage, part: str) -> None:
    stage.kill(part)


def _freeze(stage: Stage, part: str) -> None:
    seconds = stage.dice.uniform(*(FROZEN_GATEWAY_SECONDS if part == "gateway" else FROZEN_SECONDS))
    with stage.frozen(part):
        stage.timeline.say("stack", f"{part}: is stopped for {seconds:.1f} s (SIGSTOP)")
        stage.felt += stage.stack.status()[part].state == "frozen"
        time.sleep(seconds)
