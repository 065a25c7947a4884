"""Whether something is held before a mouth. Pure functions of values.

The landmark network is as sure of a face with a hand before its mouth as of any other. But the jaw
of such a face reads as shut and dead still, as a speaker's never does. So a mouth counts as covered
when it was seen to go with the voice and then, while the same voice speaks on without a pause, is
still. A visitor who listens to somebody else was silent first; and who arrives covered is never taken
to be speaking.
"""

from dataclasses import dataclass

import numpy as np

from appliance.avatar.alignment import Course

_LOOK_BACK_S = 0.25
_HEARD_BACK_S = 0.15  # shorter: what is heard is known later, and a mouth that has just finished is still, too
_MOVES = 0.05  # in so long the jaw of who speaks moves at least so much, as it is read, before all smoothing,
_STILL = 0.012  # and one that is covered no more than this (behind a hand or a mask painted on: 0.006),
_SAYS, _SAYS_WIDE = 0.15, 0.3  # while the voice says that it does, or for a covered one that it opens wide,
_DOUBT_S = 0.1  # for so long
_DONE_NS = 3_000_000_000  # after so long a silence a covered mouth is looked at anew


@dataclass(frozen=True, slots=True)
class Cover:
    """What is known of what may be before one mouth."""

    covered: bool = False
    matched: bool = False  # since the voice began to speak, the mouth moved with it
    doubt_s: float = 0.0  # for how long it has been still since


def while_silent(cover: Cover, silent_ns: int | None) -> Cover:
    """What is left of it while nobody speaks, for ``silent_ns`` by now; ``None``: nobody ever did."""
    return Cover(cover.covered and silent_ns is not None and silent_ns <= _DONE_NS)


def while_speaking(cover: Cover, course: Course, step_s: float) -> Cover:
    """Notice that something is before a mouth that speaks, or that it is gone, a picture and ``step_s`` later."""
    moves = float(np.ptp(course.last(_LOOK_BACK_S)[0]))
    says = float(np.ptp(course.last(_HEARD_BACK_S)[1]))
    if moves > _MOVES:
        return Cover(matched=cover.matched or says > _SAYS)
    if moves > _STILL or says < _SAYS_WIDE:
        return cover
    doubt_s = cover.doubt_s + step_s
    return Cover(cover.covered or (cover.matched and doubt_s >= _DOUBT_S), cover.matched, doubt_s)
