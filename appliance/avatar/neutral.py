"""A visitor's own resting face and straight look, learnt without an operator.

Somebody with narrow eyes measures as half a blink, somebody with a long chin as a jaw ajar. The
first seconds of a visit say which weights are that person's zero. A smile, a word, a sneer only
add to a face at rest, so rest is near the low end of what was seen, not in its middle: who comes
laughing is known a moment after the laugh. Lids and brows go both ways from rest. Gaze is
measured with a few degrees of error that belong to the person and the place; a visitor who has
just come looks at the screen most of the time, so the middle of that is straight ahead.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from appliance.avatar.channels import BLENDSHAPES
from appliance.values import Float32, Gaze

_SHAPES, _GAZE = slice(0, 52), slice(52, 56)
_UPPER = np.array([name.startswith(("eye", "brow")) for name in BLENDSHAPES])  # these go both ways from rest
_LOWER = np.concatenate([~_UPPER, np.zeros(4, bool)])  # these only add to it

_QUICK_S = 1.0  # so long the rest is at once what was seen so far says
_LEARNING_S = 10.0  # so long it follows that
_PACE_S = 0.3  # at this pace, so that nothing jumps
_LONGEST_STEP_S = 0.1  # one measurement stands for no more time than this, and the first for this
_DRIFT_PER_S = 0.01  # how fast the rest drifts later, and only
_DRIFT_WITHIN = np.float32(0.12)  # while the face is this near to it;
_SINK_PER_S = 0.05  # but what only adds to rest shows it from above, so down is the faster way,
_FALL_PER_S = 0.2  # and from any height: who laughed all along is known in the end
_STILL = np.float32(0.03)  # a face at rest is never quite still: so much above its rest is rest

_GAZE_SPAN_DEG = 30.0
_FARTHEST = 12 / _GAZE_SPAN_DEG  # who looks farther aside than this does look aside
_BINS = 128  # from -1 to 1
# For what part of the time a weight is below rest; with blinks and glances down, or words and smiles, above.
_LOW_PART = np.concatenate([np.where(_UPPER, 0.35, 0.25), np.full(4, 0.5)]).astype(np.float32)
# Nobody rests higher. Of eleven people no mouth rested above 0.3: more than that is believed in time, for there are
# visitors who smile all along. Below zero there is more room: wide eyes measure as far less than no blink.
_HIGHEST = np.concatenate([np.full(52, 0.65), np.full(4, _FARTHEST)]).astype(np.float32)
_DOUBTED = np.concatenate([np.where(_UPPER, 0, 0.3), np.zeros(4)]).astype(np.float32)
_BELIEVED_S = 6.0
_LOWEST = np.concatenate([np.full(52, -1), np.full(4, -_FARTHEST)]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Neutral:
    """What is known of one visitor's rest."""

    at_ns: int
    rest: Float32 = field(default_factory=lambda: np.zeros(56, np.float32))  # as ``measure`` gives it
    learnt_s: float = 0.0  # how long the face was seen well
    seen_s: Float32 | None = None  # 56 x bins: for how long each weight was seen; while learning


def measure(weights: Float32, gaze: Gaze) -> Float32:
    """One measurement: 52 weights, then yaw and pitch of the left and the right eye in units of 30 degrees."""
    angles = np.asarray((*gaze.left_deg, *gaze.right_deg), np.float32)
    return np.concatenate([weights, angles / np.float32(_GAZE_SPAN_DEG)])


def meet(at_ns: int) -> Neutral:
    """Begin with a new visitor, of whom nothing is known yet."""
    return Neutral(at_ns - round(_LONGEST_STEP_S * 1e9))


def learn(neutral: Neutral, measured: Float32, at_ns: int, well: bool) -> Neutral:
    """Take one more measurement into account, of a face that was or was not ``bones.seen_well``.

    For ten seconds of a well seen face the rest follows a low quantile of the time spent at each
    weight, so that a laugh on arrival is unlearnt when a third as much time without it has
    passed. Later it drifts after weights that stay near it, so that a chair that sinks or a
    light that changes is forgotten. A face not seen well teaches nothing, but for one that was
    never seen better, as by a camera at the floor: until it is.
    """
    step_s = min(max((at_ns - neutral.at_ns) / 1e9, 0.0), _LONGEST_STEP_S)
    if step_s == 0 or (neutral.learnt_s > 0 and not well):
        return replace(neutral, at_ns=at_ns)
    if neutral.learnt_s >= _LEARNING_S:
        return Neutral(at_ns, _drifted(neutral.rest, measured, step_s), neutral.learnt_s)
    first = well and neutral.learnt_s == 0
    seen_s = _seen(None if first else neutral.seen_s, measured, step_s)
    highest = _HIGHEST - _DOUBTED * np.float32(max(1 - neutral.learnt_s / _BELIEVED_S, 0.0))
    goal = np.clip(_quantiles(seen_s), _LOWEST, highest)
    share = 1.0 if neutral.learnt_s < _QUICK_S else step_s / (_PACE_S + step_s)
    rest = (neutral.rest + np.float32(share) * (goal - neutral.rest)).astype(np.float32)
    return Neutral(at_ns, rest, neutral.learnt_s + well * step_s, seen_s)


def calibrate(measured: Float32, neutral: Neutral) -> tuple[Float32, Gaze]:
    """Bring measured weights to 0..1 where 0 is this person's rest and 1 stays 1, and gaze to straight ahead."""
    rest = neutral.rest[_SHAPES] + _STILL
    weights: Float32 = np.clip((measured[_SHAPES] - rest) / (1 - rest), 0, 1).astype(np.float32)
    angles_deg = (measured - neutral.rest)[_GAZE] * _GAZE_SPAN_DEG
    left_yaw, left_pitch, right_yaw, right_pitch = (float(angle) for angle in angles_deg)
    return weights, Gaze((left_yaw, left_pitch), (right_yaw, right_pitch))


def _seen(before_s: Float32 | None, measured: Float32, step_s: float) -> Float32:
    seen_s = np.zeros((len(measured), _BINS), np.float32) if before_s is None else before_s.copy()
    bins = np.clip((measured + 1) * (_BINS / 2), 0, _BINS - 1).astype(np.intp)
    seen_s[np.arange(len(measured)), bins] += step_s
    return seen_s


def _quantiles(seen_s: Float32) -> Float32:
    """The weight below which each channel was for its low part of the time, between bins by proportion."""
    total_s = np.cumsum(seen_s, axis=1)
    wanted_s = _LOW_PART * total_s[:, -1]
    rows = np.arange(len(seen_s))
    bins = np.argmax(total_s >= wanted_s[:, None], axis=1)
    inside_s = seen_s[rows, bins]
    part = 1 - (total_s[rows, bins] - wanted_s) / np.maximum(inside_s, np.float32(1e-9))
    quantiles: Float32 = ((bins + np.clip(part, 0, 1)) * (2 / _BINS) - 1).astype(np.float32)
    return quantiles


def _drifted(rest: Float32, measured: Float32, step_s: float) -> Float32:
    gap = measured - rest
    near = np.abs(gap) < _DRIFT_WITHIN
    near[_GAZE] = False  # where people look once they know the booth is no rest
    lower = _LOWER & (gap < 0)
    drift = gap * np.where(lower, np.float32(_SINK_PER_S), np.float32(_DRIFT_PER_S))
    fall = np.where(lower, np.minimum(np.maximum(measured, 0) - rest, 0), 0) * np.float32(_FALL_PER_S)
    drifted: Float32 = (rest + np.where(near, drift, fall) * np.float32(step_s)).astype(np.float32)
    return drifted
