"""One mouth from two: what the camera sees of it and what the voice says of it. Pure functions of values.

Where the mouth is seen, the camera leads, and the voice adds what pictures miss: lips that meet for a
twentieth of a second, and rounding. Where it is not (nobody is found, the head is turned away, something
is held before it), the voice leads while it speaks. A silent mouth is the camera's whatever it does:
it chews, it laughs.

The landmark network is as sure of a face with a hand before its mouth as of any other. But the jaw
of such a face reads as shut and dead still, as a speaker's never does. So a mouth counts as covered
when it was seen to go with the voice and then, while the same voice speaks on without a pause, is
still. A visitor who listens to somebody else was silent first; and who arrives covered is never taken
to be speaking.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import asin, atan2, degrees
from typing import TypeVar

import numpy as np

from appliance.avatar import alignment
from appliance.avatar.alignment import Course
from appliance.avatar.visemes import JAW_OPEN, MOUTH_CLOSE, ROUNDED, SPOKEN, articulate, close, seal_of
from appliance.face.headpose import rotation_matrix
from appliance.values import Float32, HeadPose, Speech, TrackingState, Voice

# A face turned so far is seen well, and one so much farther no mouth can be read from, degrees.
_TURNED_DEG, _AWAY_DEG = 30.0, 50.0
_NODDED_DEG, _DOWN_DEG = 25.0, 40.0
_CLEAR, _UNCLEAR = 0.8, 0.4  # the landmark network's presence

_TAKE_S, _GIVE_S = 0.08, 0.15  # for the voice to take the whole mouth, and to give it back
_LONGEST_STEP_S = 0.1

_LOOK_BACK_S = 0.25
_HEARD_BACK_S = 0.15  # shorter: what is heard is known later, and a mouth that has just finished is still, too
_MOVES = 0.05  # in so long the jaw of who speaks moves at least so much, as it is read, before all smoothing,
_STILL = 0.012  # and one that is covered no more than this (behind a hand or a mask painted on: 0.006),
_SAYS, _SAYS_WIDE = 0.15, 0.3  # while the voice says that it does, or for a covered one that it opens wide,
_DOUBT_S = 0.1  # for so long
_DONE_NS = 3_000_000_000  # after so long a silence a covered mouth is looked at anew

_STAY_NS = 2_000_000_000  # nobody is seen any more, but the voice goes on: pauses within speech are shorter

_SAME_S = 3.0  # over so long a voice must go with a mouth to be that mouth's
_OTHER, _OWN = 0.0, 0.4  # agreement: somebody else's voice, its own

_ESTIMATE_NS = 1_000_000_000
_TOWARDS = 0.25  # of the way to a new estimate

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Bond:
    """What is known of one mouth and the voice that may be its own."""

    at_ns: int = 0
    share: float = 0.0  # of the mouth that is the voice's, 0..1
    there_ns: int | None = None  # when somebody was last seen here, or heard who was seen before
    spoke_ns: int | None = None  # when the voice was last this mouth's
    covered: bool = False
    matched: bool = False  # since the voice began to speak, the mouth moved with it
    doubt_s: float = 0.0  # for how long it has been still since
    own: float = 1.0  # how far the voice is taken for this mouth's, 0..1
    delay_s: float = 0.0  # by which the voice's stamps are later than the pictures', as far as is known
    estimated_ns: int = 0
    course: Course = field(default_factory=Course)


@dataclass(frozen=True, slots=True)
class Sight:
    """How one face was seen in one picture."""

    state: TrackingState
    at_ns: int
    confidence: float = 0.0
    head: HeadPose | None = None  # None where no face was
    jaw: float = 0.0  # how far it was open, as it was read


def fuse(
    bond: Bond, shapes: Float32, sight: Sight, voice: Voice | None, speaks: bool = True, align: bool = True
) -> tuple[Float32, Bond]:
    """Join the 52 shapes that the camera, or an idle avatar, has with what a voice says; as many come back.

    ``speaks``: whether the voice may be this mouth's at all. ``align``: whether to find out how late it is.
    """
    step_s = min(max((sight.at_ns - bond.at_ns) / 1e9, 0.0), _LONGEST_STEP_S) if bond.at_ns else 0.0
    bond = replace(bond, at_ns=sight.at_ns, there_ns=sight.at_ns if sight.head else bond.there_ns)
    if voice is None or voice.speech is None:
        return shapes, replace(bond, share=max(bond.share - step_s / _GIVE_S, 0.0))
    speaks = speaks and voice.active and may_speak(sight, bond.there_ns)
    moment_ns = sight.at_ns + round(bond.delay_s * 1e9)
    spoken = articulate(voice.speech, min(moment_ns, voice.speech.sure_ns))
    guessed = articulate(voice.speech, moment_ns)  # nearer to the picture's moment: a late closure is worse than none
    bond = _watched(bond, sight, voice.speech, speaks)
    bond = _doubted(bond, sight, speaks, step_s)
    bond = _aligned(bond, sight.at_ns) if align else bond
    trust = 0.0 if bond.covered else trusted(sight)
    share = shared(bond.share, 1.0 - trust if speaks else 0.0, step_s)
    if speaks:
        bond = replace(bond, spoke_ns=sight.at_ns, there_ns=sight.at_ns)
    bond = replace(bond, share=share)
    return joined(shapes, spoken, guessed, share, bond.own if speaks else 0.0), bond


def anew(bond: Bond) -> Bond:
    """What is left of a bond when its visitor goes or another comes: who speaks on is heard on, and clocks stay."""
    kept = Bond(bond.at_ns, bond.share, bond.there_ns, bond.spoke_ns)
    return replace(kept, delay_s=bond.delay_s, estimated_ns=bond.estimated_ns)


def may_speak(sight: Sight, there_ns: int | None) -> bool:
    """Whether a voice may be this avatar's: somebody is seen, was a moment ago, or has not stopped speaking since.

    A voice in an empty booth is nobody's here. A microphone without a camera is always its own.
    """
    if sight.state is TrackingState.VOICE or sight.head is not None:
        return True
    return there_ns is not None and sight.at_ns - there_ns <= _STAY_NS


def liveliest(bonds: Mapping[P, Bond]) -> P:
    """Whose mouth of several moved most of late: only one of those who share a microphone speaks at a time."""
    return max(bonds, key=lambda place: float(np.abs(np.diff(bonds[place].course.last(_SAME_S)[0])).sum()))


def trusted(sight: Sight) -> float:
    """How well a mouth can be seen, 0..1: by how sure the face is and how far it is turned from the camera."""
    if sight.head is None:
        return 0.0
    turned_deg, nodded_deg = _turned_deg(sight.head)
    return min(
        _fading(turned_deg, _TURNED_DEG, _AWAY_DEG),
        _fading(nodded_deg, _NODDED_DEG, _DOWN_DEG),
        _fading(-sight.confidence, -_CLEAR, -_UNCLEAR),
    )


def shared(share: float, goal: float, step_s: float) -> float:
    """The voice's share of the mouth a step later: it takes the mouth within a tenth of a second."""
    return min(share + step_s / _TAKE_S, goal) if goal > share else max(share - step_s / _GIVE_S, goal)


def joined(seen: Float32, spoken: Float32, guessed: Float32, share: float, own: float) -> Float32:
    """One mouth: the voice's as far as ``share`` goes; closures and rounding that it guesses as far as ``own`` goes."""
    if share <= 0 and own <= 0:
        return seen
    mouth = seen.copy()
    mouth[SPOKEN] += np.float32(share) * (spoken - seen)[SPOKEN]
    sharper = np.float32(own * (1 - share))
    mouth[ROUNDED] += sharper * np.maximum(guessed - mouth, 0)[ROUNDED]
    return close(mouth, float(sharper) * seal_of(guessed))


def _watched(bond: Bond, sight: Sight, speech: Speech, speaks: bool) -> Bond:
    """Remember how far the mouth was open, as seen and as heard."""
    if sight.head is None:
        return bond
    heard = articulate(speech, speech.sure_ns)
    counts = speaks and not bond.covered and trusted(sight) > 0.5
    apart = max(float(heard[JAW_OPEN] - heard[MOUTH_CLOSE]), 0.0)
    course = bond.course.then(sight.at_ns, sight.jaw, speech.sure_ns, apart, counts)
    return replace(bond, course=course)


def _doubted(bond: Bond, sight: Sight, speaks: bool, step_s: float) -> Bond:
    """Notice that something is before the mouth, and that it is gone."""
    if not speaks:
        silent = bond.spoke_ns is None or sight.at_ns - bond.spoke_ns > _DONE_NS
        return replace(bond, matched=False, doubt_s=0.0, covered=bond.covered and not silent)
    if sight.head is None:
        return bond
    moves = float(np.ptp(bond.course.last(_LOOK_BACK_S)[0]))
    says = float(np.ptp(bond.course.last(_HEARD_BACK_S)[1]))
    if moves > _MOVES:
        return replace(bond, matched=bond.matched or says > _SAYS, doubt_s=0.0, covered=False)
    if moves > _STILL or says < _SAYS_WIDE:
        return bond
    doubt_s = bond.doubt_s + step_s
    return replace(bond, doubt_s=doubt_s, covered=bond.covered or (bond.matched and doubt_s >= _DOUBT_S))


def _aligned(bond: Bond, at_ns: int) -> Bond:
    """Once a second: how much the sound lags behind the pictures, and whether it is this mouth's at all."""
    if at_ns - bond.estimated_ns < _ESTIMATE_NS:
        return bond
    found_s = alignment.estimate(bond.course)
    delay_s = bond.delay_s if found_s is None else bond.delay_s + _TOWARDS * (found_s - bond.delay_s)
    return replace(bond, estimated_ns=at_ns, delay_s=delay_s, own=_owned(bond.own, bond.course, delay_s))


def _owned(own: float, course: Course, delay_s: float) -> float:
    """How far a voice is a mouth's own; unchanged where little was said or the mouth was not seen."""
    agreed = alignment.agreement(course, _SAME_S, delay_s)
    return own if agreed is None else 1 - _fading(agreed, _OTHER, _OWN)


def _turned_deg(head: HeadPose) -> tuple[float, float]:
    """How far a face is turned and nodded away from the camera, each at least 0."""
    x, y, z = (-np.asarray(head.position_m) @ rotation_matrix(head.rotation)).tolist()
    away_m = max((x * x + y * y + z * z) ** 0.5, 1e-6)
    return abs(degrees(atan2(x, z))), abs(degrees(asin(min(max(y / away_m, -1), 1))))


def _fading(value: float, whole: float, none: float) -> float:
    """1 up to ``whole``, 0 from ``none`` on, even between."""
    return min(max((none - value) / (none - whole), 0.0), 1.0)
