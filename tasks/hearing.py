"""How a worker hears a ring: one that has come too late counts only where no jump of its own clock makes it so."""

from celery.worker.request import Request

from app.adapters.celery_clock import STEADY


class SteadyRequest(Request):  # type: ignore[misc]
    """A ring that expires by the steady clock and the wall clock, never by one alone."""

    def maybe_expire(self) -> bool:
        """Whether nobody should hear it any more."""
        late = self.expires is not None and STEADY.earliest() > self.expires
        return bool(late and super().maybe_expire())
