"""Gather what the viseme network is trained on, here, so that it fits into 55 MB.

    python -m engines.training.viseme_bank KIT --manuals DIR.. --sounds DIR --russian DIR [--minutes 6]

KIT holds ``espeakng_loader`` (the wheel of that name, unpacked) and ``flite`` (the program and its libraries). DIRs:
manual pages in several languages (Debian's manpages*, ``usr/share/man``), whose sentences are read aloud; the root of
Debian's asterisk-core-sounds-{it,ru} and -{it,ru}-g722, unpacked (``usr/share``); and festvox-ru's voice folder.
``viseme_festival`` and ``viseme_music`` say what else must be installed. Writes ``texts.json``, ``recordings.npz``,
``unseen.npz``, ``music.npz`` and ``libopus.so.0``.
"""

import argparse
import gzip
import json
import random
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from appliance.listening.blocks import BLOCK_SAMPLES, RATE
from appliance.values import Float32
from engines.training import viseme_recordings
from engines.training.viseme_align import Aligner, Example, align, example, sequence_of, train
from engines.training.viseme_festival import VOICES, FestivalVoice, labelled, read_aloud, read_wav
from engines.training.viseme_music import SOUNDS, pieces
from engines.training.viseme_phones import from_russian
from engines.training.viseme_recordings import Opus, Recording
from engines.training.viseme_voices import Espeak, Flite, Spoken

Prompt = tuple[str, str, Float32]
"""Speaker, text and sound."""

BITS_PER_S = 24_000  # of the prompts
FEWER_BITS_PER_S = 16_000  # of all else, as space is short
PROMPTED = ("it Carlo", "ru IvrvoiceRU")
VOICE_MINUTES = 1.5  # of each of festival's voices
MUSIC_PIECES = 60  # of about a minute
UNSEEN_PROMPTS = 150
OPUS = Path("/usr/lib/x86_64-linux-gnu/libopus.so.0")
_ROFF = re.compile(r"\\f[BIRP]|\\f\([A-Z]{2}|\\[&%/,:|^]|\\-|\\\(..|\\s[-+]?\d")
_SENTENCE = re.compile(r"[^.!?:;()\[\]{}<>|/=_@#$%^*+~\"`\\\d]+[.!?,]")
_FOLDERS = {"man1": "en", "man2": "en", "man3": "en", "man5": "en", "man7": "en", "man8": "en", "pt_BR": "pt-br"}
_LANGUAGES = ("es", "fr", "de", "it", "ru", "nl", "pl", "cs", "fi")
_MOST = {"en": 12_000, "cs": 400, "fi": 400}
_MOST_OTHERS = 2500
_VARIANTS = ("m1", "m3", "m7", "f1", "f2", "f4", "klatt4", "Andy", "Diogo", "linda", "steph")
_WORST_AT_FIRST, _WORST = -2.8, -1.7  # mean log likelihood ratio under which a text is taken not to be what was said


def sentences(page: str) -> Iterator[str]:
    """The plain sentences of one manual page, 3 to 16 words long."""
    lines = [line for line in page.splitlines() if line and line[0] not in ".'"]
    text = _ROFF.sub("", " ".join(lines))
    for found in _SENTENCE.finditer(text):
        sentence = " ".join(found.group().split())
        if 3 <= len(sentence.split()) <= 16 and all(len(word) < 22 for word in sentence.split()):
            yield sentence


def texts(manuals: list[Path], seed: int = 1) -> dict[str, list[str]]:
    """Sentences by language."""
    found: dict[str, set[str]] = {}
    for manual in manuals:
        for page in sorted(manual.rglob("*.gz")):
            folder = page.relative_to(manual).parts[0]
            language = _FOLDERS.get(folder, folder)
            if language in ("en", "pt-br", *_LANGUAGES):
                with gzip.open(page, "rt", encoding="utf-8", errors="ignore") as stream:
                    found.setdefault(language, set()).update(sentences(stream.read()))
    chance = random.Random(seed)
    return {
        language: chance.sample(sorted(all_of), min(len(all_of), _MOST.get(language, _MOST_OTHERS)))
        for language, all_of in sorted(found.items())
    }


def prompts(share: Path, language: str, speaker: str) -> Iterator[Prompt]:
    """Asterisk's prompts in one language."""
    folder = next((share / "asterisk" / "sounds").glob(f"{language}_*_{speaker}"))
    listed = (share / "doc" / f"asterisk-core-sounds-{language}" / f"core-sounds-{language}.txt.gz").read_bytes()
    for line in gzip.decompress(listed).decode("utf-8-sig", "replace").splitlines():
        name, _, text = line.partition(":")
        file = folder / f"{name.strip()}.g722"
        text = text.strip()
        if (
            not line.startswith(";")
            and text
            and "[" not in text
            and "?" not in text
            and "silen" not in text
            and "(" not in text
            and file.is_file()
        ):
            yield f"{language} {speaker}", text, _decoded(file)


def _decoded(file: Path) -> Float32:
    command = ["ffmpeg", "-v", "error", "-f", "g722", "-i", str(file), "-ar", str(RATE), "-ac", "1", "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)


def russian(voice: Path) -> Iterator[Spoken]:
    """The recordings of festival's Russian voice with their labels."""
    for label in sorted((voice / "lab").glob("*.lab")):
        yield Spoken(read_wav(voice / "wav" / f"{label.stem}.wav"), labelled(label, from_russian), "ru nsh")


def synthetic(kit: Path, espeak: Espeak, read: dict[str, list[str]], chance: random.Random) -> list[Example]:
    """Something to teach an aligner with."""
    flite = Flite(kit / "flite")
    spoken = []
    for language, count in (("it", 350), ("ru", 350), ("en-us", 250), ("es", 150), ("fr", 80), ("de", 80)):
        for text in chance.choices(read["en" if language == "en-us" else language], k=count):
            voice = f"{language}+{chance.choice(_VARIANTS)}"
            spoken.append(
                espeak.say(text, voice, chance.randint(130, 200), chance.randint(25, 75), chance.randint(30, 70))
            )
    for text in chance.choices(read["en"], k=200):
        spoken.append(flite.say(text, chance.choice(Flite.VOICES)))
    return [example(one) for one in spoken if len(one.samples) > RATE]


def aligned(network: Aligner, espeak: Espeak, prompts_: Iterable[Prompt], worst: float) -> Iterator[Spoken]:
    """Prompts with their phones, without those whose text is not what is said."""
    for speaker, text, samples in prompts_:
        phones = sequence_of(text, speaker.split()[0], espeak)
        if len(samples) < RATE // 2 or len(samples) / BLOCK_SAMPLES < 3 * len(phones) + 10:
            continue
        segments, ratio = align(network, samples, phones)
        if ratio < worst:
            print(f"left out ({ratio:.2f}): {speaker}: {text[:70]}", flush=True)
        else:
            yield Spoken(samples, segments, speaker)


def taught(examples: list[Example], espeak: Espeak, spoken: list[Prompt], minutes: float) -> Aligner:
    """An aligner that learnt from examples, and then from what it found in the prompts as well."""
    network = train(examples, minutes / 2)
    own = [example(one) for one in aligned(network, espeak, spoken, _WORST_AT_FIRST)]
    print(f"{len(own)} of {len(spoken)} prompts aligned; again, with them", flush=True)
    return train([*examples[::2], *own], minutes / 2, network)


def some_of(voice: FestivalVoice, texts_: list[str], chance: random.Random) -> Iterator[Spoken]:
    """So much of one of festival's voices as is wanted."""
    minutes = 0.0
    for one in read_aloud(chance.sample(texts_, min(len(texts_), 80)), voice):
        if len(one.samples) > RATE and minutes < VOICE_MINUTES:
            minutes += len(one.samples) / RATE / 60
            yield one


def played(count: int, sounds: Path) -> Iterator[Spoken]:
    """Music, at full scale."""
    for piece in pieces(count, 77, sounds):
        if (peak := float(np.abs(piece).max())) > 1e-3:
            yield Spoken(piece * np.float32(0.7 / peak), [], "music")


def store(path: Path, spoken: Iterable[Spoken]) -> None:
    """Write recordings as the training reads them, and print how much there is of whom."""
    opus = Opus(OPUS)
    recordings, minutes = [], defaultdict[str, float](float)
    for one in spoken:
        packets = opus.encode(one.samples, BITS_PER_S if one.speaker in PROMPTED else FEWER_BITS_PER_S)
        recordings.append(Recording(one.speaker, one.segments, packets, len(one.samples)))
        minutes[one.speaker] += len(one.samples) / RATE / 60
    viseme_recordings.write(path, recordings)
    print(f"{path.name}: { ({name: round(some, 1) for name, some in minutes.items()}) } minutes", flush=True)


def main() -> None:
    """Read the arguments and write the files."""
    parser = argparse.ArgumentParser(description="Gather what the viseme network is trained on.")
    parser.add_argument("kit", type=Path)
    parser.add_argument("--manuals", type=Path, nargs="+", required=True)
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--russian", type=Path, required=True)
    parser.add_argument("--instruments", type=Path, default=SOUNDS, metavar="SF2")
    parser.add_argument("--minutes", type=float, default=8.0, help="to teach the aligner")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kit, sounds = arguments.kit, arguments.sounds
    shutil.copyfile(OPUS.resolve(), kit / OPUS.name)
    read = texts(arguments.manuals)
    (kit / "texts.json").write_text(json.dumps(read, ensure_ascii=False), encoding="utf-8")
    print({language: len(some) for language, some in read.items()}, flush=True)
    loader = kit / "espeakng_loader"
    espeak = Espeak(loader / "libespeak-ng.so", loader / "espeak-ng-data")
    by_hand = list(russian(arguments.russian))
    examples = synthetic(kit, espeak, read, random.Random(2)) + [example(one) for one in by_hand]
    spoken = [*prompts(sounds, "it", "Carlo"), *prompts(sounds, "ru", "IvrvoiceRU")]
    network = taught(examples, espeak, spoken, arguments.minutes)
    store(kit / "recordings.npz", [*aligned(network, espeak, spoken, _WORST), *by_hand])
    unseen = list(aligned(network, espeak, prompts(sounds, "fr", "June"), _WORST))[:UNSEEN_PROMPTS]
    chance = random.Random(5)
    diphones = [one for voice in VOICES for one in some_of(voice, read[voice.reads], chance)]
    store(kit / "unseen.npz", [*unseen, *diphones])
    store(kit / "music.npz", played(MUSIC_PIECES, arguments.instruments))


if __name__ == "__main__":
    main()
