"""Holds the mouth of a voice alone against what ARKit measured of a speaker: Live Link Face's CSV, and its sound.

python tests/benchmarks/against_arkit.py take.csv take.wav
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance.avatar.channels import BLENDSHAPES
from appliance.avatar.compose import Avatar
from appliance.avatar.visemes import SPOKEN
from appliance.daemon import open_viseme_network
from appliance.listening.hearing import Hearing
from appliance.listening.recordings import wav_blocks
from appliance.settings import Avatar as AvatarSettings
from appliance.settings import Settings
from appliance.values import Sound

BEGIN_NS, BLOCK_NS = 10**9, 10_000_000
FPS = 60
EDGE_S = 0.3  # of the take, which does not count
LAGS_S = np.arange(-0.2, 0.21, 0.01)
MOVES = 0.01  # a channel that stays below says nothing

Series = npt.NDArray[np.float64]


def measured(path: Path) -> dict[str, Series]:
    """What ARKit measured, by our names, one value a picture."""
    with path.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return {name: np.array([float(row[name[0].upper() + name[1:]]) for row in rows]) for name in BLENDSHAPES}


def spoken(path: Path) -> tuple[Series, Series]:
    """When each mouth is, in seconds of the sound, and the mouths: moments x 52."""
    hearing, avatar = Hearing("mic0", open_viseme_network(Settings())), Avatar(AvatarSettings(), [])
    times_s, mouths = [], []
    for index, samples in enumerate(wav_blocks(path), start=1):
        voice = hearing.hear(Sound("mic0", samples, BEGIN_NS + index * BLOCK_NS))
        for state in avatar.compose([], {"mic0": voice}):
            if voice.speech is not None:
                times_s.append((voice.speech.sure_ns - BEGIN_NS) / 1e9)
                mouths.append(state.blendshapes)
    return np.array(times_s), np.array(mouths, np.float64)


def correlation(times_s: Series, ours: Series, theirs: Series, lag_s: float) -> float:
    """Pearson's, ours moved later by a lag."""
    at_s = np.arange(len(theirs)) / FPS
    counts = (at_s > EDGE_S) & (at_s < at_s[-1] - EDGE_S)
    return float(np.corrcoef(np.interp(at_s, times_s + lag_s, ours)[counts], theirs[counts])[0, 1])


def main() -> None:
    """Print one line a shape that moves: correlation, and how far both go."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", type=Path)
    parser.add_argument("wav", type=Path)
    arguments = parser.parse_args()
    theirs, (times_s, ours) = measured(arguments.csv), spoken(arguments.wav)
    jaw = ours[:, BLENDSHAPES.index("jawOpen")]
    lag_s = max(LAGS_S, key=lambda lag_s: correlation(times_s, jaw, theirs["jawOpen"], float(lag_s)))
    print(f"jawOpen agrees best when ours is moved later by {1000 * lag_s:.0f} ms; without that:")
    for index in SPOKEN:
        name, mouth = BLENDSHAPES[index], ours[:, index]
        if min(np.percentile(mouth, 95), np.percentile(theirs[name], 95)) > MOVES:
            far = f"{np.percentile(mouth, 95):.2f}, theirs {np.percentile(theirs[name], 95):.2f}"
            print(f"{name:20} {correlation(times_s, mouth, theirs[name], 0.0):5.2f}, in 95 of 100 up to {far}")


if __name__ == "__main__":
    main()
