"""What the avatar does with what was measured: every decision is a pure function, tested by values."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from appliance import settings
from appliance.avatar.channels import BLENDSHAPES, MOODS, VISEMES
from appliance.avatar.compose import Avatar, Memory, compose
from appliance.avatar.liveliness import enliven, excess
from appliance.avatar.mood import read_mood
from appliance.values import AvatarState, Expression, Face, Float32, Gaze, HeadPose, Speech, TrackingState, Voice

MS = 1_000_000
S = 1_000_000_000
STEP = 33 * MS
JAW = BLENDSHAPES.index("jawOpen")
BLINK = BLENDSHAPES.index("eyeBlinkLeft")
ASIDE = HeadPose((0.0, -0.1305262, 0.0, 0.9914449), (0.1, 0.0, -0.5))  # 15 degrees


def weights(**named: float) -> Float32:
    values = np.zeros(52, np.float32)
    for name, value in named.items():
        values[BLENDSHAPES.index(name)] = value
    return values


def face(at_ns: int, shapes: Float32 | None, session: str = "abc", head: HeadPose = ASIDE) -> Face:
    expression = None if shapes is None else Expression(shapes, head, Gaze((10.0, -5.0), (12.0, -5.0)))
    state = TrackingState.TRACKING if expression else TrackingState.LOST
    return Face("cam0", 0, session, state, 0, 1.0, at_ns, expression)


def play(faces: list[Face], options: settings.Avatar | None = None) -> list[AvatarState]:
    memory, states = Memory(), []
    for one in faces:
        state, memory = compose(memory, one, None, options or settings.Avatar())
        states.append(state)
    return states


def resting(seconds: float, shapes: Float32, from_ns: int = 0, session: str = "abc") -> list[Face]:
    return [face(from_ns + step * STEP, shapes, session) for step in range(int(seconds * S / STEP))]


def test_a_visitors_own_rest_becomes_zero_and_one_stays_one() -> None:
    rest = weights(jawOpen=0.3, eyeBlinkLeft=-0.4)
    spoken = [face(2 * S + step * STEP, weights(jawOpen=1.0, eyeBlinkLeft=-0.4)) for step in range(30)]

    states = play([*resting(2, rest), *spoken])

    assert states[45].blendshapes[JAW] < 0.02
    assert states[-1].blendshapes[JAW] > 0.97
    assert states[-1].blendshapes[BLINK] == 0


def test_a_visitor_who_arrives_laughing_keeps_most_of_the_laugh() -> None:
    laugh = weights(mouthSmileLeft=1.0)

    state = play(resting(1.5, laugh))[-1]

    assert state.blendshapes[BLENDSHAPES.index("mouthSmileLeft")] > 0.9


def test_a_new_visitor_is_learnt_anew() -> None:
    first, second = resting(2, weights(jawOpen=0.3)), resting(2, weights(jawOpen=0.0), 3 * S, "def")
    wide = [face(6 * S + step * STEP, weights(jawOpen=0.3), "def") for step in range(20)]

    states = play([*first, *second, *wide])

    assert states[len(first) - 1].blendshapes[JAW] < 0.02
    assert states[-1].blendshapes[JAW] == pytest.approx(0.28, abs=0.02)


def test_a_lost_face_relaxes_within_half_a_second() -> None:
    seen = resting(2, weights(jawOpen=0.0)) + [face(2 * S + step * STEP, weights(jawOpen=0.8)) for step in range(30)]
    gone = [face(3 * S + step * STEP, None) for step in range(17)]

    states = play(seen + gone)

    before, after = states[len(seen) - 1], states[-1]
    assert before.blendshapes[JAW] > 0.7
    assert after.blendshapes[JAW] == pytest.approx(0, abs=0.01)
    assert after.head.rotation == pytest.approx((0, 0, 0, 1), abs=0.01)
    assert after.gaze.left_deg == pytest.approx((0, 0), abs=0.1)
    jaw = [state.blendshapes[JAW] for state in states[len(seen) :]]
    assert all(later <= earlier + 1e-6 for earlier, later in itertools.pairwise(jaw))


@pytest.mark.parametrize(("idle", "jaw", "blinks"), [("relax", 0.0, True), ("hold", 0.8, True), ("freeze", 0.8, False)])
def test_what_a_lost_face_does_is_a_setting(idle: str, jaw: float, blinks: bool) -> None:
    seen = resting(2, weights()) + [face(2 * S + step * STEP, weights(jawOpen=0.8)) for step in range(30)]
    gone = [face(3 * S + step * STEP, None) for step in range(600)]

    states = play(seen + gone, settings.Avatar(idle=idle))[-400:]

    assert all(state.blendshapes[JAW] == pytest.approx(jaw, abs=0.03) for state in states)
    assert bool(max(state.blendshapes[BLINK] for state in states) > 0.5) is blinks


def test_an_avatar_on_its_own_blinks_as_people_do() -> None:
    states = play([face(10 * S + step * STEP, None) for step in range(30 * 60)])
    closed = np.array([state.blendshapes[BLINK] > 0.5 for state in states])
    blinks = int(np.sum(np.diff(closed.astype(int)) == 1))

    assert 10 <= blinks <= 20  # in a minute
    assert closed.mean() < 0.1


def test_every_state_is_counted_and_carries_what_it_was_given() -> None:
    states = play(resting(1, weights()))

    assert [state.sequence for state in states[:3]] == [1, 2, 3]
    assert states[0].captured_ns == 0
    assert states[0].session == "abc"
    assert states[0].visemes[VISEMES.index("sil")] == 1
    assert states[0].mood[MOODS.index("neutral")] == 1


def test_smoothing_can_be_left_out() -> None:
    still = resting(2, weights())
    states = play([*still, face(3 * S, weights(jawOpen=1.0))], settings.Avatar(smoothing="none"))

    assert states[-1].blendshapes[JAW] == 1


def test_smoothing_stills_noise_and_follows_movement() -> None:
    rng = np.random.default_rng(1)
    noisy = [face(step * STEP, weights(jawOpen=0.2 + rng.normal(0, 0.01))) for step in range(300)]
    still = play(noisy)
    raw = play(noisy, settings.Avatar(smoothing="none"))
    jump = play(resting(2, weights()) + [face(2 * S + step * STEP, weights(jawOpen=1.0)) for step in range(3)])

    assert np.std([s.blendshapes[JAW] for s in still[60:]]) < 0.7 * np.std([s.blendshapes[JAW] for s in raw[60:]])
    assert jump[-2].blendshapes[JAW] > 0.85


def test_a_visitor_who_has_just_come_looks_straight_ahead_and_the_eyes_shapes_agree_with_the_gaze() -> None:
    came = resting(2, weights())  # gaze 10 and 12 degrees aside, 5 down
    aside = [face(2 * S + step * STEP, weights()) for step in range(20)]
    aside = [replace(one, expression=replace(one.expression, gaze=Gaze((25.0, -5.0), (27.0, -5.0)))) for one in aside]

    straight, looking = (play([*came, *aside])[index] for index in (len(came) - 1, -1))

    assert straight.gaze.left_deg == pytest.approx((0, 0), abs=0.5)
    assert looking.gaze.left_deg == pytest.approx((15, 0), abs=0.5)
    assert looking.blendshapes[BLENDSHAPES.index("eyeLookOutLeft")] == pytest.approx(0.5, abs=0.03)
    assert looking.blendshapes[BLENDSHAPES.index("eyeLookOutRight")] == 0


def test_each_slot_remembers_for_itself() -> None:
    avatar = Avatar(settings.Avatar(), [settings.Camera("cam0", "file:x", faces=2)])
    for step in range(60):
        pair = [replace(face(step * STEP, weights(jawOpen=0.3)), slot=0), replace(face(step * STEP, weights()), slot=1)]
        states = avatar.compose(pair, {})

    assert [state.slot for state in states] == [0, 1]
    assert all(state.blendshapes[JAW] < 0.02 for state in states)


def test_a_cameras_own_microphone_is_its_voice_and_another_is_an_avatar_of_its_own() -> None:
    avatar = Avatar(settings.Avatar(), [settings.Camera("cam0", "file:x", microphone="near")])
    voices = {"near": Voice("near", S, active=True, level=0.4), "far": Voice("far", 2 * S, level=0.1)}

    seen, alone = avatar.compose([face(S, weights())], voices)

    assert (seen.stream, seen.voice.level) == ("cam0", 0.4)
    assert (alone.stream, alone.state, alone.captured_ns) == ("far", TrackingState.VOICE, 2 * S)


def says(heard_ns: int, viseme: str, microphone: str = "near", arousal: float = 0.5) -> Voice:
    """A voice that has said one thing for a third of a second."""
    visemes = np.tile(np.eye(len(VISEMES), dtype=np.float32)[VISEMES.index(viseme)], (32, 1))
    speech = Speech(heard_ns - 60 * MS, heard_ns - 40 * MS, visemes, np.zeros(32, np.float32))
    return Voice(microphone, heard_ns, True, 0.5, arousal, visemes[-1], speech, heard_ns + 3 * MS)


def test_a_microphone_alone_has_an_avatar_that_speaks_and_blinks() -> None:
    avatar = Avatar(settings.Avatar(), [])
    states = [avatar.compose([], {"far": says(S + step * 20 * MS, "aa", "far")})[0] for step in range(600)]

    last = states[-1]
    assert (last.stream, last.slot, last.state) == ("far", 0, TrackingState.VOICE)
    assert last.blendshapes[JAW] > 0.5
    assert last.visemes[VISEMES.index("aa")] == 1
    assert last.head.rotation == (0, 0, 0, 1)
    assert max(state.blendshapes[BLINK] for state in states) > 0.9
    assert {state.since_ns for state in states} == {S}
    assert [state.sequence for state in states] == list(range(1, 601))


def test_a_microphone_alone_that_says_nothing_new_has_no_new_state() -> None:
    avatar = Avatar(settings.Avatar(), [])
    voices = {"far": says(S, "aa", "far"), "not yet": Voice("not yet", 0)}

    first, second = avatar.compose([], voices), avatar.compose([], voices)

    assert [state.stream for state in first] == ["far"]
    assert second == []


def test_only_the_one_of_several_who_moves_the_mouth_is_moved_by_the_voice() -> None:
    avatar = Avatar(settings.Avatar(), [settings.Camera("cam0", "file:x", faces=2, microphone="near")])
    still = face(0, weights(mouthPucker=0.0), head=HeadPose())
    for step in range(120):
        at_ns = S + step * STEP
        jaw = weights(jawOpen=0.3 + 0.3 * np.sin(step))
        pair = [
            replace(still, captured_ns=at_ns),
            replace(still, slot=1, captured_ns=at_ns, expression=replace(still.expression, blendshapes=jaw)),
        ]
        silent, speaking = avatar.compose(pair, {"near": says(at_ns, "U")})

    pucker = BLENDSHAPES.index("mouthPucker")
    assert speaking.blendshapes[pucker] > 0.5
    assert silent.blendshapes[pucker] == 0
    assert silent.voice == speaking.voice


def test_who_speaks_and_turns_away_stays_the_speaker_beside_a_still_listener() -> None:
    avatar = Avatar(settings.Avatar(), [settings.Camera("cam0", "file:x", faces=2, microphone="near")])
    listener = face(0, weights(), head=HeadPose())
    for step in range(150):
        at_ns = S + step * STEP
        speaker = face(at_ns, weights(jawOpen=0.3 + 0.3 * np.sin(step)) if step < 120 else None, head=HeadPose())
        pair = [replace(listener, captured_ns=at_ns), replace(speaker, slot=1)]
        listening, speaking = avatar.compose(pair, {"near": says(at_ns, "aa")})

    assert speaking.blendshapes[JAW] > 0.5
    assert listening.blendshapes[JAW] == 0


def test_how_far_the_sound_lags_is_known_by_microphone_once_it_was_looked_for() -> None:
    avatar = Avatar(settings.Avatar(), [settings.Camera("cam0", "file:x", microphone="near")])
    avatar.compose([face(S, None)], {"near": says(S, "aa")})
    before = avatar.lags_ms()
    for step in range(60):
        avatar.compose([face(S + step * STEP, weights(), head=HeadPose())], {"near": says(S + step * STEP, "aa")})

    assert set(before) <= {"near"}
    assert avatar.lags_ms() == {"near": 0.0}


def test_how_long_listening_took_is_said_beside_the_other_stages() -> None:
    avatar = Avatar(settings.Avatar(), [settings.Camera("cam0", "file:x", microphone="near")])
    seen = replace(face(S, weights()), latency_ms={"capture": 1.0})

    told, live = avatar.compose([seen], {"near": says(S, "aa")})[0].latency_ms, says(S, "aa")
    replayed = avatar.compose([seen], {"near": replace(live, ready_ns=0)})[0].latency_ms

    assert told == {"capture": 1.0, "lookahead": 60.0, "listening": 3.0}
    assert replayed == {"capture": 1.0}


def test_who_is_lost_and_speaks_on_is_heard_on_even_when_the_visit_has_ended() -> None:
    avatar = Avatar(settings.Avatar(), [settings.Camera("cam0", "file:x", microphone="near")])
    for step in range(60):
        avatar.compose([face(S + step * STEP, weights(), head=HeadPose())], {"near": says(S + step * STEP, "aa")})
    for step in range(60, 240):
        gone = replace(face(S + step * STEP, None), session="abc" if step < 120 else "", state=TrackingState.ABSENT)
        state = avatar.compose([gone], {"near": says(S + step * STEP, "aa")})[0]

    assert state.blendshapes[JAW] > 0.5


BROW, BROW_DOWN, SMILE = (BLENDSHAPES.index(name) for name in ("browInnerUp", "browDownLeft", "mouthSmileLeft"))


@pytest.mark.parametrize(
    ("arousal", "limit", "brow", "down", "smile"),
    [
        (0.5, 0.3, 0.2, 0.0, 0.5),
        (1.0, 0.3, 0.44, 0.0, 0.65),
        (0.0, 0.3, 0.14, 0.09, 0.35),
        (1.0, 0.0, 0.2, 0.0, 0.5),
        (0.0, 0.0, 0.2, 0.0, 0.5),
        (1.0, 1.0, 1.0, 0.0, 1.0),
    ],
)
def test_an_excited_voice_lifts_the_expression_and_a_tired_one_lowers_it_within_the_limit(
    arousal: float, limit: float, brow: float, down: float, smile: float
) -> None:
    shapes = weights(browInnerUp=0.2, mouthSmileLeft=0.5, jawOpen=0.3, eyeBlinkLeft=0.4)

    lively = enliven(shapes, excess(arousal, limit))

    assert (lively[BROW], lively[BROW_DOWN], lively[SMILE]) == pytest.approx((brow, down, smile), abs=0.01)
    assert (lively[JAW], lively[BLINK]) == (shapes[JAW], shapes[BLINK])


def test_arousal_joins_the_mood_that_shows_and_makes_none() -> None:
    happy, sad = weights(mouthSmileLeft=0.5, mouthSmileRight=0.5), weights(mouthFrownLeft=0.5, mouthFrownRight=0.5)

    def felt(shapes: Float32, arousal: float, mood: str) -> float:
        return float(read_mood(shapes, excess(arousal, 0.3))[MOODS.index(mood)])

    assert felt(happy, 1.0, "happy") > felt(happy, 0.5, "happy") > felt(happy, 0.0, "happy")
    assert felt(sad, 1.0, "sad") < felt(sad, 0.5, "sad") < felt(sad, 0.0, "sad")
    assert felt(weights(), 1.0, "neutral") == 1


@pytest.mark.parametrize(
    ("mood", "shapes"),
    [
        ("happy", {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}),
        ("sad", {"mouthFrownLeft": 0.7, "mouthFrownRight": 0.7, "browInnerUp": 0.4}),
        ("angry", {"browDownLeft": 0.8, "browDownRight": 0.8}),
        ("surprised", {"browInnerUp": 0.7, "browOuterUpLeft": 0.7, "browOuterUpRight": 0.7, "jawOpen": 0.4}),
    ],
)
def test_a_face_has_the_mood_of_its_action_units(mood: str, shapes: dict[str, float]) -> None:
    states = play(resting(2, weights()) + [face(2 * S + step * STEP, weights(**shapes)) for step in range(20)])
    felt = dict(zip(MOODS, states[-1].mood, strict=True))

    assert max(felt, key=lambda name: felt[name]) == mood
    assert sum(felt.values()) == pytest.approx(1, abs=1e-5)
