"""The Celery application of every worker, beat and Flower. Workers name the modules they need: `--include`."""

from celery import Celery

celery = Celery("soma")
celery.config_from_object("celeryconfig")
