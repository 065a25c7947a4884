"""Where states leave: stamped, sent, counted."""

import time
from dataclasses import replace

from appliance.publish.meters import FrameMeters
from appliance.publish.mqtt import AvatarPublisher
from appliance.values import AvatarState, Event, TrackingState

_HELD = (TrackingState.ACQUIRING, TrackingState.TRACKING)


class Outlet:
    """Sends states to the broker and keeps count of those that went."""

    def __init__(self, publisher: AvatarPublisher, meters: FrameMeters, started_ns: int) -> None:
        self._publisher = publisher
        self._meters = meters
        self._started_ns = started_ns
        self._first_frame_s: float | None = None
        self._visitors: dict[tuple[str, int], str] = {}  # the session of the face that is held

    def send(self, state: AvatarState) -> bool:
        """Send one state with its latency so far; ``False`` if it was dropped."""
        self._tell(state)
        stamped = replace(state, latency_ms={**state.latency_ms, **_since_ms(state, time.monotonic_ns())})
        if not self._publisher.send(stamped):
            return False
        self._meters.count(f"{state.stream}/{state.slot}", stamped.latency_ms)
        if self._first_frame_s is None:
            self._first_frame_s = (time.monotonic_ns() - self._started_ns) / 1e9
        return True

    def _tell(self, state: AvatarState) -> None:
        """Publish as events that a face came or went; another visitor in its place is both."""
        place = (state.stream, state.slot)
        before, now = self._visitors.get(place, ""), state.session if state.state in _HELD else ""
        for name, session in (("face_lost", before), ("face_found", now)):
            if before != now and session:
                details = {"stream": state.stream, "slot": state.slot, "session": session}
                self._publisher.event(Event(name, details))
        self._visitors[place] = now

    def first_frame_s(self) -> float | None:
        """Seconds from start to the first frame that left; ``None`` before it."""
        return self._first_frame_s


def _since_ms(state: AvatarState, now_ns: int) -> dict[str, float]:
    """How long ago the picture was seen, and the sound was heard that shapes the mouth now."""
    since_ms = {"total": (now_ns - state.captured_ns) / 1e6}
    if state.voice.speech is not None:
        since_ms["sound"] = (now_ns - state.voice.speech.sure_ns) / 1e6
    return since_ms
