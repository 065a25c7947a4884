"""How well visemes were named: frame by frame, against speech that was aligned or labelled by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from appliance.avatar.channels import VISEMES
from appliance.values import Float32
from engines.training.viseme_phones import Labels

_OPENINGS = {
    "sil": 0.0,
    "PP": 0.0,
    "FF": 0.08,
    "TH": 0.2,
    "DD": 0.2,
    "kk": 0.25,
    "CH": 0.2,
    "SS": 0.1,
    "nn": 0.2,
    "RR": 0.25,
    "aa": 1.0,
    "E": 0.6,
    "I": 0.35,
    "O": 0.7,
    "U": 0.3,
}
OPENING: Float32 = np.array([_OPENINGS[viseme] for viseme in VISEMES], np.float32)
"""How far the mouth is open, by viseme; only to correlate with."""

CLOSED = tuple(VISEMES.index(viseme) for viseme in ("sil", "PP", "FF"))
_SMOOTHING: Float32 = (np.hanning(11)[1:-1] / np.hanning(11).sum()).astype(np.float32)  # 90 ms, as mouths move


@dataclass(frozen=True, slots=True)
class Scores:
    """Of some speech; all 0..1."""

    accuracy: float  # of frames
    macro_f1: float  # mean over the 15 visemes
    opening: float  # correlation of how far the mouth is open
    closure: float  # share of PP frames at which the lips are shut or nearly: PP, FF or sil
    pp: float  # share of PP frames that are named PP

    def __str__(self) -> str:
        return (
            f"accuracy {self.accuracy:.3f}  macro F1 {self.macro_f1:.3f}  opening {self.opening:.3f}  "
            f"closure {self.closure:.3f} (named PP {self.pp:.3f})"
        )


def score(spoken: Sequence[Labels], named: Sequence[Float32]) -> Scores:
    """Compare the visemes of each sound with visemes x hops of probabilities, the delay already taken out."""
    truth = np.concatenate(spoken)
    probabilities = np.concatenate(named, axis=1)
    guess = probabilities.argmax(axis=0)
    wanted = np.concatenate([np.convolve(OPENING[one], _SMOOTHING, "same") for one in spoken])
    closures = truth == VISEMES.index("PP")
    return Scores(
        accuracy=float(np.mean(truth == guess)),
        macro_f1=float(np.mean([_f1(truth == viseme, guess == viseme) for viseme in range(len(VISEMES))])),
        opening=float(np.corrcoef(wanted, OPENING @ probabilities)[0, 1]),
        closure=float(np.mean(np.isin(guess[closures], CLOSED))) if closures.any() else 0.0,
        pp=float(np.mean(guess[closures] == VISEMES.index("PP"))) if closures.any() else 0.0,
    )


def _f1(
    truth: "np.ndarray[tuple[int], np.dtype[np.bool_]]", guess: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> float:
    hits = float(np.sum(truth & guess))
    return 2 * hits / max(float(np.sum(truth)) + float(np.sum(guess)), 1.0)
