"""Ten seconds of somebody speaking somewhere, with the viseme of each hop: what the network is taught with."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from appliance.listening.blocks import BLOCK_SAMPLES, RATE
from appliance.listening.features import features
from appliance.values import Float32
from engines.training import viseme_recordings, viseme_sounds
from engines.training.viseme_phones import Labels, labels
from engines.training.viseme_recordings import Opus, Recording
from engines.training.viseme_voices import Espeak, Flite, Spoken

UNSEEN_SHARE = 20  # one recording in so many is kept for scoring
SCENE_HOPS = 1000
_LANGUAGES = {"es": 5, "es-419": 2, "fr": 5, "de": 5, "it": 4, "pt-br": 4, "ru": 3, "nl": 4, "pl": 4}
_ENGLISH = {"en-us": 8, "en": 3, "en-gb-x-rp": 2, "en-gb-scotland": 1, "en-gb-x-gbclan": 1, "en-us-nyc": 1, "en-029": 1}
_KINDS = {"english": 30, "foreign": 12, "flite": 18, "recording": 40}
_TEXTS_OF = {"es-419": "es"}
_HELD = 24  # sentences of late, for babble
_SILENT = 0.2  # of all scenes hold no voice
_OVER = {"none": 0.3, "noise": 0.25, "music": 0.22, "babble": 0.15, "knocks": 0.08}
_INSTEAD = {"none": 0.1, "noise": 0.2, "music": 0.6, "babble": 0.0, "knocks": 0.1}

Half = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Scene:
    """Features x hops, and what is said in each."""

    heard: Half
    visemes: Labels


class Speakers:
    """Whoever can speak: synthesisers that read texts, and recordings. One instance a process."""

    def __init__(self, kit: Path, seed: int) -> None:
        self._chance = random.Random(seed)
        loader = kit / "espeakng_loader"
        self._espeak = Espeak(loader / "libespeak-ng.so", loader / "espeak-ng-data")
        variants = sorted(path.name for path in (loader / "espeak-ng-data" / "voices" / "!v").iterdir())
        self._variants = [name for name in variants if " " not in name and "obo" not in name and name != "fast"]
        self._flite = Flite(kit / "flite")
        self._texts: dict[str, list[str]] = json.loads((kit / "texts.json").read_text(encoding="utf-8"))
        self._opus = Opus((kit / "libopus.so.0").resolve())
        recordings = viseme_recordings.read(kit / "recordings.npz")
        self._recordings: dict[str, list[Recording]] = {}
        for index, one in enumerate(recordings):
            if index % UNSEEN_SHARE:
                self._recordings.setdefault(one.speaker, []).append(one)
        self.unseen = recordings[::UNSEEN_SHARE]
        self._music = viseme_recordings.read(kit / "music.npz")

    def anyone(self) -> Spoken:
        """Let somebody say something."""
        kind = self._chance.choices(list(_KINDS), list(_KINDS.values()))[0]
        if kind == "flite":
            return self._flite_voice()
        if kind == "recording":
            return self.recorded(self._chance.choice(self._recordings[self._chance.choice(list(self._recordings))]))
        voices = _ENGLISH if kind == "english" else _LANGUAGES
        return self._synthetic(self._chance.choices(list(voices), list(voices.values()))[0])

    def _flite_voice(self) -> Spoken:
        chance = self._chance
        voice, stretch, pitch_hz = chance.choice(Flite.VOICES), chance.uniform(0.8, 1.3), chance.randint(85, 230)
        return self._flite.say(chance.choice(self._texts["en"]), voice, stretch, pitch_hz)

    def recorded(self, recording: Recording) -> Spoken:
        """One recording."""
        samples = self._opus.decode(recording.packets, recording.samples)
        return Spoken(samples, recording.segments, recording.speaker)

    def music(self, count: int) -> Float32:
        """So many samples of a piece, of unit power."""
        piece = self._chance.choice(self._music)
        first = self._chance.randrange(max(len(piece.packets) - count // viseme_recordings.FRAME, 1))
        last = min(first + count // viseme_recordings.FRAME + 1, len(piece.packets))
        part = self._opus.decode(piece.packets[first:last], (last - first - 1) * viseme_recordings.FRAME)
        part = np.resize(part, count)
        return np.asarray(part / viseme_sounds.rms(part), np.float32)

    def _synthetic(self, language: str) -> Spoken:
        chance = self._chance
        texts = self._texts["en" if language.startswith("en") else _TEXTS_OF.get(language, language)]
        variant = f"+{chance.choice(self._variants)}" if chance.random() < 0.9 else ""
        pace, pitch, liveliness = chance.randint(110, 235), chance.randint(15, 90), chance.randint(15, 90)
        return self._espeak.say(chance.choice(texts), language + variant, pace, pitch, liveliness)


class Scenes:
    """Makes scenes without end."""

    def __init__(self, speakers: Speakers, seed: int) -> None:
        self._speakers = speakers
        self._chance = np.random.default_rng(seed)
        self._late: list[Float32] = []

    def next(self) -> Scene:
        """One scene of ``SCENE_HOPS``."""
        chance = self._chance
        sound, visemes = np.zeros(SCENE_HOPS * BLOCK_SAMPLES, np.float32), np.zeros(SCENE_HOPS, np.int8)
        if chance.random() > _SILENT:
            self._speak(sound, visemes)
        loudness = viseme_sounds.rms(sound[np.repeat(visemes, BLOCK_SAMPLES) > 0]) if visemes.any() else 0.1
        sound = sound + self._around(len(sound), _OVER if visemes.any() else _INSTEAD) * np.float32(loudness)
        if chance.random() < 0.35:
            sound = viseme_sounds.narrowed(chance, sound)
        _, heard = features(None, viseme_sounds.captured(chance, sound))
        return Scene(heard.astype(np.float16), visemes)

    def _speak(self, sound: Float32, visemes: Labels) -> None:
        """Fill in sentences with pauses between; most of a scene is one speaker."""
        chance = self._chance
        hop = int(chance.exponential(30)) if chance.random() < 0.7 else 0
        while hop < SCENE_HOPS - 50:
            said, named = self._said()
            count = min(len(named), SCENE_HOPS - hop)
            sound[hop * BLOCK_SAMPLES : (hop + count) * BLOCK_SAMPLES] += said[: count * BLOCK_SAMPLES]
            visemes[hop : hop + count] = named[:count]
            hop += count + int(chance.exponential(30))

    def _said(self) -> tuple[Float32, Labels]:
        """One sentence, its speed, room and microphone changed, at about unit power."""
        chance = self._chance
        spoken = self._speakers.anyone()
        while len(spoken.samples) < RATE // 3 or np.abs(spoken.samples).max() < 1e-3:
            spoken = self._speakers.anyone()
        samples, segments = spoken.samples, spoken.segments
        if chance.random() < 0.75:
            slower = round(RATE * np.exp(chance.uniform(-0.2, 0.2))) / RATE
            samples = np.asarray(soxr.resample(samples, RATE, RATE * slower, "LQ"), np.float32)
            segments = [(begin * slower, end * slower, phone) for begin, end, phone in segments]
        samples = samples[: len(samples) // BLOCK_SAMPLES * BLOCK_SAMPLES]
        named = labels(segments, len(samples) // BLOCK_SAMPLES)
        self._late = [*self._late[-_HELD:], samples]
        if chance.random() < 0.5:
            samples = viseme_sounds.room(chance, samples)
        if chance.random() < 0.6:
            samples = viseme_sounds.tilted(chance, samples)
        return samples / viseme_sounds.rms(samples) * np.float32(10 ** (chance.normal(0, 3) / 20)), named

    def _around(self, count: int, kinds: Mapping[str, float]) -> Float32:
        """What else sounds, in relation to a voice of unit power."""
        chance = self._chance
        faint_db = chance.uniform(-75, -35)
        sound = viseme_sounds.noise(chance, count) * np.float32(10 ** (faint_db / 20))
        kind = chance.choice(list(kinds), p=list(kinds.values()))
        if kind == "none":
            return sound
        below_db = chance.uniform(0, 30)
        return sound + self._made(str(kind), count) * np.float32(10 ** (-below_db / 20))

    def _made(self, kind: str, count: int) -> Float32:
        chance = self._chance
        if kind == "music":
            return self._speakers.music(count) if chance.random() < 0.7 else viseme_sounds.music(chance, count)
        if kind == "knocks":
            return viseme_sounds.knocks(chance, count)
        if kind == "babble" and len(self._late) >= 5:
            voices = chance.choice(len(self._late), min(int(chance.integers(4, 12)), len(self._late)), replace=False)
            return viseme_sounds.babble(chance, count, [self._late[index] for index in voices])
        return viseme_sounds.noise(chance, count)
