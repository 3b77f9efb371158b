"""The Celery application that every worker, beat and Flower load."""

from celery import Celery

celery = Celery("soma")
celery.config_from_object("celeryconfig")
celery.conf.update(
    imports=("tasks.process", "tasks.conversation", "tasks.memory", "tasks.outbox", "tasks.replicator", "tasks.upkeep")
)
