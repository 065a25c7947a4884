"""Hold the viseme network against real speech of people it never heard.

    python -m engines.training.evaluate_voice GROUP.. [--model FILE] [--music WAV..] [--every 4] [--json]

A GROUP is a folder of WAV files, each with a JSON of the same name whose ``visemes`` are ``[begin_s, end_s, viseme]``:
labelled by hand, or aligned by a recogniser to the known text (then agreement ends near 0.80, where aligners disagree).
Sentences of fewer than three words, shorter than 1.2 s or badly aligned are left out. Every sound runs through the
daemon's features and, hop by hop, through the network. ``--music`` names real music; without it, it is made up.
"""

import argparse
import json
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from appliance.avatar.channels import VISEMES
from appliance.listening.blocks import BLOCK_SAMPLES, RATE, from_pcm
from appliance.listening.viseme_network import GUESS_BLOCKS, SURE_BLOCKS, VisemeNetwork
from appliance.values import Float32
from engines.manifest import read
from engines.opening import open_runner
from engines.own import OwnModel, own_model_path
from engines.training import viseme_sounds
from engines.training.viseme_phones import HOPS_PER_S, Labels
from engines.training.viseme_scores import OPENING, Scores, score

PEERS = {
    "speech_asterisk_en": "pocketsphinx streamed .61/.56/.73, uLipSync's method .42/.34/.62, wawa-lipsync .07/.04/.16",
    "speech_emuR": "pocketsphinx streamed .65/.59/.76",
}
"""Frame accuracy, macro F1 and opening of others at 60 ms, measured on a part of the same recordings."""

GAINS_DB = (-40, -20, 10)
RATIOS_DB = (20, 10, 5)
SHUT = 0.15  # of the widest opening: less is a shut mouth
_CROWD = 6  # voices of babble
_MUSIC_S = 60

DELAYS = (SURE_BLOCKS, GUESS_BLOCKS)

Change = Callable[[Float32], Float32]
Named = Mapping[int, Float32]


@dataclass(frozen=True, slots=True)
class Clip:
    """One sentence, and the viseme of each hop."""

    samples: Float32
    visemes: Labels


def read_wav(path: Path) -> Float32:
    """16 kHz mono, 16 bits."""
    with wave.open(str(path)) as wav:
        if (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) != (RATE, 1, 2):
            raise SystemExit(
                f"{path} must be mono, 16 bits, {RATE} Hz; convert it with: ffmpeg -i FILE -ar {RATE} -ac 1 OUT.wav"
            )
        return from_pcm(wav.readframes(wav.getnframes()), 2, 1)[:, 0]


def clips(group: Path) -> list[Clip]:
    """The sentences of a group that are fit for scoring."""
    found = []
    for path in sorted(group.glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        samples = read_wav(path.with_suffix(".wav"))
        hops = len(samples) // BLOCK_SAMPLES
        badly = about.get("min_dur_share", 0.0) >= 0.2 or about.get("score", 0.0) <= -30
        if badly or hops < 1.2 * HOPS_PER_S or len(about["text"].split()) < 3:
            continue
        visemes = np.zeros(hops, np.int8)
        for begin_s, end_s, viseme in about["visemes"]:
            begin, end = (max(int(np.ceil(time_s * HOPS_PER_S - 0.5)), 0) for time_s in (begin_s, end_s))
            visemes[begin:end] = VISEMES.index(viseme)
        found.append(Clip(samples[: hops * BLOCK_SAMPLES], visemes))
    return found


class Listener:
    """Names the visemes of sounds, as the daemon does."""

    def __init__(self, model: Path) -> None:
        inputs = read(model.parent / "own_model.toml", OwnModel).inputs
        self._network = VisemeNetwork(open_runner(model, "onnxruntime"), inputs)

    def named(self, samples: Float32) -> Named:
        """Visemes x hops at each delay, the delay taken out."""
        self._network.forget()
        told = self._network.name(np.pad(samples, (0, SURE_BLOCKS * BLOCK_SAMPLES)))
        hops = len(samples) // BLOCK_SAMPLES
        return {delay: one[delay : delay + hops].T for delay, one in zip(DELAYS, told, strict=True)}

    def scores(self, group: Sequence[Clip], change: Change) -> dict[int, Scores]:
        """Score each delay on a group whose sounds are changed so."""
        told = [self.named(change(clip.samples)) for clip in group]
        return {delay: score([clip.visemes for clip in group], [one[delay] for one in told]) for delay in DELAYS}

    def shut(self, samples: Float32) -> tuple[float, float]:
        """Share of hops at which the mouth is shut, and at which ``sil`` is named."""
        told = self.named(samples)[SURE_BLOCKS]
        return float(np.mean(OPENING @ told < SHUT)), float(np.mean(told.argmax(axis=0) == VISEMES.index("sil")))


def as_captured(samples: Float32) -> Float32:
    """What a card makes of it: clipped, and rounded to 16 bits."""
    return np.asarray(np.round(np.clip(samples, -1, 1) * 32767) / 32768, np.float32)


def louder(gain_db: float) -> Change:
    """A gain before the card."""
    return lambda samples: as_captured(samples * np.float32(10 ** (gain_db / 20)))


def over(ratio_db: float, other: Callable[[int], Float32]) -> Change:
    """Speech over something else of unit power, so many decibels below the speech."""

    def mixed(samples: Float32) -> Float32:
        loud = samples.reshape(-1, BLOCK_SAMPLES)
        power = np.mean(loud**2, axis=1)
        speech = np.sqrt(np.mean(power[power > power.max() * 1e-3]))
        both = samples + other(len(samples)) * np.float32(speech * 10 ** (-ratio_db / 20))
        return as_captured(both * np.float32(min(1.0, 0.9 / np.abs(both).max())))

    return mixed


class Others:
    """What speech is heard over, of unit power: noise, babble of the other clips, music."""

    def __init__(self, crowd: Sequence[Clip], music: Sequence[Path]) -> None:
        self._chance = np.random.default_rng(7)
        self._crowd = [clip.samples for clip in crowd]
        self._music = [read_wav(path) for path in music]

    def noise(self, count: int) -> Float32:
        """Noise of a room or a machine."""
        return viseme_sounds.noise(self._chance, count)

    def babble(self, count: int) -> Float32:
        """Six people at once."""
        voices = [self._crowd[index] for index in self._chance.integers(0, len(self._crowd), _CROWD)]
        return viseme_sounds.babble(self._chance, count, voices)

    def music(self, count: int) -> Float32:
        """A piece of music."""
        if not self._music:
            return viseme_sounds.music(self._chance, count)
        piece = self._music[self._chance.integers(len(self._music))]
        start = int(self._chance.integers(0, max(len(piece) - count, 1)))
        part = np.resize(piece[start:], count)
        return np.asarray(part / viseme_sounds.rms(part), np.float32)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description="Hold the viseme network against real speech.")
    parser.add_argument("groups", type=Path, nargs="+", metavar="GROUP")
    parser.add_argument("--model", type=Path, help="default: the one in the package")
    parser.add_argument("--music", type=Path, nargs="*", default=[], metavar="WAV")
    parser.add_argument("--every", type=int, default=4, help="of a large group, for gain and noise (4)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    listener = Listener(arguments.model or own_model_path("viseme"))
    groups = {group.name: clips(group) for group in arguments.groups}
    rows: list[tuple[str, str, str, Scores]] = []

    def measure(condition: str, change: Change, every: int) -> None:
        for name, group in groups.items():
            some = group[::every] if len(group) > 50 else group
            for delay, scores in listener.scores(some, change).items():
                rows.append((condition, name, f"{10 * delay} ms", scores))

    measure("as it is", as_captured, 1)
    others = Others(max(groups.values(), key=len), arguments.music)
    if arguments.every:
        measure("the part below", as_captured, arguments.every)
        for gain_db in GAINS_DB:
            measure(f"gain {gain_db} dB", louder(gain_db), arguments.every)
        for what in (others.noise, others.babble, others.music):
            for ratio_db in RATIOS_DB:
                measure(f"{what.__name__} at {ratio_db} dB", over(ratio_db, what), arguments.every)
    alone = [listener.shut(as_captured(0.05 * others.music(_MUSIC_S * RATE))) for _ in range(3)]
    if arguments.json:
        told = [
            {"condition": condition, "group": group, "delay": delay, **asdict(one)}
            for condition, group, delay, one in rows
        ]
        print(json.dumps({"scores": told, "music_alone": alone}, indent=1))
    else:
        _print(rows, alone, groups)


def _print(
    rows: Sequence[tuple[str, str, str, Scores]], alone: Sequence[tuple[float, float]], groups: Mapping[str, list[Clip]]
) -> None:
    console = Console(width=150)
    table = Table("sound", "group", "delay", "accuracy", "macro F1", "opening", "closure", "named PP")
    for condition, group, delay, one in rows:
        values = (one.accuracy, one.macro_f1, one.opening, one.closure, one.pp)
        table.add_row(condition, group, delay, *(f"{value:.3f}" for value in values))
    for condition in dict.fromkeys(condition for condition, *_ in rows):
        for delay in dict.fromkeys(delay for _, _, delay, _ in rows):
            of_both = [asdict(one) for about, _, late, one in rows if (about, late) == (condition, delay)]
            means = (float(np.mean([one[name] for one in of_both])) for name in of_both[0])
            table.add_row(condition, "mean over groups", delay, *(f"{mean:.3f}" for mean in means))
    console.print(table)
    for name, some in groups.items():
        minutes = sum(len(clip.samples) for clip in some) / RATE / 60
        console.print(
            f"{name}: {len(some)} sentences, {minutes:.1f} minutes. Peers: {PEERS.get(name, 'none measured')}"
        )
    shares = ", ".join(f"{shut:.3f} (named sil {silent:.3f})" for shut, silent in alone)
    console.print(f"music alone, share of hops with the mouth shut: {shares}")


if __name__ == "__main__":
    main()
