"""Speech of festival's voices: diphones and models of real throats, whose phones are timed. For choosing, not teaching.

Needs the program ``festival`` and Debian's festvox-italp16k, -itapc16k, -czech-{dita,machac,krb,ph}, -suopuhe-{lj,mv},
-ca-ona-hts, -te-nsk, -kdlpc16k. What diphones say holds pieces of their recordings, and most of these are under the
GPL: so they are held out, and no weight comes from them.
"""

import subprocess
import tempfile
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.listening.blocks import from_pcm
from appliance.values import Float32
from engines.training.viseme_phones import Segment, from_flite, from_sampa
from engines.training.viseme_voices import Spoken, at_16_khz


@dataclass(frozen=True, slots=True)
class FestivalVoice:
    """One voice, what it reads, and what its phones are called."""

    order: str
    name: str
    reads: str  # a language of ``texts.json``
    encoding: str
    arpabet: Callable[[str], str]


VOICES = (
    FestivalVoice("voice_lp_diphone", "it lp", "it", "iso-8859-1", from_sampa),
    FestivalVoice("voice_pc_diphone", "it pc", "it", "iso-8859-1", from_sampa),
    FestivalVoice("voice_czech_dita", "cs dita", "cs", "iso-8859-2", from_sampa),
    FestivalVoice("voice_czech_machac", "cs machac", "cs", "iso-8859-2", from_sampa),
    FestivalVoice("voice_czech_krb", "cs krb", "cs", "iso-8859-2", from_sampa),
    FestivalVoice("voice_czech_ph", "cs ph", "cs", "iso-8859-2", from_sampa),
    FestivalVoice("voice_suo_fi_lj_diphone", "fi lj", "fi", "iso-8859-1", from_sampa),
    FestivalVoice("voice_hy_fi_mv_diphone", "fi mv", "fi", "iso-8859-1", from_sampa),
    FestivalVoice("voice_upc_ca_ona_hts", "ca ona", "es", "iso-8859-1", from_sampa),
    FestivalVoice("voice_telugu_NSK_diphone", "en nsk", "en", "ascii", from_flite),
    FestivalVoice("voice_ked_diphone", "en ked", "en", "ascii", from_flite),
)
"""Four women, a child and six men. The Telugu voice reads English."""


def read_aloud(texts: list[str], voice: FestivalVoice) -> Iterator[Spoken]:
    """Let a voice read sentences; what it cannot read is left out."""
    with tempfile.TemporaryDirectory() as folder:
        orders = [f"({voice.order})"]
        for number, text in enumerate(texts):
            plain = text.replace("\\", "").replace('"', "")
            orders.append(f'(set! said (SynthText "{plain}"))')
            orders.append(f'(utt.save.wave said "{folder}/{number}.wav")(utt.save.segs said "{folder}/{number}.lab")')
        subprocess.run(
            ["festival", "--pipe"], input="\n".join(orders).encode(voice.encoding, "ignore"), capture_output=True
        )
        for number in range(len(texts)):
            wav, lab = Path(folder) / f"{number}.wav", Path(folder) / f"{number}.lab"
            if wav.is_file() and lab.is_file():
                yield Spoken(read_wav(wav), labelled(lab, voice.arpabet), voice.name)


def read_wav(path: Path) -> Float32:
    """16 kHz mono."""
    with wave.open(str(path)) as wav:
        return at_16_khz(from_pcm(wav.readframes(wav.getnframes()), 2, 1)[:, 0], wav.getframerate())


def labelled(label: Path, arpabet: Callable[[str], str]) -> list[Segment]:
    """Lines of the end of a phone in seconds, anything, and its name."""
    segments: list[Segment] = []
    begin_s = 0.0
    for line in label.read_text(encoding="latin-1").splitlines():
        if len(fields := line.split()) == 3:
            segments.append((begin_s, float(fields[0]), arpabet(fields[2])))
            begin_s = float(fields[0])
    return segments
