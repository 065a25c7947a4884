"""Runs a network on a CPU with OpenVINO."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engines.errors import EngineError
from engines.runners import Tensors

# Imported, OpenVINO would report its use to Google Analytics and keep a number for it in the home directory. It goes
# without where this package cannot be imported, and None is how Python is told so.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # "dict of modules" leaves out this documented use

import openvino  # noqa: E402  # what must not be there is known only from here on

# To copy a face's pixels costs 5 % of the landmark network; to share a few numbers costs more than to copy them.
_SMALL_BYTES = 65536


class OpenVinoRunner:
    """One network for one sample, with its output buffers, all allocated before the first frame.

    A batch does not pay on a CPU, so its samples run one after the other.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        core = openvino.Core()
        try:
            model = core.read_model(path)
            model.reshape({port.any_name: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
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
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot load {path}: {str(error).strip().splitlines()[-1]}") from None
        self._request = compiled.create_infer_request()
        self._inputs = _names(model.inputs)
        own = [self._request.get_input_tensor(port) for port in range(len(self._inputs))]
        self._copied = {port: tensor.data for port, tensor in enumerate(own) if tensor.byte_size <= _SMALL_BYTES}
        self._outputs = {
            name: self._request.get_output_tensor(index).data for index, name in enumerate(_names(model.outputs))
        }

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run every sample of the batch; one sample's outputs are views that hold until the next call."""
        batch = len(next(iter(inputs.values())))
        if batch == 1:
            return self._run(inputs, 0)
        samples = [{name: output.copy() for name, output in self._run(inputs, index).items()} for index in range(batch)]
        return {name: np.concatenate([sample[name] for sample in samples]) for name in self._outputs}

    def _run(self, inputs: Tensors, index: int) -> Tensors:
        for port, name in enumerate(self._inputs):
            one = inputs[name][index : index + 1]
            if port in self._copied:
                np.copyto(self._copied[port], one)
                continue
            shared = openvino.Tensor(np.ascontiguousarray(one), shared_memory=True)
            self._request.set_input_tensor(port, shared)
        self._request.infer()
        return self._outputs


def _names(ports: Sequence[openvino.Output]) -> list[str]:
    """The file's own names; a compiled network's ports have also the names of what was folded away."""
    return [str(port.any_name) for port in ports]
