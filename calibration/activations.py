"""The ranges of every activation that eight bits need, and a network in eight bits as arithmetic would have it."""

from collections.abc import Callable, Iterable, Mapping

import onnx

from calibration.spread import Spread
from calibration.walking import walk
from engines.errors import EngineError
from engines.manifest import NO_EIGHT_BITS
from engines.networks import Network
from engines.opening import choose
from engines.quantize import quantize, wanted
from engines.ranges import TARGET, Range, Ranges
from engines.rewrites import for_target
from engines.runners import Runner, Tensors


def rewritten(network: Network) -> onnx.ModelProto:
    """The form of a network whose activations are measured, and into which the ranges are written."""
    return for_target(onnx.load(str(network.onnx)), TARGET)


def spreads(
    network: Network, blocks: Iterable[Tensors], tell: Callable[[int], None] = lambda done: None
) -> tuple[Mapping[str, Spread], int]:
    """How far every activation goes that ``quantize`` may ask for, and over how many calls.

    Every node counts, those too that a manifest keeps in higher precision, so that what is kept can change without
    filming again. ``tell`` hears of each call.
    """
    model = rewritten(network)
    names = dict.fromkeys([*wanted(model), *wanted(model, network.keep_fp16)])
    if not names:
        raise EngineError(
            f"{network.name} has no layer that eight bits are for (Conv, Gemm); write into its manifest: "
            f'[calibration] method = "{NO_EIGHT_BITS}"'
        )
    runner = _opened(_with_outputs(model, names))
    found = {name: Spread() for name in names}
    done = 0
    for inputs, outputs in walk(runner, blocks):
        for name, spread in found.items():
            spread.add(outputs[name] if name in outputs else inputs[name])
        done += 1
        tell(done)
    return found, done


def ranges_of(network: Network, found: Mapping[str, Spread], method: str, calls: int) -> Ranges:
    """Ranges by one method, as a file holds them."""
    if calls < 1:
        raise EngineError(f"no samples of {network.name} to take ranges from; film some: appliance calibrate record")
    ranges: dict[str, Range] = {name: spread.range(method) for name, spread in found.items()}
    return Ranges(network.name, network.onnx_sha256, method, ranges, calls)


def in_eight_bits(network: Network, ranges: Ranges) -> Runner:
    """The rewritten network with the ranges in it, run exactly as Q/DQ is written: nothing is fused."""
    written = quantize(rewritten(network), ranges.ranges, network.keep_fp16)
    return _opened(written.SerializeToString())


def in_float(network: Network) -> Runner:
    """The network as it is, in 32 bits: the reference."""
    return _opened(network.onnx.read_bytes())


def _opened(model: bytes) -> Runner:
    """ONNX Runtime alone runs Q/DQ exactly as written, so it must be installed here."""
    choose("onnxruntime")
    from engines.onnxruntime_runner import OnnxRuntimeRunner

    return OnnxRuntimeRunner(model, exact=True)


def _with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> bytes:
    """The model with activations among its outputs; ONNX Runtime finds their types."""
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    have = {item.name for item in [*asked.graph.output, *asked.graph.input]}
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in have)
    return bytes(asked.SerializeToString())
