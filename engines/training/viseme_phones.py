"""From what synthesisers and labellers call the sounds of speech to the 15 visemes, frame by frame.

The road leads over ARPAbet, because the recordings that the network is judged on are labelled so.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from appliance.avatar.channels import VISEMES

Labels = npt.NDArray[np.int8]
Segment = tuple[float, float, str]  # begin and end in seconds, ARPAbet or SIL

HOPS_PER_S = 100
SILENCE = "SIL"

_PHONES_OF = {
    "sil": "SIL",
    "PP": "P B M",
    "FF": "F V",
    "TH": "TH DH",
    "DD": "T D DX",
    "kk": "K G NG",
    "CH": "CH JH SH ZH",
    "SS": "S Z",
    "nn": "N L",
    "RR": "R ER",
    "aa": "AA AH AE AX",
    "E": "EH",
    "I": "IH IX IY Y",
    "O": "AO",
    "U": "UH UW W",
}
_VISEME_OF = {phone: viseme for viseme, phones in _PHONES_OF.items() for phone in phones.split()}
_GLIDES = {"AY": ("AA", "IH"), "AW": ("AA", "UH"), "OY": ("AO", "IH"), "EY": ("EH", "IH"), "OW": ("AO", "UH")}
_FIRST_PART = 0.6  # of a diphthong is its first vowel

PHONES = tuple(phone for phones in _PHONES_OF.values() for phone in phones.split()) + ("HH",)

_IPA = {
    "AA": "ɑ a ɒ ɑ̃ aː",
    "AH": "ɐ ʌ ə ɐ̃ œ̃",
    "AE": "æ ɛ̃",
    "EH": "ɛ e ẽ",
    "IH": "ɪ ᵻ ɨ ʏ̈",
    "IY": "i ĩ",
    "Y": "j ɥ",
    "AO": "ɔ o ø œ ɵ ɔ̃ õ",
    "UH": "ʊ",
    "UW": "u ʉ y ʏ ɯ ũ",
    "W": "w ɰ",
    "ER": "ɚ ɝ ɜ",
    "R": "r ɹ ʁ ʀ ɻ ɽ r̝",
    "L": "l ɫ ʎ ɭ ɬ",
    "N": "n ɲ ɳ n̩",
    "NG": "ŋ",
    "M": "m ɱ",
    "P": "p",
    "B": "b β",
    "F": "f ɸ",
    "V": "v ʋ",
    "TH": "θ",
    "DH": "ð",
    "T": "t ʈ ʔ",
    "D": "d ɖ",
    "DX": "ɾ",
    "K": "k x q c χ",
    "G": "ɡ g ɣ ɟ",
    "CH": "tʃ tɕ tʂ",
    "JH": "dʒ dʑ dʐ",
    "SH": "ʃ ɕ ʂ ç",
    "ZH": "ʒ ʑ ʐ ʝ",
    "S": "s ts",
    "Z": "z dz",
    "HH": "h ɦ ħ",
    "AY": "aɪ",
    "AW": "aʊ",
    "OY": "ɔɪ ɔø ɔʏ",
    "EY": "eɪ",
    "OW": "oʊ əʊ",
}
_ARPABET_OF = {ipa: phone for phone, signs in _IPA.items() for ipa in signs.split()}
_LONGEST = max(map(len, _ARPABET_OF))
_MARKS = dict.fromkeys(map(ord, "ˈˌːˑʲʰ̩̯ʷˠ̪͡ʴ"))
_ENGLISH_ONLY = {"ER": "AH"}  # others' ɜ is no r

_RUSSIAN = {
    "AA": "a aa",
    "AH": "ay",
    "IH": "ae i y ur",
    "IY": "ii yy",
    "EH": "e ee",
    "AO": "oo",
    "UW": "u uu",
    "Y": "j",
    "P": "p pp",
    "B": "b bb",
    "M": "m mm",
    "F": "f ff",
    "V": "v vv",
    "T": "t tt",
    "D": "d dd",
    "S": "s ss c",
    "Z": "z zz",
    "SH": "sh sch",
    "ZH": "zh",
    "CH": "ch",
    "N": "n nn",
    "L": "l ll",
    "R": "r rr",
    "K": "k kk h hh",
    "G": "g gg",
}
_FESTIVAL_RUSSIAN = {name: phone for phone, names in _RUSSIAN.items() for name in names.split()}
_SAMPA = {
    "AA": "a",
    "AH": "ax",
    "AE": "@",
    "EH": "e E",
    "IY": "i",
    "Y": "j",
    "AO": "o O 7",
    "UW": "u y",
    "W": "w",
    "P": "p",
    "B": "b",
    "M": "m",
    "F": "f",
    "V": "v nf",
    "T": "t t~ c~ T",
    "D": "d d~",
    "S": "s c ts",
    "Z": "z dz",
    "SH": "S s~",
    "ZH": "Z z~",
    "CH": "tS",
    "JH": "dZ",
    "N": "n J n~",
    "NG": "N ng n*",
    "L": "l L",
    "R": "r rr r~ r~*",
    "K": "k ch",
    "G": "g",
    "HH": "h",
}
_FESTIVAL_SAMPA = {name: phone for phone, names in _SAMPA.items() for name in names.split()}
_FLITE = {"AXR": "ER", "EL": "L", "EM": "M", "EN": "N", "NX": "N", "HV": "HH", "UX": "UW"}


def from_ipa(signs: str, english: bool) -> list[str]:
    """ARPAbet of one phoneme as espeak-ng writes it; empty for pauses and what is not known."""
    rest, phones = signs.translate(_MARKS), []
    while rest:
        length = next((count for count in range(_LONGEST, 0, -1) if rest[:count] in _ARPABET_OF), 0)
        if length:
            phone = _ARPABET_OF[rest[:length]]
            phones.append(phone if english else _ENGLISH_ONLY.get(phone, phone))
        rest = rest[max(length, 1) :]
    return phones


def from_flite(name: str) -> str:
    """ARPAbet of one of flite's or festival's American phones; what is not known is silence."""
    phone = _FLITE.get(name.upper(), name.upper())
    return phone if phone in _VISEME_OF or phone in _GLIDES or phone == "HH" else SILENCE


def from_sampa(name: str) -> str:
    """ARPAbet of one phone of festival's Italian, Czech, Finnish or Catalan; what is not known is silence."""
    return _FESTIVAL_SAMPA.get(name.rstrip("1:"), SILENCE)


def from_russian(name: str) -> str:
    """ARPAbet of one phone of festival's Russian voice; what is not known is silence."""
    return _FESTIVAL_RUSSIAN.get(name, SILENCE)


def single(segments: Sequence[Segment]) -> list[Segment]:
    """Each diphthong as its two vowels; every phone is then one of ``PHONES``."""
    parts: list[Segment] = []
    for begin_s, end_s, phone in segments:
        if phone in _GLIDES:
            middle_s = begin_s + (end_s - begin_s) * _FIRST_PART
            parts += [(begin_s, middle_s, _GLIDES[phone][0]), (middle_s, end_s, _GLIDES[phone][1])]
        else:
            parts.append((begin_s, end_s, phone))
    return parts


def visemes(segments: Sequence[Segment]) -> list[tuple[float, float, str]]:
    """Begin and end in seconds, and the viseme; H has the mouth of what follows it."""
    parts = single(segments)
    after = [phone for _, _, phone in parts[1:]] + [SILENCE]
    return [
        (begin_s, end_s, _VISEME_OF.get(following if phone == "HH" else phone, "sil"))
        for (begin_s, end_s, phone), following in zip(parts, after, strict=True)
    ]


def labels(segments: Sequence[Segment], hops: int) -> Labels:
    """The viseme in the middle of each 10 ms hop, as its place in ``VISEMES``; silence where no segment is."""
    frames = np.zeros(hops, np.int8)
    for begin_s, end_s, viseme in visemes(segments):
        frames[_hop(begin_s) : _hop(end_s)] = VISEMES.index(viseme)
    return frames


def phone_labels(segments: Sequence[Segment], hops: int) -> Labels:
    """The phone in the middle of each 10 ms hop, as its place in ``PHONES``."""
    frames = np.zeros(hops, np.int8)
    for begin_s, end_s, phone in single(segments):
        frames[_hop(begin_s) : _hop(end_s)] = PHONES.index(phone)
    return frames


def _hop(time_s: float) -> int:
    return max(int(np.ceil(time_s * HOPS_PER_S - 0.5)), 0)
