"""Where states leave: stamped, sent, counted."""

import time
from dataclasses import replace

from appliance.publish.meters import FrameMeters
from appliance.publish.mqtt import AvatarPublisher
from appliance.values import AvatarState


class Outlet:
    """Sends states to the broker and keeps count of those that went."""

    def __init__(self, publisher: AvatarPublisher, meters: FrameMeters, started_ns: int) -> None:
        self._publisher = publisher
        self._meters = meters
        self._started_ns = started_ns
        self._first_frame_s: float | None = None

    def send(self, state: AvatarState) -> bool:
        """Send one state with its latency so far; ``False`` if it was dropped."""
        total_ms = (time.monotonic_ns() - state.captured_ns) / 1e6
        stamped = replace(state, latency_ms={**state.latency_ms, "total": total_ms})
        if not self._publisher.send(stamped):
            return False
        self._meters.count(f"{state.stream}/{state.slot}", stamped.latency_ms)
        if self._first_frame_s is None:
            self._first_frame_s = (time.monotonic_ns() - self._started_ns) / 1e9
        return True

    def first_frame_s(self) -> float | None:
        """Seconds from start to the first frame that left; ``None`` before it."""
        return self._first_frame_s
