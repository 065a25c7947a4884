"""Who moves the mouth: tables of what is seen and heard; scenes of a visitor who speaks, turns, hides and laughs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from appliance.avatar.channels import BLENDSHAPES, VISEMES
from appliance.avatar.fusion import Bond, fuse, joined, shared
from appliance.avatar.sight import Sight, may_speak, trusted
from appliance.values import SPEECH_STEP_NS, Float32, HeadPose, Speech, TrackingState, Voice

MS = 1_000_000
S = 1_000_000_000
STEP_NS = 33 * MS
BEGIN_NS = 100 * S
JAW, CLOSE, PUCKER = (BLENDSHAPES.index(name) for name in ("jawOpen", "mouthClose", "mouthPucker"))
SMILE = BLENDSHAPES.index("mouthSmileLeft")
AHEAD = HeadPose()

Said = Callable[[float], str]
"""What is said at a moment, in seconds."""


def turned(yaw_deg: float = 0.0, pitch_deg: float = 0.0) -> HeadPose:
    yaw, pitch = np.radians(yaw_deg) / 2, np.radians(pitch_deg) / 2
    y, x = (0.0, np.sin(yaw), 0.0, np.cos(yaw)), (np.sin(pitch), 0.0, 0.0, np.cos(pitch))
    return HeadPose(y if yaw_deg else x)


def weights(**named: float) -> Float32:
    values = np.zeros(52, np.float32)
    for name, value in named.items():
        values[BLENDSHAPES.index(name)] = value
    return values


def voice_at(heard_ns: int, said: Said, delay_s: float = 0.0, active: bool | None = None) -> Voice:
    """What a perfect network would say of the last third of a second; active while somebody speaks or just did."""
    newest_ns = heard_ns - 40 * MS
    moments = newest_ns + SPEECH_STEP_NS * np.arange(-31, 1)
    names = [said((moment - BEGIN_NS) / 1e9 - delay_s) for moment in moments]
    visemes = np.eye(len(VISEMES), dtype=np.float32)[[VISEMES.index(name) for name in names]]
    speech = Speech(heard_ns - 60 * MS, newest_ns, visemes, np.zeros(32, np.float32))
    speaks = any(name != "sil" for name in names[-20:]) if active is None else active
    return Voice("mic0", heard_ns, speaks, 0.5, 0.5, visemes[-3], speech)


OPEN = {"aa": 0.6, "PP": 0.02, "SS": 0.08, "O": 0.4, "I": 0.25}


def babble(at_s: float) -> str:
    """Uneven syllables: an open vowel, then lips together or teeth."""
    places = np.cumsum(np.random.default_rng(3).uniform(0.07, 0.2, 400))
    part = int(np.searchsorted(places, max(at_s, 0.0)))
    return "sil" if at_s < 0 else ("aa", "PP", "I", "SS", "O", "PP")[part % 6]


def lips(at_s: float, said: Said = babble) -> float:
    """How far a jaw is open that says it: slower than the sounds."""
    near = np.arange(-0.04, 0.05, 0.01)
    return float(np.mean([OPEN.get(said(at_s + later), 0.0) for later in near]))


@dataclass(frozen=True)
class Moment:
    at_s: float
    mouth: Float32
    bond: Bond


def play(
    seconds: float,
    sight: Callable[[float], tuple[HeadPose | None, Float32]],
    said: Said = babble,
    state: Callable[[float], TrackingState] = lambda _: TrackingState.TRACKING,
    delay_s: float = 0.0,
    speaks: bool = True,
    bond: Bond | None = None,
) -> list[Moment]:
    """Every 33 ms of a scene: what is seen (a head, or nobody, and shapes), what is said, and the mouth it makes."""
    bond, moments = bond or Bond(), []
    for at_ns in range(BEGIN_NS, BEGIN_NS + round(seconds * S), STEP_NS):
        at_s = (at_ns - BEGIN_NS) / 1e9
        head, shapes = sight(at_s)
        seen = Sight(state(at_s), at_ns, 1.0 if head else 0.0, head, float(shapes[JAW]))
        mouth, bond = fuse(bond, shapes, seen, voice_at(at_ns + 5 * MS, said, delay_s), speaks)
        moments.append(Moment(at_s, mouth, bond))
    return moments


def speaking(at_s: float) -> tuple[HeadPose | None, Float32]:
    """A visitor who speaks straight into the camera."""
    return AHEAD, weights(jawOpen=lips(at_s))


def column(moments: list[Moment], index: int, since_s: float = 0.0, until_s: float = 1e9) -> Float32:
    return np.array([moment.mouth[index] for moment in moments if since_s <= moment.at_s < until_s], np.float32)


@pytest.mark.parametrize(
    ("head", "confidence", "trust"),
    [
        (AHEAD, 1.0, 1.0),
        (turned(yaw_deg=25), 1.0, 1.0),
        (turned(yaw_deg=-40), 1.0, 0.5),
        (turned(yaw_deg=55), 1.0, 0.0),
        (turned(pitch_deg=20), 1.0, 1.0),
        (turned(pitch_deg=-45), 1.0, 0.0),
        (turned(yaw_deg=160), 1.0, 0.0),
        (AHEAD, 0.6, 0.5),
        (AHEAD, 0.3, 0.0),
        (HeadPose(turned(yaw_deg=30).rotation, (0.35, 0.0, -0.6)), 1.0, 0.0),  # stands aside and looks farther aside
        (HeadPose(turned(yaw_deg=-30).rotation, (0.35, 0.0, -0.6)), 1.0, 1.0),  # stands aside and looks at the camera
        (None, 1.0, 0.0),
    ],
)
def test_how_well_a_mouth_is_seen(head: HeadPose | None, confidence: float, trust: float) -> None:
    assert trusted(Sight(TrackingState.TRACKING, 0, confidence, head)) == pytest.approx(trust, abs=0.02)


@pytest.mark.parametrize(
    ("state", "away_s", "allowed"),
    [
        (TrackingState.TRACKING, 0.0, True),
        (TrackingState.LOST, 0.5, True),
        (TrackingState.LOST, 3.0, False),
        (TrackingState.IDLE, 30.0, False),
        (TrackingState.ABSENT, None, False),
        (TrackingState.VOICE, None, True),
    ],
)
def test_whose_voice_it_may_be(state: TrackingState, away_s: float | None, allowed: bool) -> None:
    there_ns = None if away_s is None else BEGIN_NS - round(away_s * S)

    assert may_speak(Sight(state, BEGIN_NS), there_ns) is allowed


@pytest.mark.parametrize(
    ("share", "goal", "ms", "after"),
    [
        (0, 1, 33, 0.41),
        (0, 1, 100, 1),
        (0.9, 1, 33, 1),
        (1, 0, 30, 0.8),
        (1, 0, 150, 0),
        (0.5, 0.5, 33, 0.5),
        (0, 1, 0, 0),
    ],
)
def test_the_voice_takes_the_mouth_within_a_tenth_of_a_second(share: float, goal: float, ms: int, after: float) -> None:
    assert shared(share, goal, ms / 1000) == pytest.approx(after, abs=0.01)


@pytest.mark.parametrize(
    ("share", "own", "jaw", "closed", "pucker"),
    [
        (0.0, 0.0, 0.5, 0.0, 0.0),  # not this mouth's voice
        (0.0, 1.0, 0.5, 0.5, 0.6),  # seen: closed and rounded as the voice says, over the jaw that is seen
        (0.0, 0.5, 0.5, 0.25, 0.3),
        (1.0, 1.0, 0.1, 0.1, 0.6),  # unseen: the voice's
        (1.0, 0.0, 0.1, 0.1, 0.6),
    ],
)
def test_one_mouth_is_made_of_two(share: float, own: float, jaw: float, closed: float, pucker: float) -> None:
    seen = weights(jawOpen=0.5, mouthSmileLeft=0.7)
    spoken = weights(jawOpen=0.1, mouthClose=0.1, mouthPucker=0.6)

    mouth = joined(seen, spoken, spoken, share, own)

    assert (mouth[JAW], mouth[CLOSE], mouth[PUCKER]) == pytest.approx((jaw, closed, pucker), abs=0.01)
    assert mouth[SMILE] == np.float32(0.7)


def test_where_the_mouth_is_seen_the_camera_leads_and_lips_meet() -> None:
    moments = play(6, speaking)
    seen = np.array([lips(moment.at_s) for moment in moments])

    assert all(moment.bond.share == 0 for moment in moments)
    np.testing.assert_allclose(column(moments, JAW), seen, atol=1e-6)
    said = [babble(moment.at_s - 0.035) for moment in moments]  # what is known when the picture comes
    closures = [
        moment.mouth[CLOSE] / max(moment.mouth[JAW], 1e-3)
        for moment, one in zip(moments, said, strict=True)
        if one == "PP"
    ]
    assert np.mean(np.array(closures) > 0.9) > 0.8
    rounding = [moment.mouth[PUCKER] for moment, one in zip(moments, said, strict=True) if one == "O"]
    assert np.mean(rounding) > 0.25


GONE = (None, weights())


@pytest.mark.parametrize(
    "unseen",
    [GONE, (turned(yaw_deg=60), weights(jawOpen=0.1)), (turned(pitch_deg=-50), weights())],
    ids=["lost", "aside", "down"],
)
def test_when_the_mouth_is_lost_the_voice_has_it_within_100_ms(unseen: tuple[HeadPose | None, Float32]) -> None:
    moments = play(6, lambda at_s: unseen if at_s > 3 else speaking(at_s))

    assert next(moment.bond.share for moment in moments if moment.at_s >= 3.1) == 1
    assert np.ptp(column(moments, JAW, 3.2)) > 0.35
    steps = np.abs(np.diff([moment.mouth for moment in moments if 2.9 < moment.at_s < 3.3], axis=0))
    assert steps.max() < 0.5  # as fast as speech, and no faster


def test_the_camera_has_the_mouth_back_when_it_is_seen_again() -> None:
    moments = play(4, lambda at_s: GONE if 1 < at_s < 2 else speaking(at_s))

    assert next(moment.bond.share for moment in moments if moment.at_s >= 1.9) == 1
    assert next(moment.bond.share for moment in moments if moment.at_s >= 2.2) == 0


def chewing(at_s: float) -> tuple[HeadPose | None, Float32]:
    return AHEAD, weights(jawOpen=0.2 + 0.2 * np.sin(9 * at_s), mouthClose=0.1, mouthSmileLeft=0.5)


@pytest.mark.parametrize("head", [AHEAD, turned(yaw_deg=60)])
def test_a_silent_mouth_is_the_cameras_whatever_it_does(head: HeadPose) -> None:
    moments = play(3, lambda at_s: (head, chewing(at_s)[1]), said=lambda _: "sil")

    for moment in moments:
        np.testing.assert_array_equal(moment.mouth, chewing(moment.at_s)[1])


def covered(at_s: float) -> tuple[HeadPose | None, Float32]:
    """A hand comes before the mouth after two seconds, and goes after five: what is seen is shut and still."""
    return (AHEAD, weights(jawOpen=0.01)) if 2 < at_s < 5 else speaking(at_s)


def test_a_hand_before_a_speaking_mouth_gives_it_to_the_voice_until_it_goes() -> None:
    moments = play(7, covered)

    shares = np.array([(moment.at_s, moment.bond.share) for moment in moments])
    assert shares[shares[:, 0] < 2, 1].max() == 0
    assert shares[np.argmax(shares[:, 1] == 1), 0] < 2.6
    assert shares[(shares[:, 0] > 2.6) & (shares[:, 0] < 5), 1].min() == 1
    assert shares[shares[:, 0] > 5.5, 1].max() == 0
    assert np.ptp(column(moments, JAW, 2.7, 5)) > 0.35


def listening(at_s: float) -> tuple[HeadPose | None, Float32]:
    """Speaks for three seconds, pauses, then listens with a shut mouth."""
    return speaking(at_s) if at_s < 3 else (AHEAD, weights())


def conversation(at_s: float) -> str:
    """She for three seconds; half a second later somebody else."""
    return "sil" if 3 <= at_s < 3.5 else babble(at_s)


def test_a_visitor_who_listens_to_somebody_else_keeps_a_shut_mouth() -> None:
    moments = play(8, listening, conversation)

    assert column(moments, JAW, 3.5).max() == 0
    assert column(moments, PUCKER, 6.5).max() < 0.05


def test_who_only_listens_never_speaks() -> None:
    moments = play(8, lambda _: (AHEAD, weights()))

    assert column(moments, JAW).max() == 0


def test_a_laugh_while_somebody_else_speaks_is_not_shut_by_their_lips() -> None:
    moments = play(10, chewing)

    sealed = column(moments, CLOSE, 6) - 0.1
    assert moments[-1].bond.own < 0.3
    assert sealed.max() < 0.12


@pytest.mark.parametrize("state", [TrackingState.ABSENT, TrackingState.IDLE])
def test_a_voice_in_an_empty_booth_moves_no_mouth(state: TrackingState) -> None:
    moments = play(3, lambda _: GONE, state=lambda _: state)

    assert max(float(moment.mouth.max()) for moment in moments) == 0


def test_who_walks_aside_and_speaks_on_is_heard_until_a_pause() -> None:
    def said(at_s: float) -> str:
        return "sil" if 12 < at_s < 15 else babble(at_s)

    moments = play(
        18,
        lambda at_s: GONE if at_s > 1 else speaking(at_s),
        said,
        lambda at_s: TrackingState.TRACKING if at_s < 1 else TrackingState.LOST if at_s < 11 else TrackingState.IDLE,
    )

    assert np.ptp(column(moments, JAW, 3, 12)) > 0.35
    assert np.ptp(column(moments, JAW, 11.2, 12)) > 0.2
    assert column(moments, JAW, 15.2).max() == 0


def test_a_microphone_alone_moves_its_mouth() -> None:
    moments = play(3, lambda _: GONE, state=lambda _: TrackingState.VOICE)

    assert np.ptp(column(moments, JAW, 0.2)) > 0.4
    assert all(moment.mouth[CLOSE] <= moment.mouth[JAW] + 1e-6 for moment in moments)


def test_a_voice_that_is_not_this_mouths_leaves_it_alone_but_is_remembered() -> None:
    moments = play(3, speaking, speaks=False)

    np.testing.assert_allclose(column(moments, JAW), [lips(moment.at_s) for moment in moments], atol=1e-6)
    assert column(moments, CLOSE).max() == 0
    assert len(moments[-1].bond.course.rows) == len(moments)


@pytest.mark.parametrize("delay_ms", [-160, 120])
def test_sound_that_is_late_is_found_and_taken_back(delay_ms: int) -> None:
    moments = play(20, speaking, delay_s=delay_ms / 1000)
    fixed = [moment.bond.delay_s for moment in moments][-1] * 1000

    assert fixed == pytest.approx(delay_ms, abs=40)


def test_a_camera_that_lags_is_joined_with_the_sound_of_its_moment() -> None:
    lag_s = 0.15

    def late(at_s: float) -> tuple[HeadPose | None, Float32]:
        return AHEAD, weights(jawOpen=max(lips(at_s - lag_s), 0.2))

    bond = replace(Bond(), delay_s=-lag_s)
    moments = play(6, late, bond=bond)

    closed = [moment.mouth[CLOSE] / moment.mouth[JAW] for moment in moments if babble(moment.at_s - lag_s) == "PP"]
    vowels = [
        moment.mouth[CLOSE] / moment.mouth[JAW] for moment in moments if babble(moment.at_s - lag_s) in ("aa", "I")
    ]
    assert np.mean(np.array(closed) > 0.8) > 0.7
    assert np.mean(np.array(vowels) < 0.3) > 0.7


def test_without_a_network_the_camera_has_it_all() -> None:
    shapes = weights(jawOpen=0.4)

    for voice in (None, Voice("mic0", BEGIN_NS, active=True)):
        mouth, bond = fuse(Bond(), shapes, Sight(TrackingState.TRACKING, BEGIN_NS, 1.0, AHEAD), voice)
        np.testing.assert_array_equal(mouth, shapes)
        assert bond.share == 0
