"""`python -m tasks worker|beat OPTIONS`: Celery's own commands with their own options.

`celery worker` loads every other command with it, Flower and an interactive shell among them: 13 MiB in each process
and a third of a second of its start.
"""

from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.worker import worker
from click import Group

from tasks.application import celery

if __name__ == "__main__":
    commands = Group("tasks", {"worker": worker, "beat": beat})
    commands.main(prog_name="tasks", obj=CLIContext(app=celery, no_color=True, workdir=None))
