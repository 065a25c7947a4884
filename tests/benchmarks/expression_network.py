"""Times the expression network alone, in ONNX Runtime on one thread: one face, and eight in a batch.

python tests/benchmarks/expression_network.py
"""

import time

import numpy as np
import onnxruntime

from appliance.face.expression_network import OWN_MODEL
from engines.own import own_model, own_model_path

CALLS = 500
WARM = 50


def median_ms(session: onnxruntime.InferenceSession, faces: int) -> float:
    """The median time of one call."""
    rng = np.random.default_rng(1)
    sizes = {name: map(int, shape[1:]) for name, shape in own_model(OWN_MODEL).inputs.items()}
    given = {name: rng.normal(0, 0.5, (faces, *size)).astype(np.float32) for name, size in sizes.items()}
    times_ms = []
    for _ in range(WARM + CALLS):
        began_s = time.perf_counter()
        session.run(None, given)
        times_ms.append((time.perf_counter() - began_s) * 1e3)
    return float(np.median(times_ms[WARM:]))


def main() -> None:
    """Print both and their ratio."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(own_model_path(OWN_MODEL)), options)
    one_ms, eight_ms = median_ms(session, 1), median_ms(session, 8)
    print(f"one face {one_ms:.3f} ms, eight {eight_ms:.3f} ms, {eight_ms / one_ms:.1f} times")


if __name__ == "__main__":
    main()
