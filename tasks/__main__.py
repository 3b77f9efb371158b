"""`python -m tasks worker|beat OPTIONS`: Celery's own commands with their own options.

`celery worker` loads every other command with it, Flower and an interactive shell among them: 13 MiB in each process
and a third of a second of its start.
"""

import gc

# What is loaded stays loaded: going over it again and again while it grows is a fifth of a worker's start.
gc.disable()

from typing import Any  # noqa: E402

from celery.bin.base import CLIContext  # noqa: E402
from celery.bin.beat import beat  # noqa: E402
from celery.bin.worker import worker  # noqa: E402
from celery.signals import beat_init, worker_ready  # noqa: E402
from click import Group  # noqa: E402

from tasks.application import celery  # noqa: E402


@beat_init.connect  # type: ignore[untyped-decorator]
@worker_ready.connect  # type: ignore[untyped-decorator]
def _collect_from_now_on(**_: Any) -> None:
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    commands = Group("tasks", {"worker": worker, "beat": beat})
    commands.main(prog_name="tasks", obj=CLIContext(app=celery, no_color=True, workdir=None))
