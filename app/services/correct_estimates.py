"""By what estimates of tokens are to be multiplied, asked of the store once a minute."""

from collections.abc import Callable
from dataclasses import dataclass, field

from app.domain.ports import Clock
from app.domain.profiles import Profile

_KEPT_SECONDS = 60.0
_MOST_KEPT = 10_000


@dataclass(slots=True)
class Corrections:
    """What models reported of late, by tenant and model. `read` asks the store; threads may share this."""

    read: Callable[[str, str], float]
    clock: Clock
    _known: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def __call__(self, tenant: str, profile: Profile) -> float:
        """The factor for what this tenant says to this model."""
        now, key = self.clock.monotonic(), (tenant, profile.model)
        until, factor = self._known.get(key, (now, 1.0))
        if until <= now:
            factor = self.read(tenant, profile.model)
            self._keep(key, (now + _KEPT_SECONDS, factor))
        return factor

    def _keep(self, key: tuple[str, str], found: tuple[float, float]) -> None:
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        self._known[key] = found


def uncorrected(_tenant: str, _profile: Profile) -> float:
    """Where nothing is known of a model's habits."""
    return 1.0
