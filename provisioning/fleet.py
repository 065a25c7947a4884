"""Many devices at once: waves, side by side within a wave, one line of progress and one of report a device."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from provisioning.errors import ProvisioningError
from provisioning.site import Device, Site

AT_ONCE = 16

Say = Callable[[str], None]
Work = Callable[[Device, Say], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one device."""

    device: Device
    took_s: float
    result: Any = None
    error: str = ""


def waves(site: Site) -> Iterator[list[Device]]:
    """The devices in the order in which they are changed: the broker first, for all others need it."""
    broker = [device for device in site.device if device.name == site.broker.device]
    if broker:
        yield broker
    others = [device for device in site.device if device not in broker]
    for wave in sorted({device.wave for device in others}):
        yield [device for device in others if device.wave == wave]


async def in_turn(groups: Sequence[Sequence[Device]], work: Work, tell: Say) -> list[Outcome]:
    """Work on wave after wave; none begins after one in which a device failed."""
    outcomes: list[Outcome] = []
    for group in groups:
        if any(outcome.error for outcome in outcomes):
            outcomes += [Outcome(device, 0.0, error="left alone: an earlier wave failed") for device in group]
        else:
            outcomes += await together(group, work, tell)
    return outcomes


async def together(devices: Sequence[Device], work: Work, tell: Say) -> list[Outcome]:
    """Work on several devices side by side; one that fails stops no other."""
    gate = asyncio.Semaphore(AT_ONCE)
    width = max((len(device.name) for device in devices), default=0)

    async def one(device: Device) -> Outcome:
        async with gate:
            began_s = time.monotonic()

            def say(text: str) -> None:
                tell(f"{device.name:{width}}  {time.monotonic() - began_s:6.1f} s  {text}")

            try:
                result = await work(device, say)
            except ProvisioningError as error:
                say(f"failed: {error}")
                return Outcome(device, time.monotonic() - began_s, error=str(error))
            return Outcome(device, time.monotonic() - began_s, result)

    return list(await asyncio.gather(*(one(device) for device in devices)))
