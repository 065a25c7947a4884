"""What PyTorch takes for the same network, from pinned host memory to host memory: python torch_baseline.py NET.onnx

It needs torch, onnx and a GPU, and prints one line of JSON.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import onnx
import torch
import torch.nn.functional as functional
from onnx import numpy_helper

COUNT, WARM = 1000, 100


def forward(nodes: list[onnx.NodeProto], values: dict[str, torch.Tensor]) -> torch.Tensor:
    """Run the few operators that these networks have."""
    for node in nodes:
        given = [values[name] for name in node.input]
        about = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        if node.op_type == "Conv":
            made = functional.conv2d(*given, stride=about["strides"], padding=about["pads"][:2])
        elif node.op_type == "MaxPool":
            made = functional.max_pool2d(given[0], about["kernel_shape"], about["strides"], about["pads"][:2])
        elif node.op_type == "Gemm":
            made = functional.linear(*given)
        else:
            made = {"Relu": torch.relu, "Add": torch.add, "Flatten": lambda x: x.flatten(1)}.get(
                node.op_type, lambda x: x.mean((2, 3), keepdim=True)
            )(*given)
        values[node.output[0]] = made
    return values[nodes[-1].output[0]]


def median_ms(call: Callable[[], object]) -> float:
    for _ in range(WARM):
        call()
    taken = []
    for _ in range(COUNT):
        began = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - began) / 1e6)
    return round(float(np.median(taken)), 4)


def main() -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    graph = onnx.load(sys.argv[1]).graph
    nodes = list(graph.node)
    full = {entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy()).cuda() for entry in graph.initializer}
    half = {name: value.half() for name, value in full.items()}
    last = {
        name: value.to(memory_format=torch.channels_last) if value.dim() == 4 else value for name, value in half.items()
    }
    host = torch.randn(1, 3, 224, 224).pin_memory()
    result: dict[str, float] = {}

    def eager(weights: dict[str, torch.Tensor], **to: object) -> Callable[[], object]:
        return lambda: forward(nodes, {**weights, "input": host.to("cuda", non_blocking=True).to(**to)}).cpu()

    with torch.inference_mode():
        result["eager FP32"] = median_ms(eager(full, dtype=torch.float32))
        result["eager FP16"] = median_ms(eager(half, dtype=torch.float16))
        result["eager FP16, channels last"] = median_ms(
            eager(last, dtype=torch.float16, memory_format=torch.channels_last)
        )
        fixed, out = host.cuda(), torch.empty(1, 52).pin_memory()

        def step() -> torch.Tensor:
            return forward(nodes, {**last, "input": fixed.to(torch.float16, memory_format=torch.channels_last)})

        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(5):
                step()
        torch.cuda.synchronize()
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded):
            made = step().float()

        def replay() -> None:
            fixed.copy_(host, non_blocking=True)
            recorded.replay()
            out.copy_(made, non_blocking=True)
            torch.cuda.current_stream().synchronize()

        result["FP16, channels last, CUDA graph"] = median_ms(replay)
    print("torch", json.dumps(result), flush=True)


main()
