"""A spoken session, replayed: the mouth opens with the speech's phonemes and shuts for P, B and M.

The speech is the demonstration's own, whose phonemes and times are known. It is heard by a network
that knows them and, where the package has one, by the network that is shipped.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from appliance import replaying
from appliance.avatar.channels import BLENDSHAPES, VISEMES
from appliance.avatar.compose import Avatar
from appliance.capture.sessions import SessionWriter
from appliance.daemon import open_viseme_network
from appliance.demo.clip import SPEECH_JSON, SPEECH_WAV, frames, read_photograph
from appliance.demo.timeline import FPS, MOUTH_OF, SPEECH_AT_S, Timeline, build_timeline
from appliance.listening.hearing import Hearing
from appliance.listening.recordings import wav_blocks
from appliance.listening.sessions import SoundWriter
from appliance.listening.viseme_network import GUESS_BLOCKS, MODEL, SURE_BLOCKS, VisemeNetwork
from appliance.recording import open_session, write_about
from appliance.settings import Avatar as AvatarSettings
from appliance.settings import Camera, Settings
from appliance.values import AvatarState, Float32, Image, Sound, TrackingState
from engines.own import is_own_model

S = 1_000_000_000
BEGIN_NS = 1000 * S
BEFORE_S = 1.0  # of silence, before the speech and after it
JAW, CLOSE = BLENDSHAPES.index("jawOpen"), BLENDSHAPES.index("mouthClose")
PHONEMES: list[tuple[float, float, str, str]] = json.loads(SPEECH_JSON.read_text(encoding="utf-8"))["phonemes"]
SPEECH_S = PHONEMES[-1][1]
HAND_S = 4.3  # of the speech: from then on, in mid-word, a hand is before her mouth,
GONE_S = 6.3  # and from then on nobody is seen
FOUND_S = 0.6  # so long it takes to see that a mouth is covered
LIPS_LATE_S = 0.04  # the lips that are seen are smoothed


def said_at(speech_s: float) -> str:
    return next((viseme for begin, end, _, viseme in PHONEMES if begin <= speech_s < end), "sil")


class KnowingNetwork(VisemeNetwork):
    """Knows what is said, and says it as late as a network does."""

    def __init__(self) -> None:
        self._blocks = 0

    def forget(self) -> None:
        self._blocks = 0

    def name(self, samples: Float32) -> tuple[Float32, Float32]:
        self._blocks += 1
        return self._known(SURE_BLOCKS)[np.newaxis], self._known(GUESS_BLOCKS)[np.newaxis]

    def _known(self, blocks_ago: int) -> Float32:
        said = said_at((self._blocks - blocks_ago - 0.5) / 100 - BEFORE_S)
        return np.asarray(0.05 / 15 + 0.95 * np.eye(15, dtype=np.float32)[VISEMES.index(said)], np.float32)


@dataclass(frozen=True)
class Mouth:
    """How far lips were apart, and ought to have been, at moments of the speech."""

    at_s: npt.NDArray[np.float64]
    apart: npt.NDArray[np.float64]
    jaw: npt.NDArray[np.float64]

    def correlation(self, since_s: float = 0.0, until_s: float = SPEECH_S) -> float:
        """With what the phonemes ask for, whose changes lips smooth."""
        counts = (self.at_s > since_s) & (self.at_s < until_s)
        near = np.arange(-0.04, 0.05, 0.01)
        asked = [np.mean([asked_at(at_s + later) for later in near]) for at_s in self.at_s[counts]]
        return float(np.corrcoef(self.apart[counts], asked)[0, 1])

    def closed(self, since_s: float = 0.0, until_s: float = SPEECH_S) -> float:
        """The part of all P, B and M at which the lips met."""
        met = [
            self.apart[(self.at_s > begin - 0.04) & (self.at_s < end + 0.02)].min(initial=1) < 0.06
            for begin, end, _, viseme in PHONEMES
            if viseme == "PP" and since_s < begin and end < until_s
        ]
        return float(np.mean(met))


def asked_at(speech_s: float) -> float:
    jaw, closed, _ = MOUTH_OF[said_at(speech_s)]
    return jaw * (1 - closed)


def mouth_of(states: list[AvatarState], seen: bool = False) -> Mouth:
    """The mouth of each state, at the moment of the sound that it shows, or of what was seen."""
    spoken = [state for state in states if state.voice.speech is not None]
    at_ns = [state.captured_ns if seen else state.voice.speech.sure_ns for state in spoken if state.voice.speech]
    at_s = [(moment_ns - BEGIN_NS) / S - BEFORE_S - (LIPS_LATE_S if seen else 0) for moment_ns in at_ns]
    jaw = np.array([state.blendshapes[JAW] for state in spoken], np.float64)
    return Mouth(np.array(at_s), np.maximum(jaw - [state.blendshapes[CLOSE] for state in spoken], 0), jaw)


def sounds(microphone: str) -> Iterator[Sound]:
    """Silence, the speech, silence."""
    silence = [np.zeros(160, np.float32)] * round(BEFORE_S * 100)
    for block, samples in enumerate([*silence, *wav_blocks(SPEECH_WAV), *silence], start=1):
        yield Sound(microphone, samples, BEGIN_NS + block * S // 100)


@pytest.fixture(scope="module", params=["knowing", "shipped"] if is_own_model(MODEL) else ["knowing"])
def network(request: pytest.FixtureRequest) -> VisemeNetwork:
    shipped = open_viseme_network(Settings()) if request.param == "shipped" else None
    return shipped or KnowingNetwork()


@pytest.fixture(scope="module")
def alone(network: VisemeNetwork) -> list[AvatarState]:
    """What a microphone without a camera makes of the speech, 50 times a second."""
    hearing, avatar = Hearing("mic0", network), Avatar(AvatarSettings(), [])
    voices = [hearing.hear(sound) for sound in sounds("mic0")]
    return [state for voice in voices[1::2] for state in avatar.compose([], {"mic0": voice})]


def with_hand(picture: Image, shift_px: float, index: int) -> Image:
    """Her picture with something like a hand before the mouth, which is never quite still."""
    x, y = np.random.default_rng(index).normal((640 + 0.85 * shift_px, 405), 2)
    covered = np.ascontiguousarray(picture)
    return np.asarray(cv2.ellipse(covered, (int(x), int(y)), (110, 72), 0, 0, 360, (110, 140, 200), -1), np.uint8)


@pytest.fixture(scope="module")
def session(photograph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """She speaks before a camera, in the middle of it holds a hand before her mouth, and then is not seen any more."""
    folder = tmp_path_factory.mktemp("spoken")
    write_about(folder, Camera("cam0", f"session:{folder}", microphone="mic0"))
    whole = build_timeline(SPEECH_JSON)
    first = round((SPEECH_AT_S - BEFORE_S) * FPS)
    count = round((BEFORE_S + SPEECH_S) * FPS)
    kept = Timeline(**{field.name: getattr(whole, field.name)[first : first + count] for field in fields(Timeline)})
    with SessionWriter(folder) as pictures:
        for index, picture in zip(range(count), frames(read_photograph(photograph), kept), strict=False):
            speech_s = index / FPS - BEFORE_S
            shown = np.full_like(picture, 90) if speech_s > GONE_S else picture
            if HAND_S < speech_s < GONE_S:
                shown = with_hand(picture, float(kept.shift_x_px[index]), index)
            pictures.write(shown, BEGIN_NS + (index + 1) * S // FPS)
    sound = SoundWriter(folder, "mic0")
    for one in sounds("mic0"):
        sound.write(one)
    sound.close()
    return folder


@pytest.fixture(scope="module")
def seen(session: Path, network: VisemeNetwork, desk: Settings) -> Iterator[list[AvatarState]]:
    opened, settings = open_session(session, [f"storage.directory={desk.storage.directory}"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "open_viseme_network", lambda _: network)
        yield list(replaying.replay(opened, settings))


def test_a_voice_alone_opens_the_mouth_as_its_phonemes_ask(alone: list[AvatarState]) -> None:
    mouth = mouth_of(alone)

    assert {state.state for state in alone} == {TrackingState.VOICE}
    assert mouth.correlation() > 0.8
    assert np.percentile(mouth.apart[mouth.at_s > 0], 95) > 0.35


def test_a_voice_alone_meets_its_lips_for_p_b_and_m(alone: list[AvatarState]) -> None:
    assert mouth_of(alone).closed() >= 0.8


def test_a_voice_alone_keeps_its_mouth_shut_before_the_first_word_and_after_the_last(alone: list[AvatarState]) -> None:
    mouth = mouth_of(alone)

    quiet = (mouth.at_s < -0.1) | (mouth.at_s > SPEECH_S + 0.25)
    assert mouth.apart[quiet].max() < 0.05


def test_the_visemes_that_are_published_are_those_that_are_said(alone: list[AvatarState]) -> None:
    mouth = mouth_of(alone)
    named = [VISEMES[int(state.visemes.argmax())] for state in alone]
    said = [said_at(at_s - 0.005) for at_s in mouth.at_s]
    counts = (mouth.at_s > 0) & (mouth.at_s < SPEECH_S)

    assert np.mean(np.array(named)[counts] == np.array(said)[counts]) > 0.6


def test_a_face_that_speaks_is_led_by_the_camera_and_meets_its_lips(seen: list[AvatarState]) -> None:
    assert {state.state for state in seen[:100]} == {TrackingState.ACQUIRING, TrackingState.TRACKING}
    assert mouth_of(seen, seen=True).correlation(0, HAND_S) > 0.75
    assert mouth_of(seen).closed(0, HAND_S) >= 0.8


def test_behind_a_hand_the_voice_goes_on(seen: list[AvatarState]) -> None:
    mouth = mouth_of(seen)
    behind = [state for state in seen if HAND_S < (state.captured_ns - BEGIN_NS) / S - BEFORE_S < GONE_S]

    assert {state.state for state in behind} == {TrackingState.TRACKING}
    assert mouth.correlation(HAND_S + FOUND_S, GONE_S) > 0.75
    assert mouth.closed(HAND_S + FOUND_S, GONE_S) >= 0.8


def test_when_the_face_is_lost_in_mid_speech_the_voice_goes_on(seen: list[AvatarState]) -> None:
    mouth = mouth_of(seen)

    assert TrackingState.LOST in {state.state for state in seen}
    assert mouth.correlation(GONE_S + 0.2) > 0.75
    assert mouth.closed(GONE_S + 0.2) >= 0.8


def music(seconds: float) -> Float32:
    """Chords, a bass and a beat: two chords a second, of strings that are struck and fade."""
    random, times_s = np.random.default_rng(2), np.arange(round(16000 * seconds)) / 16000
    beat_s = times_s % 0.5
    chord = np.array([(0, 4, 7), (-3, 0, 4), (-7, -3, 0), (-5, -1, 2)])[(times_s / 2).astype(int) % 4]
    sound = np.zeros(len(times_s))
    for voice, level in ((0, 1.0), (1, 0.8), (2, 0.8)):
        for octave_hz, octave_level in ((110.0, 0.8), (261.6, 1.0)):
            phase = 2 * np.pi * np.cumsum(octave_hz * 2.0 ** (chord[:, voice] / 12)) / 16000
            strings = sum(np.sin(partial * phase) / partial**1.5 for partial in range(1, 9))
            sound += level * octave_level * strings * np.exp(-3 * beat_s)
    sound += 0.8 * random.standard_normal(len(times_s)) * np.exp(-60 * beat_s)
    return np.asarray(0.1 * sound / np.sqrt(np.mean(sound**2)), np.float32)


def test_music_alone_keeps_the_mouth_shut() -> None:
    """By the network that is shipped: it alone can tell music from speech. Without one nothing moves the mouth."""
    hearing, avatar = Hearing("mic0", open_viseme_network(Settings())), Avatar(AvatarSettings(), [])
    played = music(12.0)
    voices = [
        hearing.hear(Sound("mic0", played[start : start + 160], BEGIN_NS + (start // 160 + 1) * S // 100))
        for start in range(0, len(played) - 159, 160)
    ]
    states = [state for voice in voices[1::2] for state in avatar.compose([], {"mic0": voice})]

    apart = np.array([state.blendshapes[JAW] - state.blendshapes[CLOSE] for state in states])
    assert np.mean(apart < 0.06) >= 0.98


def test_both_ways_stay_possible_mouths(alone: list[AvatarState], seen: list[AvatarState]) -> None:
    for state in [*alone, *seen]:
        assert ((state.blendshapes >= 0) & (state.blendshapes <= 1)).all()
    for state in alone:
        assert state.blendshapes[CLOSE] <= state.blendshapes[JAW] + 1e-6
