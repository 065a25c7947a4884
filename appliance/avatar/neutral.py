"""A visitor's own resting face and straight look, learnt without an operator.

Measured weights are linear and open at both ends: somebody with narrow eyes measures as half a
blink, somebody with a long chin as a jaw ajar. The first moments of a visit say which weights
are that person's zero. Gaze is measured with a few degrees of error that belong to the person and the
place; a visitor who has just come looks at the screen, so that gaze becomes straight ahead.
"""

from dataclasses import dataclass

import numpy as np

from appliance.values import ACQUIRING_NS, Float32, Gaze

_SHAPES, _GAZE = slice(0, 52), slice(52, 56)

# Nobody rests with a weight above the one: who arrives laughing keeps some of the laugh. Below
# zero there is more room: wide eyes measure as far less than no blink.
_HIGHEST, _LOWEST = np.float32(0.65), np.float32(-1.0)
_FARTHEST_DEG = np.float32(12)  # who looks farther aside than this does look aside
_DRIFT_PER_S = 0.01  # how fast the zero follows later, and only
_DRIFT_WITHIN = np.float32(0.12)  # while the face is this near to rest
_STILL = np.float32(0.03)  # a face at rest is never quite still: so much above its rest is rest


@dataclass(frozen=True, slots=True)
class Neutral:
    """What is known of one visitor's rest: weights and gaze at rest, and the samples while learning."""

    since_ns: int
    at_ns: int
    rest: Float32  # 52 weights, then yaw and pitch of the left and the right eye in degrees
    samples: tuple[Float32, ...] = ()


def measure(weights: Float32, gaze: Gaze) -> Float32:
    """One measurement: 52 weights, then yaw and pitch of the left and the right eye in degrees."""
    return np.concatenate([weights, np.asarray((*gaze.left_deg, *gaze.right_deg), np.float32)])


def meet(measured: Float32, at_ns: int) -> Neutral:
    """Begin with a new visitor: as far as anybody knows, this is the resting face."""
    return Neutral(at_ns, at_ns, _limited(measured), (measured,))


def learn(neutral: Neutral, measured: Float32, at_ns: int) -> Neutral:
    """Take one more measurement into account.

    For the first second the rest is the median of all samples; later it drifts after weights
    that stay near it, so that a chair that sinks or a light that changes is forgotten.
    """
    if at_ns - neutral.since_ns <= ACQUIRING_NS:
        samples = (*neutral.samples, measured)
        return Neutral(neutral.since_ns, at_ns, _limited(np.median(np.stack(samples), axis=0)), samples)
    gap = measured - neutral.rest
    step = np.float32(_DRIFT_PER_S * min((at_ns - neutral.at_ns) / 1e9, 1.0))
    near = np.abs(gap) < _DRIFT_WITHIN
    near[_GAZE] = False  # where people look once they know the booth is no rest
    rest = neutral.rest + np.where(near, gap * step, np.float32(0))
    return Neutral(neutral.since_ns, at_ns, rest.astype(np.float32))


def calibrate(measured: Float32, neutral: Neutral) -> tuple[Float32, Gaze]:
    """Bring measured weights to 0..1 where 0 is this person's rest and 1 stays 1, and gaze to straight ahead."""
    rest = neutral.rest[_SHAPES] + _STILL
    weights: Float32 = np.clip((measured[_SHAPES] - rest) / (1 - rest), 0, 1).astype(np.float32)
    left_yaw, left_pitch, right_yaw, right_pitch = (float(angle) for angle in (measured - neutral.rest)[_GAZE])
    return weights, Gaze((left_yaw, left_pitch), (right_yaw, right_pitch))


def _limited(rest: Float32) -> Float32:
    limited = rest.astype(np.float32)
    limited[_SHAPES] = np.clip(rest[_SHAPES], _LOWEST, _HIGHEST)
    limited[_GAZE] = np.clip(rest[_GAZE], -_FARTHEST_DEG, _FARTHEST_DEG)
    return limited
