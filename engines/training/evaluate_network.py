"""The expression network by itself: what eight bits cost it, and what time it takes.

    python -m engines.training.evaluate_network BANK

finds, on what ``engines.training.expression_bank`` wrote of the clips for training, which of its nodes must stay in
16 bits for the rest to agree with FP32 at 0.99: one clip in two gives the ranges, the others the agreement. What it
says belongs into the network's manifest as ``keep_fp16``.
"""

import argparse
import logging
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from appliance.face.expression_network import OWN_MODEL, own_network
from appliance.values import Float32
from engines.own import own_model, own_model_path
from engines.runners import Tensors
from engines.training.evaluate_agreement import agreement, shown

WANTED = 0.99
MOST_PICTURES = 512  # that give the ranges
PERCENTILE = 99.99
_HEAVY = ("Conv", "Gemm", "MatMul")
_EIGHT_BITS: dict[str, Any] = {
    "quant_format": QuantFormat.QDQ,
    "op_types_to_quantize": list(_HEAVY),
    "per_channel": True,
    "activation_type": QuantType.QInt8,
    "weight_type": QuantType.QInt8,
    "calibrate_method": CalibrationMethod.Percentile,
    "extra_options": {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": list(_HEAVY),
        "CalibPercentile": PERCENTILE,
    },
}
_ROUNDS, _CALLS = 10, 50


class Ranges(CalibrationDataReader):
    """Hands the quantiser one picture after the other."""

    def __init__(self, inputs: Tensors) -> None:
        count = len(next(iter(inputs.values())))
        chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_PICTURES)).astype(int))
        self._rows = iter([{name: values[row : row + 1] for name, values in inputs.items()} for row in chosen])

    def get_next(self) -> Mapping[str, npt.NDArray[np.float32]] | None:
        """The next picture's inputs; ``None`` at the end."""
        return next(self._rows, None)


def plain(path: Path) -> onnx.ModelProto:
    """The network with its weights in 32 bits, and each node named by its first output."""
    model = onnx.load(str(path))
    graph = model.graph
    stored = {constant.name: constant for constant in graph.initializer}
    for node in list(graph.node):
        node.name = node.output[0]
        if node.op_type == "Cast" and node.input[0] in stored:
            values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            graph.initializer.remove(stored[node.input[0]])
            graph.node.remove(node)
    return model


def heavy(model: onnx.ModelProto) -> list[str]:
    """The nodes that eight bits are for, in their order."""
    return [node.name for node in model.graph.node if node.op_type in _HEAVY]


def quantised(model: onnx.ModelProto, ranges: Tensors, kept: Collection[str]) -> onnx.ModelProto:
    """The network with Q/DQ before every heavy node that is not kept: symmetric, a scale for each output channel."""
    with TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, str(before))
        with redirect_stdout(None), _without_advice():  # the quantiser tells what it does, and advises at length
            quantize_static(str(before), str(after), Ranges(ranges), nodes_to_exclude=list(kept), **_EIGHT_BITS)
        return onnx.load(str(after))


@contextmanager
def _without_advice() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def run(model: onnx.ModelProto, inputs: Tensors) -> Float32:
    """The weights, n x 52. Nothing is fused, so that eight bits are simulated as they are written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    count = len(next(iter(inputs.values())))
    parts = [
        session.run(None, {name: values[first : first + 64] for name, values in inputs.items()})[0]
        for first in range(0, count, 64)
    ]
    return np.concatenate(parts)


def int8_agreement(model: onnx.ModelProto, ranges: Tensors, inputs: Tensors, kept: Collection[str]) -> float:
    """The mean correlation of the network in eight bits with itself, over the shapes that it fires."""
    return float(np.nanmean(agreement(run(quantised(model, ranges, kept), inputs), run(model, inputs)).correlation))


def nodes_to_keep(model: onnx.ModelProto, ranges: Tensors, inputs: Tensors) -> tuple[list[str], float]:
    """The fewest nodes found that must stay in 16 bits, the most rewarding first, and the agreement then."""
    kept: list[str] = []
    reached = int8_agreement(model, ranges, inputs, kept)
    print(f"all in eight bits: {reached:.4f}", flush=True)
    while reached < WANTED and len(kept) < len(heavy(model)):
        tried = {
            node: int8_agreement(model, ranges, inputs, [*kept, node]) for node in heavy(model) if node not in kept
        }
        best = max(tried, key=lambda node: tried[node])
        kept, reached = [*kept, best], tried[best]
        print(f"with {best} in 16 bits: {reached:.4f}", flush=True)
    return kept, reached


def call_ms(path: Path, faces: int) -> float:
    """The time of one call for a batch of faces, in ONNX Runtime on one core.

    The lowest of several medians: what else runs on a machine only adds to it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    given = {
        port.name: rng.normal(0, 0.5, (faces, *port.shape[1:])).astype(np.float32) for port in session.get_inputs()
    }
    medians_s = []
    for _ in range(_ROUNDS):
        times_s = []
        for _ in range(_CALLS):
            began_s = time.perf_counter()
            session.run(None, given)
            times_s.append(time.perf_counter() - began_s)
        medians_s.append(float(np.median(times_s)))
    return min(medians_s) * 1e3


def main() -> None:
    """Print the nodes to keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    arguments = parser.parse_args()
    with np.load(arguments.bank, allow_pickle=False) as bank:
        odd = np.searchsorted(np.unique(bank["clip"]), bank["clip"]) % 2 == 1
        inputs = shown(own_network(own_model(OWN_MODEL).inputs), bank["own_px"], bank["pictures"])
    ranges, held = ({name: values[rows] for name, values in inputs.items()} for rows in (~odd, odd))
    kept, reached = nodes_to_keep(plain(own_model_path(OWN_MODEL)), ranges, held)
    print(f"keep_fp16 nodes = {kept}: {reached:.4f}")


if __name__ == "__main__":
    main()
