"""One mouth from two: what the camera sees of it and what the voice says of it. Pure functions of values.

Where the mouth is seen, the camera leads, and the voice adds what pictures miss: lips that meet for a
twentieth of a second, and rounding. Where it is not (nobody is found, the head is turned away, something
is held before it), the voice leads while it speaks. A silent mouth is the camera's whatever it does:
it chews, it laughs.

``fuse`` joins the two for one picture. What it must know for that is found out elsewhere: ``sight`` says how well
the mouth was seen, ``cover`` whether something is before it, ``alignment`` how late the sound is and whether
it goes with this mouth at all. A ``Bond`` keeps what was found from one picture to the next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from appliance.avatar import alignment
from appliance.avatar.alignment import Course
from appliance.avatar.cover import Cover, while_silent, while_speaking
from appliance.avatar.sight import Sight, fading, may_speak, trusted
from appliance.avatar.visemes import JAW_OPEN, MOUTH_CLOSE, ROUNDED, SPOKEN, articulate, close, seal_of
from appliance.values import Float32, Voice

_TAKE_S, _GIVE_S = 0.08, 0.15  # for the voice to take the whole mouth, and to give it back
_LONGEST_STEP_S = 0.1
_WELL_SEEN = 0.5  # less trust than this, and what is seen of a mouth says nothing of whose voice it is

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
    cover: Cover = field(default_factory=Cover)
    own: float = 1.0  # how far the voice is taken for this mouth's, 0..1
    delay_s: float = 0.0  # by which the voice's stamps are later than the pictures', as far as is known
    estimated_ns: int = 0
    course: Course = field(default_factory=Course)


def fuse(
    bond: Bond, shapes: Float32, sight: Sight, voice: Voice | None, speaks: bool = True, align: bool = True
) -> tuple[Float32, Bond]:
    """Join the 52 shapes that the camera, or an idle avatar, has with what a voice says; as many come back.

    ``speaks``: whether the voice may be this mouth's at all. ``align``: whether to find out how late it is.
    """
    step_s = min(max((sight.at_ns - bond.at_ns) / 1e9, 0.0), _LONGEST_STEP_S) if bond.at_ns else 0.0
    moment_ns = sight.at_ns + round(bond.delay_s * 1e9)  # of the sound that belongs to this picture
    if voice is None or voice.speech is None:
        return shapes, replace(_met(bond, sight, False), share=shared(bond.share, 0.0, step_s))
    speaks = speaks and voice.active and may_speak(sight, bond.there_ns)
    bond = _met(bond, sight, speaks)
    heard, trust = articulate(voice.speech, voice.speech.sure_ns), trusted(sight)
    bond = _watched(bond, sight, heard, voice.speech.sure_ns, speaks and trust > _WELL_SEEN)
    bond = replace(bond, cover=_looked_at(bond, sight, speaks, step_s))
    bond = _aligned(bond, sight.at_ns) if align else bond
    goal = 1.0 - (0.0 if bond.cover.covered else trust) if speaks else 0.0
    bond, own = replace(bond, share=shared(bond.share, goal, step_s)), bond.own if speaks else 0.0
    if bond.share <= 0 and own <= 0:
        return shapes, bond
    guessed = articulate(voice.speech, moment_ns)  # nearer to the picture's moment: a late closure is worse than none
    spoken = heard if moment_ns >= voice.speech.sure_ns else guessed
    return joined(shapes, spoken, guessed, bond.share, own), bond


def anew(bond: Bond) -> Bond:
    """What is left of a bond when its visitor goes or another comes: who speaks on is heard on, and clocks stay."""
    return replace(bond, cover=Cover(), own=1.0, course=Course())


def liveliest(bonds: Mapping[P, Bond]) -> P:
    """Whose mouth of several moved most of late: only one of those who share a microphone speaks at a time."""
    return max(bonds, key=lambda place: float(np.abs(np.diff(bonds[place].course.last(_SAME_S)[0])).sum()))


def shared(share: float, goal: float, step_s: float) -> float:
    """The voice's share of the mouth a step later: it takes the mouth within a tenth of a second."""
    return min(share + step_s / _TAKE_S, goal) if goal > share else max(share - step_s / _GIVE_S, goal)


def joined(seen: Float32, spoken: Float32, guessed: Float32, share: float, own: float) -> Float32:
    """One mouth: the voice's as far as ``share`` goes; closures and rounding that it guesses as far as ``own`` goes."""
    mouth = seen.copy()
    mouth[SPOKEN] += np.float32(share) * (spoken - seen)[SPOKEN]
    sharper = np.float32(own * (1 - share))
    mouth[ROUNDED] += sharper * np.maximum(guessed - mouth, 0)[ROUNDED]
    return close(mouth, float(sharper) * seal_of(guessed))


def _met(bond: Bond, sight: Sight, speaks: bool) -> Bond:
    """Note when somebody was last here, and last spoke."""
    there_ns = sight.at_ns if speaks or sight.head is not None else bond.there_ns
    return replace(bond, at_ns=sight.at_ns, there_ns=there_ns, spoke_ns=sight.at_ns if speaks else bond.spoke_ns)


def _watched(bond: Bond, sight: Sight, heard: Float32, heard_ns: int, counts: bool) -> Bond:
    """Remember how far a mouth that is seen was open, as seen and as heard."""
    if sight.head is None:
        return bond
    apart = max(float(heard[JAW_OPEN] - heard[MOUTH_CLOSE]), 0.0)
    counts = counts and not bond.cover.covered
    return replace(bond, course=bond.course.then(sight.at_ns, sight.jaw, heard_ns, apart, counts))


def _looked_at(bond: Bond, sight: Sight, speaks: bool, step_s: float) -> Cover:
    """Whether something is before the mouth, one picture later; nothing new is known of one that is not seen."""
    if not speaks:
        return while_silent(bond.cover, None if bond.spoke_ns is None else sight.at_ns - bond.spoke_ns)
    return bond.cover if sight.head is None else while_speaking(bond.cover, bond.course, step_s)


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
    return own if agreed is None else 1 - fading(agreed, _OTHER, _OWN)
