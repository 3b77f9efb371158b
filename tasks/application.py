"""The Celery application of every worker, beat and Flower. Workers name the modules they need: `--include`."""

from celery import Celery

from tasks.acknowledging import acknowledge_honestly

acknowledge_honestly()
celery = Celery("soma")
celery.config_from_object("celeryconfig")
