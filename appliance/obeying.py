"""What each command of an operator does to the running appliance."""

import time
from collections.abc import Callable

from appliance import __version__
from appliance.avatar.orders import Orders, give
from appliance.errors import ApplianceError
from appliance.publish.commands import Command, Commands, Done
from appliance.settings import Settings
from appliance.values import Event

SETTLING_S = 30.0
"""So long a daemon runs before it may be told to start anew: systemd gives up on one that starts again and again."""

IDENTIFY_S = 10


def obey(
    settings: Settings,
    orders: Orders,
    tell: Callable[[Event], None],
    stop: Callable[[], None],
    reread: Callable[[], object] | None,
    started_ns: int,
) -> Commands:
    """Return the commands of this appliance.

    ``neutral`` and ``recalibrate`` put an order on the loop's shelf. ``reload`` reads the settings again and, where
    they hold, ends the daemon in order: systemd starts it with them. ``identify`` has the event ``identify`` said,
    for renderers to show which device this is.
    """

    def uptime_s() -> float:
        return round((time.monotonic_ns() - started_ns) / 1e9, 1)

    def order(command: Command) -> Done:
        give(orders, command.name, command.stream, command.slot)
        return Done({})

    def reload(_command: Command) -> Done:
        if reread is None:
            raise ApplianceError("this appliance was not started by `appliance run`; end it and start it by hand")
        if uptime_s() < SETTLING_S:
            raise ApplianceError(f"it started {uptime_s()} s ago; reload when {SETTLING_S:.0f} s have passed")
        reread()
        return Done({"uptime_s": uptime_s()}, stop)

    def identify(_command: Command) -> Done:
        named = {"site": settings.device.site, "device": settings.device.name}
        tell(Event("identify", {**named, "seconds": IDENTIFY_S}))
        return Done({**named, "version": __version__, "uptime_s": uptime_s()})

    acts = {"neutral": order, "recalibrate": order, "reload": reload, "identify": identify}
    streams = {camera.name for camera in settings.camera} | {ear.name for ear in settings.microphone}
    return Commands(settings.broker.commands, streams, acts)
