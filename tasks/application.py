"""The Celery application of every worker, beat and Flower. Workers name the modules they need: `--include`."""

from app.adapters.celery_clock import SteadyCelery
from tasks.acknowledging import acknowledge_honestly

acknowledge_honestly()
celery = SteadyCelery("soma")
celery.config_from_object("celeryconfig")
