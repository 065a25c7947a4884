"""Runs a network on a CPU with ONNX Runtime: where OpenVINO is not, and as the reference of tests."""

from pathlib import Path

import numpy as np
import onnxruntime

from engines.errors import EngineError
from engines.runners import Tensors

_STATE = onnxruntime.capi.onnxruntime_pybind11_state
FAILURES = (_STATE.Fail, _STATE.InvalidArgument, _STATE.InvalidGraph, _STATE.InvalidProtobuf, _STATE.NoSuchFile)


class OnnxRuntimeRunner:
    """One network. A batch is run at once where the network takes one: that costs 0.4 to 0.9 of its samples alone.

    Given as a file, or as the bytes of one. With ``exact`` nothing is fused: each operation runs as it is written.
    """

    def __init__(self, model: Path | bytes, threads: int = 1, exact: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if exact:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except FAILURES as error:
            name = model if isinstance(model, Path) else "a network"
            raise EngineError(f"ONNX Runtime cannot load {name}: {error}") from None
        self._names = [output.name for output in self._session.get_outputs()]
        self._is_open = all(not isinstance(entry.shape[0], int) for entry in self._session.get_inputs())

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run every sample of the batch."""
        batch = len(next(iter(inputs.values())))
        if self._is_open or batch == 1:
            return dict(zip(self._names, self._session.run(self._names, dict(inputs)), strict=True))
        samples = [
            self._session.run(self._names, {name: array[index : index + 1] for name, array in inputs.items()})
            for index in range(batch)
        ]
        outputs = [np.concatenate(parts) for parts in zip(*samples, strict=True)]
        return dict(zip(self._names, outputs, strict=True))
