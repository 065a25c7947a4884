"""What the person in the demo clip does, and when: the truth that the product is measured against."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.floating[Any]]

FPS = 30
LENGTH_S = 30.0
FRAMES = round(FPS * LENGTH_S)
SPEECH_AT_S = 11.0

Move = tuple[float, float, float, float, float]
"""Start, attack, hold and release in seconds, and the level held."""

BLINK_S = (0.1, 0.1, 0.17)  # attack, hold, release
BOTH_EYES = (2.2, 5.6, 8.2, 12.6, 15.4, 18.4, 20.6, 24.0, 26.6, 29.2)
BOTH_EYES_LONG: tuple[Move, ...] = ((3.1, 0.15, 0.4, 0.2, 1.0), (21.7, 0.2, 0.5, 0.25, 1.0))
WINKS_LEFT: tuple[Move, ...] = ((4.0, 0.13, 0.35, 0.2, 1.0), (10.3, 0.12, 0.25, 0.2, 1.0))
WINKS_RIGHT: tuple[Move, ...] = ((4.8, 0.13, 0.35, 0.2, 1.0), (23.2, 0.12, 0.3, 0.2, 1.0))
SMILES: tuple[Move, ...] = ((6.2, 0.5, 1.3, 0.6, 1.0), (20.0, 0.6, 2.6, 0.7, 1.0), (25.7, 0.4, 0.6, 0.5, 0.8))
JAWS: tuple[Move, ...] = (
    (8.6, 0.25, 0.2, 0.25, 0.55),
    (9.5, 0.3, 0.5, 0.3, 1.0),
    (21.0, 0.3, 0.4, 0.3, 0.9),
    (22.6, 0.25, 0.3, 0.25, 0.6),
)
BROWS: tuple[Move, ...] = ((9.5, 0.25, 0.5, 0.4, 1.0), (13.1, 0.2, 0.5, 0.4, 0.7), (17.3, 0.2, 0.4, 0.4, 0.8))
ROLLS: tuple[Move, ...] = (
    (7.3, 0.6, 0.3, 0.6, -7.0),
    (12.9, 0.8, 0.6, 0.9, -5.0),
    (16.2, 0.7, 0.5, 0.8, 6.0),
    (20.6, 0.7, 0.5, 0.7, 14.0),
    (22.6, 0.7, 0.4, 0.7, -14.0),
)
SHIFTS_X: tuple[Move, ...] = (
    (14.9, 1.0, 0.6, 1.0, 90.0),
    (18.0, 0.9, 0.5, 0.9, -110.0),
    (24.4, 0.8, 0.4, 0.8, -1180.0),
    (27.0, 0.8, 0.4, 0.8, 1180.0),
)
SHIFTS_Y: tuple[Move, ...] = ((7.4, 0.5, 0.6, 0.6, 28.0), (16.8, 0.7, 0.5, 0.7, -22.0))
SCALES: tuple[Move, ...] = ((13.6, 1.1, 0.7, 1.1, 0.12), (18.2, 1.0, 0.6, 1.0, -0.14))
TURNS: tuple[Move, ...] = ((5.3, 0.5, 0.3, 0.5, 0.8), (14.9, 0.8, 0.6, 0.8, -1.0), (18.0, 0.8, 0.5, 0.8, 1.0))
NODS: tuple[Move, ...] = ((11.2, 0.25, 0.05, 0.3, 0.9), (17.0, 0.3, 0.1, 0.4, 0.8))

# How far each viseme opens the jaw, closes the lips and rounds them, 0..1.
MOUTH_OF = {
    "sil": (0.0, 0.0, 0.0),
    "PP": (0.04, 1.0, 0.1),
    "FF": (0.08, 0.6, 0.0),
    "TH": (0.18, 0.0, 0.0),
    "DD": (0.2, 0.0, 0.0),
    "kk": (0.28, 0.0, 0.0),
    "CH": (0.16, 0.0, 0.7),
    "SS": (0.1, 0.0, 0.0),
    "nn": (0.18, 0.0, 0.0),
    "RR": (0.2, 0.0, 0.5),
    "aa": (0.66, 0.0, 0.0),
    "E": (0.42, 0.0, 0.0),
    "I": (0.3, 0.0, 0.0),
    "O": (0.5, 0.0, 0.9),
    "U": (0.24, 0.0, 1.0),
}
CLOSURE_LEAD_S = 0.03  # the lips meet before the burst that espeak-ng marks
LIPS_SMOOTHING_S = 0.03


@dataclass(frozen=True, slots=True)
class Timeline:
    """Every channel, one value a frame. Left and right are the person's own.

    The first block is the truth that is stored; ``close`` (lips, on top of ``jawOpen``), ``round``, ``turn`` and
    ``nod`` only make the figure livelier. Roll is positive counter-clockwise as seen in the picture, degrees;
    shifts are pixels of the picture, x to the right and y down; scale is 1 at rest; all others run 0..1.
    """

    jawOpen: Series
    eyeBlinkLeft: Series
    eyeBlinkRight: Series
    mouthSmile: Series
    browUp: Series
    roll_deg: Series
    shift_x_px: Series
    shift_y_px: Series
    scale: Series
    close: Series
    round: Series
    turn: Series
    nod: Series

    def at(self, frame: int) -> dict[str, float]:
        """Return every channel's value in one frame."""
        return {field.name: float(getattr(self, field.name)[frame]) for field in fields(self)}


def moves(times_s: Series, wanted: Iterable[Move]) -> Series:
    """Return the sum of smooth rises and falls (raised cosines) at the given times."""
    total = np.zeros_like(times_s)
    for start_s, attack_s, hold_s, release_s, level in wanted:
        up = np.clip((times_s - start_s) / attack_s, 0, 1)
        down = np.clip((times_s - start_s - attack_s - hold_s) / release_s, 0, 1)
        total += level * (np.cos(np.pi * down) - np.cos(np.pi * up)) / 2
    return total


def spoken(times_s: Series, speech: Path) -> tuple[Series, Series, Series]:
    """Return jaw, lip closure and rounding for the phonemes of ``speech.json``, smoothed as lips are slow."""
    fine_s = np.arange(0, LENGTH_S, 0.005, dtype=np.float32)
    shape = np.zeros((3, len(fine_s)), np.float32)
    for start_s, end_s, _, viseme in json.loads(speech.read_text(encoding="utf-8"))["phonemes"]:
        lead_s = CLOSURE_LEAD_S if viseme == "PP" else 0.0
        inside = (fine_s >= start_s + SPEECH_AT_S - lead_s) & (fine_s < end_s + SPEECH_AT_S)
        shape[:, inside] = np.array(MOUTH_OF[viseme], np.float32)[:, None]
    reach = np.arange(-20, 21) * 0.005
    kernel = np.exp(-((reach / LIPS_SMOOTHING_S) ** 2) / 2)
    jaw, close, rounding = (
        np.interp(times_s, fine_s, np.convolve(row, kernel / kernel.sum(), "same")).astype(np.float32) for row in shape
    )
    return jaw, close, rounding


def build_timeline(speech: Path) -> Timeline:
    """Return the whole clip; the first two seconds and the last moments rest, so it loops."""
    t = np.arange(FRAMES, dtype=np.float32) / FPS
    both = [(start_s, *BLINK_S, 1.0) for start_s in BOTH_EYES] + list(BOTH_EYES_LONG)
    jaw, close, rounding = spoken(t, speech)
    alive = moves(t, [(2.0, 1.5, LENGTH_S - 5.0, 1.5, 1.0)])
    sway = 2 * np.pi * t / LENGTH_S  # whole turns over the clip, so that it loops
    return Timeline(
        jawOpen=np.clip(jaw + moves(t, JAWS), 0, 1),
        eyeBlinkLeft=np.clip(moves(t, both + list(WINKS_LEFT)), 0, 1),
        eyeBlinkRight=np.clip(moves(t, both + list(WINKS_RIGHT)), 0, 1),
        mouthSmile=np.clip(moves(t, SMILES), 0, 1),
        browUp=np.clip(moves(t, BROWS), 0, 1),
        roll_deg=moves(t, ROLLS) + alive * 0.8 * np.sin(5 * sway),
        shift_x_px=moves(t, SHIFTS_X) + alive * 3 * np.sin(4 * sway),
        shift_y_px=moves(t, SHIFTS_Y) + alive * 2 * np.sin(7 * sway),
        scale=1 + moves(t, SCALES) + alive * 0.004 * np.sin(6 * sway),
        close=close,
        round=rounding,
        turn=moves(t, TURNS) + alive * 0.1 * np.sin(3 * sway),
        nod=moves(t, NODS),
    )
