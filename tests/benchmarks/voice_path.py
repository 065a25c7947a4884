"""Times every stage of listening on one thread, a block of 10 ms at a time, and what it adds to resident memory.

python tests/benchmarks/voice_path.py
python tests/benchmarks/voice_path.py --runner openvino
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from appliance.avatar.visemes import articulate
from appliance.demo.clip import SPEECH_WAV
from appliance.face.expression_network import OWN_MODEL
from appliance.listening.features import features
from appliance.listening.hearing import Hearing
from appliance.listening.pitch import TAIL_SAMPLES, pitch_hz
from appliance.listening.recordings import wav_blocks
from appliance.listening.viseme_network import MODEL, VisemeNetwork
from appliance.listening.voice import VoiceState, hear
from appliance.values import Float32, Sound
from engines.opening import open_runner
from engines.own import own_model, own_model_path

ROUNDS = 3


def resident_mb() -> float:
    """What this process takes now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


def median_ms(step: Callable[[Float32], object], blocks: list[Float32]) -> float:
    """The median time of one step over the demo's speech."""
    times_ms = []
    for block in blocks * ROUNDS:
        began_s = time.perf_counter()
        step(block)
        times_ms.append((time.perf_counter() - began_s) * 1e3)
    return float(np.median(times_ms))


def main() -> None:
    """Print one line a stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runner", default="onnxruntime", choices=("onnxruntime", "openvino"))
    runner = parser.parse_args().runner
    blocks = list(wav_blocks(SPEECH_WAV))
    _faces = open_runner(own_model_path(OWN_MODEL), runner)  # so the library is there: it does not count
    before_mb = resident_mb()
    hearing = Hearing("mic0", VisemeNetwork(open_runner(own_model_path(MODEL), runner), own_model(MODEL).inputs))
    voices = [hearing.hear(Sound("mic0", block, 10_000_000 * (index + 100))) for index, block in enumerate(blocks)]
    after_mb = resident_mb()
    network = VisemeNetwork(open_runner(own_model_path(MODEL), runner), own_model(MODEL).inputs)
    tail: Float32 = np.zeros(TAIL_SAMPLES, np.float32)
    state, speech = VoiceState(), voices[200].speech
    for block in blocks:
        state, _, _ = hear(state, block)
    assert speech is not None
    stages: dict[str, Callable[[Float32], object]] = {
        "voice activity": lambda block: hear(state, block),
        "pitch": lambda block: pitch_hz(np.concatenate([tail, block])),
        "features": lambda block: features(None, block),
        "features and network": network.name,
        "all of listening": lambda block: hearing.hear(Sound("mic0", block, 0)),
        "mouth": lambda _: articulate(speech, speech.sure_ns),
    }
    for name, step in stages.items():
        print(f"{name}: {median_ms(step, blocks):.3f} ms")
    print(f"resident memory: {after_mb - before_mb:.1f} MB more ({runner})")


if __name__ == "__main__":
    main()
