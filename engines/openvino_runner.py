"""Runs a network on a CPU with OpenVINO."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engines.errors import EngineError
from engines.runners import Tensors

# Imported, OpenVINO would report its use to Google Analytics and keep a number for it in the home directory. It goes
# without where this package cannot be imported, and None is how Python is told so.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # typed as modules only, None is documented

import openvino  # noqa: E402  # after the line above, or it reports at once

# To copy a face's pixels costs 5 % of the landmark network; to share a few numbers costs more than to copy them.
_SMALL_BYTES = 65536


class OpenVinoRunner:
    """One network, compiled for one sample and for the batches that may come, all before the first frame.

    A batch of 2 to 8 takes 0.4 to 0.7 of the time of its samples alone; a network of open shapes takes 1.4 of the
    time for one. So there is one of fixed shape for each power of two up to ``largest_batch``, and other batches
    are put together from these.
    """

    def __init__(self, path: Path, threads: int = 1, largest_batch: int = 1) -> None:
        core = openvino.Core()
        try:
            model = core.read_model(path)
            is_open = all(port.partial_shape[0].is_dynamic for port in model.inputs)
            sizes = [1 << power for power in range(largest_batch.bit_length())] if is_open else [1]
            self._sized = {size: _OfOneSize(core, path, size, threads) for size in reversed(sizes)}
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot load {path}: {str(error).strip().splitlines()[-1]}") from None

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run every sample of the batch; outputs are views that hold until the next call."""
        batch = len(next(iter(inputs.values())))
        if batch in self._sized:
            return self._sized[batch](inputs, 0)
        parts: list[Tensors] = []
        start = 0
        while start < batch:
            size = next(size for size in self._sized if size <= batch - start)
            parts.append({name: output.copy() for name, output in self._sized[size](inputs, start).items()})
            start += size
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _OfOneSize:
    """The network for one size of batch, with its output buffers."""

    def __init__(self, core: openvino.Core, path: Path, size: int, threads: int) -> None:
        model = core.read_model(path)
        model.reshape({port.any_name: [size, *list(port.partial_shape)[1:]] for port in model.inputs})
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": "f32",
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._size = size
        self._request = compiled.create_infer_request()
        self._inputs = _names(model.inputs)
        own = [self._request.get_input_tensor(port) for port in range(len(self._inputs))]
        self._copied = {port: tensor.data for port, tensor in enumerate(own) if tensor.byte_size <= _SMALL_BYTES}
        self._outputs = {
            name: self._request.get_output_tensor(index).data for index, name in enumerate(_names(model.outputs))
        }

    def __call__(self, inputs: Tensors, start: int) -> Tensors:
        for port, name in enumerate(self._inputs):
            given = inputs[name][start : start + self._size]
            if port in self._copied:
                np.copyto(self._copied[port], given)
                continue
            shared = openvino.Tensor(np.ascontiguousarray(given), shared_memory=True)
            self._request.set_input_tensor(port, shared)
        self._request.infer()
        return self._outputs


def _names(ports: Sequence[openvino.Output]) -> list[str]:
    """The file's own names; a compiled network's ports have also the names of what was folded away."""
    return [str(port.any_name) for port in ports]
