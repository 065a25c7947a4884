"""A visitor's own resting face, learnt without an operator.

Measured weights are linear and open at both ends: somebody with narrow eyes measures as half a
blink, somebody with a long chin as a jaw ajar. The first moments of a visit say which weights
are that person's zero.
"""

from dataclasses import dataclass

import numpy as np

from appliance.values import ACQUIRING_NS, Float32

# Nobody rests with a weight above the one: who arrives laughing keeps some of the laugh. Below
# zero there is more room: wide eyes measure as far less than no blink.
_HIGHEST, _LOWEST = np.float32(0.65), np.float32(-1.0)
_DRIFT_PER_S = 0.01  # how fast the zero follows later, and only
_DRIFT_WITHIN = np.float32(0.12)  # while the face is this near to rest
_FEWEST_SAMPLES = 3
_STILL = np.float32(0.03)  # a face at rest is never quite still: so much above its rest is rest


@dataclass(frozen=True, slots=True)
class Neutral:
    """What is known of one visitor's rest: weights at rest, and the samples while learning."""

    since_ns: int
    at_ns: int
    rest: Float32
    samples: tuple[Float32, ...] = ()


def meet(weights: Float32, at_ns: int) -> Neutral:
    """Begin with a new visitor, of whom nothing is known yet."""
    return Neutral(at_ns, at_ns, np.zeros_like(weights), (weights,))


def learn(neutral: Neutral, weights: Float32, at_ns: int) -> Neutral:
    """Take one more measurement into account.

    For the first second the rest is the median of all samples; later it drifts after weights
    that stay near it, so that a chair that sinks or a light that changes is forgotten.
    """
    if at_ns - neutral.since_ns <= ACQUIRING_NS:
        samples = (*neutral.samples, weights)
        rest = np.median(np.stack(samples), axis=0) if len(samples) >= _FEWEST_SAMPLES else neutral.rest
        return Neutral(neutral.since_ns, at_ns, np.clip(rest, _LOWEST, _HIGHEST).astype(np.float32), samples)
    gap = weights - neutral.rest
    step = np.float32(_DRIFT_PER_S * min((at_ns - neutral.at_ns) / 1e9, 1.0))
    rest = neutral.rest + np.where(np.abs(gap) < _DRIFT_WITHIN, gap * step, np.float32(0))
    return Neutral(neutral.since_ns, at_ns, rest.astype(np.float32))


def calibrate(weights: Float32, neutral: Neutral) -> Float32:
    """Bring measured weights to 0..1 where 0 is this person's rest and 1 stays 1."""
    rest = neutral.rest + _STILL
    calibrated: Float32 = np.clip((weights - rest) / (1 - rest), 0, 1).astype(np.float32)
    return calibrated
