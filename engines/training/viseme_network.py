"""The viseme network: a causal stack of dilated convolutions, and how it becomes an ONNX file that is fed hop by hop.

A temporal convolutional network as in Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and
recurrent networks for sequence modeling", 2018. It looks ahead by naming, at each hop, what was said some hops before.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from appliance.avatar.channels import VISEMES
from appliance.listening.features import FEATURES
from appliance.listening.viseme_network import GUESS_BLOCKS, SURE_BLOCKS
from engines.fetch import file_sha256

HEADS = {"visemes": SURE_BLOCKS, "visemes_40ms": GUESS_BLOCKS}
"""The outputs, and how many 10 ms hops each lags behind what it hears."""

WIDTH = 160
KERNEL, FIRST_KERNEL = 3, 5
DILATIONS = (1, 2, 4, 8) * 3
TOLERANCE = 0.02  # that eight bits may cost, in probability
_OPSET, _IR = 17, 9

Weights = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class VisemeNetwork(nn.Module):
    """Logits, batch x heads x visemes x hops, from features, batch x rows x hops; before the first hop is nothing."""

    def __init__(self, width: int = WIDTH, dropout: float = 0.12) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv2d(FEATURES, width, (1, FIRST_KERNEL), bias=False)])
        self.convolutions.extend(
            nn.Conv2d(width, width, (1, KERNEL), dilation=(1, dilation), bias=False) for dilation in DILATIONS
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in self.convolutions)
        self.dropout = nn.Dropout2d(dropout)
        self.last = nn.Conv2d(width, len(HEADS) * len(VISEMES), 1)

    def forward(self, heard: Tensor) -> Tensor:
        """Take batch x features x hops."""
        inner = heard[:, :, None]
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            past = (convolution.kernel_size[1] - 1) * convolution.dilation[1]
            outer = functional.relu(norm(convolution(functional.pad(inner, (past, 0)))))
            inner = outer if index == 0 else inner + self.dropout(outer)
        said = self.last(inner)[:, :, 0]
        return said.view(len(said), len(HEADS), len(VISEMES), -1)


def export(network: VisemeNetwork, path: Path) -> None:
    """Write the network with its normalisation folded in, one hop a call, its past as inputs and outputs.

    Weights are stored in 16 bits and cast when the file is loaded, biases in 32.
    """
    graph = _Writer()
    inner = "features"
    for index, (convolution, norm) in enumerate(zip(network.convolutions, network.norms, strict=True)):
        inner = graph.layer(index, inner, convolution, _folded(convolution, norm))
    weight, bias = (part.detach().cpu().numpy().astype(np.float32) for part in (network.last.weight, network.last.bias))
    for number, name in enumerate(HEADS):
        of_head = slice(number * len(VISEMES), (number + 1) * len(VISEMES))
        graph.head(name, inner, (weight[of_head], bias[of_head]))
    graph.write(path)


def write_manifest(model: Path) -> None:
    """Write the manifest of a network beside it."""
    graph = onnx.load(str(model)).graph
    lines = [
        'licence = "ours; see engines/training/README.md for what it was trained from"',
        'made_by = "engines.training.viseme"',
        f'sha256 = "{file_sha256(model)}"',
    ]
    for title, values in (("inputs", graph.input), ("outputs", graph.output)):
        lines += ["", f"[{title}]"]
        for value in values:
            shape = [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
            lines.append(f"{value.name} = {json.dumps(shape)}")
    lines += ["", "[tolerance]", *(f"{head} = {TOLERANCE}" for head in HEADS)]
    (model.parent / "own_model.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Weights:
    """Weight and bias of a convolution and the normalisation after it."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight, bias = convolution.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
    return weight.detach().cpu().numpy().astype(np.float32), bias.detach().cpu().numpy().astype(np.float32)


class _Writer:
    """Collects nodes, weights and the names that lead outside."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs = [_value("features", (FEATURES, 1, 1))]
        self._outputs: list[onnx.ValueInfoProto] = []

    def layer(self, index: int, inner: str, convolution: nn.Conv2d, weights: Weights) -> str:
        """One convolution over its past and the new hop; return the name of what it makes."""
        dilation = convolution.dilation[1]
        past = (convolution.kernel_size[1] - 1) * dilation
        channels = convolution.in_channels
        self._inputs.append(_value(f"state_{index}", (channels, 1, past)))
        self._outputs.append(_value(f"next_{index}", (channels, 1, past)))
        self._add("Concat", [f"state_{index}", inner], f"heard_{index}", axis=3)
        bounds = [
            self._constant(f"{name}_{index}", np.array([value], np.int64))
            for name, value in (("from", 1), ("to", past + 1), ("axis", 3))
        ]
        self._add("Slice", [f"heard_{index}", *bounds], f"next_{index}")
        self._convolve(f"heard_{index}", weights, f"raw_{index}", dilation)
        self._add("Relu", [f"raw_{index}"], f"outer_{index}")
        if index == 0:
            return "outer_0"
        self._add("Add", [inner, f"outer_{index}"], f"inner_{index}")
        return f"inner_{index}"

    def head(self, name: str, inner: str, weights: Weights) -> None:
        """The probabilities of the visemes."""
        self._convolve(inner, weights, f"{name}_raw", 1)
        self._add("Flatten", [f"{name}_raw"], f"{name}_flat", axis=1)
        self._add("Softmax", [f"{name}_flat"], name, axis=1)
        self._outputs.insert(0, helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", len(VISEMES)]))

    def write(self, path: Path) -> None:
        """Check the graph and store it."""
        graph = helper.make_graph(self._nodes, "viseme", self._inputs, self._outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(path))

    def _convolve(self, inner: str, weights: Weights, outer: str, dilation: int) -> None:
        weight, bias = weights
        half = self._constant(f"{outer}_weight_16", weight.astype(np.float16))
        self._add("Cast", [half], f"{outer}_weight", to=TensorProto.FLOAT)
        given = [inner, f"{outer}_weight", self._constant(f"{outer}_bias", bias)]
        self._add("Conv", given, outer, kernel_shape=list(weight.shape[2:]), dilations=[1, dilation])

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _add(self, operator: str, given: list[str], made: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(operator, given, [made], name=made, **attributes))


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
