"""Music of real instruments: pieces that chance composes, played by a sampler. Nobody speaks in it.

Needs the program ``fluidsynth`` and the General MIDI sounds of Debian's fluid-soundfont-gm (MIT licence).
"""

import random
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from appliance.listening.blocks import RATE
from appliance.values import Float32
from engines.training.viseme_festival import read_wav

SOUNDS = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
_TICKS = 480  # a beat
_BARS = 24  # of four beats
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 7, 9))
_DRUMS = 9  # the channel
_MELODIC = tuple(range(112))  # General MIDI's instruments, choirs among them, without its noises
_BASSES = tuple(range(32, 40))

Event = tuple[int, bytes]  # at a tick


def compose(chance: random.Random) -> bytes:
    """A MIDI file: chords, bass, one or two tunes and drums, or some of them."""
    scale, root = chance.choice(_SCALES), chance.randint(45, 56)
    degrees = [chance.randrange(len(scale)) for _ in range(chance.choice((2, 4, 4, 8)))]
    events: list[Event] = [(0, b"\xff\x51\x03" + struct.pack(">I", int(60e6 / chance.uniform(60, 170)))[1:])]
    parts = chance.sample(("chords", "arpeggio", "bass", "tune", "second", "drums"), chance.randint(1, 6))
    for channel, part in enumerate(parts):
        if part == "drums":
            events += _beat(chance)
            continue
        instrument = chance.choice(_BASSES if part == "bass" else _MELODIC)
        loudness = chance.randint(50, 120)
        events += [(0, bytes((0xC0 | channel, instrument))), (0, bytes((0xB0 | channel, 7, loudness)))]
        if part in ("tune", "second"):
            events += _tune(chance, channel, scale, root + 12)
        else:
            events += _harmony(chance, channel, part, [_chord(scale, root, degree) for degree in degrees])
    return _file(events)


def _chord(scale: tuple[int, ...], root: int, degree: int) -> list[int]:
    steps = (degree, degree + 2, degree + 4)
    return [root + scale[step % len(scale)] + 12 * (step // len(scale)) for step in steps]


def _harmony(chance: random.Random, channel: int, part: str, chords: list[list[int]]) -> Iterator[Event]:
    """One chord a bar: held, one note after the other, or its lowest."""
    each = {"chords": chance.choice((1, 2, 4)), "arpeggio": chance.choice((8, 16)), "bass": chance.choice((2, 4, 8))}[
        part
    ]
    length = 4 * _TICKS // each
    for bar in range(_BARS):
        chord = chords[bar % len(chords)]
        for place in range(each):
            keys = {"chords": chord, "arpeggio": [chord[place % 3] + 12], "bass": [chord[0] - 12]}[part]
            for key in keys:
                yield from _note(channel, key, (bar * each + place) * length, length, chance.randint(60, 110))


def _tune(chance: random.Random, channel: int, scale: tuple[int, ...], root: int) -> Iterator[Event]:
    """Steps up and down a scale, with rests and bends."""
    tick, step, last = 0, chance.randrange(7), _BARS * 4 * _TICKS
    shortest = chance.choice((_TICKS // 4, _TICKS // 2, _TICKS))
    while tick < last:
        length = shortest * chance.choice((1, 1, 2, 2, 3, 4))
        step = min(max(step + chance.randint(-3, 3), -5), 12)
        if chance.random() < 0.85:
            key = root + scale[step % len(scale)] + 12 * (step // len(scale))
            if chance.random() < 0.2:  # slides into the note
                for part in range(8):
                    bend = 8192 - 1024 * (8 - part) // 2
                    yield tick + part * length // 32, bytes((0xE0 | channel, bend & 127, bend >> 7))
                yield tick + length // 4, bytes((0xE0 | channel, 0, 64))
            yield from _note(channel, key, tick, length, chance.randint(60, 120))
        tick += length


def _beat(chance: random.Random) -> Iterator[Event]:
    """One bar of drums, over and over."""
    bar = [(place, key) for key in (36, 38, 42, 46, 39, 54, 70) for place in range(16) if chance.random() < 0.2]
    for number in range(_BARS):
        for place, key in bar:
            tick = (16 * number + place) * _TICKS // 4
            yield from _note(_DRUMS, key, tick, _TICKS // 8, chance.randint(60, 120))


def _note(channel: int, key: int, tick: int, length: int, loudness: int) -> Iterator[Event]:
    yield tick, bytes((0x90 | channel, min(max(key, 0), 127), loudness))
    yield tick + length, bytes((0x80 | channel, min(max(key, 0), 127), 0))


def _file(events: list[Event]) -> bytes:
    """Standard MIDI, one track."""
    track, before = bytearray(), 0
    for tick, event in sorted(events, key=lambda one: one[0]):
        track += _number(tick - before) + event
        before = tick
    track += b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, _TICKS) + b"MTrk" + struct.pack(">I", len(track)) + bytes(track)


def _number(value: int) -> bytes:
    """Seven bits a byte, the highest first."""
    digits = [value & 127]
    while value := value >> 7:
        digits.append(value & 127 | 128)
    return bytes(reversed(digits))


def pieces(count: int, seed: int, sounds: Path = SOUNDS) -> Iterator[Float32]:
    """So many pieces of a minute or so, 16 kHz mono."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        midi, wav, mono = (Path(folder) / name for name in ("piece.mid", "piece.wav", "mono.wav"))
        for _ in range(count):
            midi.write_bytes(compose(chance))
            play = ["fluidsynth", "-ni", "-q", "-r", "44100", "-F", str(wav), str(sounds), str(midi)]
            subprocess.run(play, capture_output=True, check=True)
            fold = ["ffmpeg", "-v", "error", "-y", "-i", str(wav), "-ar", str(RATE), "-ac", "1", str(mono)]
            subprocess.run(fold, check=True)
            yield read_wav(mono)
