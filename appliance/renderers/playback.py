"""From frames that come when the network brings them to a smooth picture at any display's rate.

Frames carry the moment they were captured on the device's clock; they arrive some time later, now more, now
less. What is shown at one moment of ours is what was captured a fixed time before it, mixed of the two frames
around that moment. The fixed time is as short as the network lets it be: how late the later frames come after
the earliest, and one frame more, so that there are two to mix. Nothing is guessed beyond the newest frame.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from appliance.publish.wire import WireFrame
from appliance.values import Gaze, HeadPose, Point

STALE_NS = 1_000_000_000
"""No frame for so long: the device or the network is away. Frames of the slowest camera come each second."""
RELAX_NS = 500_000_000
"""How long a face takes to come to rest once it is stale, as on the device when it is lost."""
MOST_DELAY_NS = 150_000_000
"""Who comes later than that is not waited for."""

_KEPT = 32
_OBSERVED = 128
_PATIENT_SHARE = 0.9
_RESTART_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Shown:
    """What to draw at one moment."""

    frame: WireFrame
    stale: bool  # no frame came for ``STALE_NS``; the face comes to rest by itself
    age_ns: int  # since the last frame came


class Playback:
    """The frames of one avatar, put as they come, shown at any rate. Belongs to one thread at a time.

    ``put`` and ``at`` take moments of one clock of the reader's, ``time.monotonic_ns()`` as a rule.
    """

    def __init__(self, delay_ns: int | None = None) -> None:
        """``delay_ns`` is the fixed time; ``None`` lets it follow the network, 0 shows the newest frame at once."""
        self._fixed_ns = delay_ns
        self._frames: deque[WireFrame] = deque(maxlen=_KEPT)
        self._lateness_ns: deque[int] = deque(maxlen=_OBSERVED)
        self._earliest_ns = 0
        self._delay_ns = delay_ns or 0
        self._arrived_ns = 0
        self._shown_ns = 0

    @property
    def newest(self) -> WireFrame | None:
        """The last frame that came; ``None`` before the first."""
        return self._frames[-1] if self._frames else None

    @property
    def delay_ns(self) -> int:
        """How much later than the earliest possible moment frames are shown now."""
        return self._delay_ns

    def put(self, frame: WireFrame, arrived_ns: int) -> bool:
        """Take one frame; ``False`` if it is older than the last, which drops it."""
        newest, lateness_ns = self.newest, arrived_ns - frame.captured_ns
        if newest is not None and _is_restart(frame, newest, lateness_ns - self._earliest_ns):
            self._forget()
        elif newest is not None and frame.captured_ns <= newest.captured_ns:
            return False
        self._frames.append(frame)
        self._lateness_ns.append(lateness_ns)
        self._earliest_ns = min(self._lateness_ns)
        if self._fixed_ns is None:
            self._delay_ns = self._fitting_delay_ns()
        self._arrived_ns = arrived_ns
        return True

    def at(self, now_ns: int) -> Shown | None:
        """Return what to draw at a moment, later ones after earlier ones; ``None`` before the first frame."""
        if not self._frames:
            return None
        age_ns = max(0, now_ns - self._arrived_ns)
        if age_ns > STALE_NS:
            return Shown(at_rest(self._frames[-1], (age_ns - STALE_NS) / RELAX_NS), True, age_ns)
        if self._fixed_ns == 0:
            return Shown(self._frames[-1], False, age_ns)
        self._shown_ns = max(self._shown_ns, now_ns - self._earliest_ns - self._delay_ns)
        return Shown(self._mixed(self._shown_ns), False, age_ns)

    def _mixed(self, captured_ns: int) -> WireFrame:
        later = next((i for i, frame in enumerate(self._frames) if frame.captured_ns > captured_ns), len(self._frames))
        if later == 0 or later == len(self._frames):
            return self._frames[max(0, later - 1)]
        before, after = self._frames[later - 1], self._frames[later]
        share = (captured_ns - before.captured_ns) / (after.captured_ns - before.captured_ns)
        return mix(before, after, share)

    def _fitting_delay_ns(self) -> int:
        """One frame, and as late as nine of ten frames come after the earliest."""
        captured_ns = [frame.captured_ns for frame in self._frames]
        interval_ns = float(np.median(np.diff(captured_ns))) if len(captured_ns) > 1 else 0.0
        late_ns = float(np.quantile(self._lateness_ns, _PATIENT_SHARE)) - self._earliest_ns
        return int(min(interval_ns + late_ns, interval_ns + MOST_DELAY_NS))

    def _forget(self) -> None:
        self._frames.clear()
        self._lateness_ns.clear()
        self._shown_ns = 0


def mix(before: WireFrame, after: WireFrame, share: float) -> WireFrame:
    """Return a frame between two: ``share`` 0 is the first, 1 the second. Another person is not mixed with the last."""
    if before.session != after.session:
        return before if share < 1 else after
    mine = 1.0 - share
    return replace(
        before,
        captured_ns=round(before.captured_ns + share * (after.captured_ns - before.captured_ns)),
        captured_utc_ns=round(before.captured_utc_ns + share * (after.captured_utc_ns - before.captured_utc_ns)),
        confidence=mine * before.confidence + share * after.confidence,
        head=_mixed_pose(before.head, after.head, share),
        gaze=Gaze(
            _point(before.gaze.left_deg, after.gaze.left_deg, share),
            _point(before.gaze.right_deg, after.gaze.right_deg, share),
        ),
        blendshapes=before.blendshapes + np.float32(share) * (after.blendshapes - before.blendshapes),
        visemes=before.visemes + np.float32(share) * (after.visemes - before.visemes),
        mood=before.mood + np.float32(share) * (after.mood - before.mood),
        voice_level=mine * before.voice_level + share * after.voice_level,
        voice_arousal=mine * before.voice_arousal + share * after.voice_arousal,
    )


def at_rest(frame: WireFrame, share: float) -> WireFrame:
    """Return a frame on its way to rest: ``share`` 0 is the frame, 1 a face that does nothing, where it was."""
    share = min(1.0, max(0.0, share))
    still = HeadPose(position_m=frame.head.position_m)
    rest = replace(
        frame,
        confidence=0.0,
        head=still,
        gaze=Gaze(),
        blendshapes=np.zeros_like(frame.blendshapes),
        visemes=np.eye(1, len(frame.visemes), dtype=np.float32)[0],
        mood=np.eye(1, len(frame.mood), dtype=np.float32)[0],
        voice_level=0.0,
    )
    return replace(mix(frame, rest, share), voice_active=frame.voice_active and share < 1)


def _is_restart(frame: WireFrame, newest: WireFrame, later_ns: int) -> bool:
    """Whether the device's clock began anew, or ours did: nothing before can be compared with this."""
    return frame.captured_ns < newest.captured_ns - _RESTART_NS or abs(later_ns) > _RESTART_NS


def _mixed_pose(before: HeadPose, after: HeadPose, share: float) -> HeadPose:
    """Straight in position; in rotation along the chord, which at angles between two frames is the arc."""
    a, b = np.array(before.rotation), np.array(after.rotation)
    turn = (1 - share) * a + share * (b if a @ b >= 0 else -b)
    length = float(np.linalg.norm(turn))
    x, y, z, w = (turn / length).tolist() if length > 0 else before.rotation
    return HeadPose((x, y, z, w), _triple(before.position_m, after.position_m, share))


def _point(before: Point, after: Point, share: float) -> Point:
    return (before[0] + share * (after[0] - before[0]), before[1] + share * (after[1] - before[1]))


def _triple(before: Sequence[float], after: Sequence[float], share: float) -> tuple[float, float, float]:
    x, y, z = (one + share * (other - one) for one, other in zip(before, after, strict=True))
    return (x, y, z)
