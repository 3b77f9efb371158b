"""What the page's server is made of, put together once per process."""

from dataclasses import dataclass, field

from app.adapters.http.open_streams import StreamSlots
from app.settings import Settings
from webui.gateway import Gateway
from webui.local import LocalService, local_service
from webui.relay import Watch


@dataclass(frozen=True)
class Parts:
    """The gateway, what serves where it is away, and what bounds the streams."""

    gateway: Gateway
    local: LocalService | None
    slots: StreamSlots
    use_gateway: bool = True
    watch: Watch = field(default_factory=Watch)


def parts_for(settings: Settings) -> Parts:
    """The parts that these settings ask for."""
    return Parts(
        Gateway(settings.gateway_base),
        local_service(settings),
        StreamSlots(settings.ui_max_streams),
        settings.ui_use_gateway,
    )
