"""ONNX to a TensorRT plan, from TensorRT 8.6 to 11: one way through, whose flags have other names by version.

Nothing of TensorRT raises: every call returns ``False`` or ``None``, and error lines are logged in good builds, too.
So each return is looked at, and a build is good when it returned a plan.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engines.errors import EngineError

PRECISIONS = ("int8", "fp16", "fp32")
OLDEST = (8, 6)
SHARED_PROFILES_SINCE = (10, 0)  # the batch is always explicit, and contexts share profiles
WORKSPACE_MOST = 2 << 30
WORKSPACE_LEAST = 64 << 20
_RESERVE = 500 << 20  # what the system keeps while an engine is built on memory that it shares
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Library:
    """TensorRT's Python module and which version it counts as."""

    module: Any
    version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Options:
    """What a builder is told beside the network."""

    precision: str
    largest_batch: int = 8
    optimisation_level: int = 3  # 0..5: how long it looks for faster kernels


@dataclass(frozen=True, slots=True)
class Flags:
    """Names of what one version of TensorRT must be told for one precision."""

    network: tuple[str, ...]
    builder: tuple[str, ...]
    tactics: tuple[str, ...]  # the sources of kernels; empty leaves TensorRT's own choice
    typed: bool  # every tensor runs in the type that the ONNX gives it: FP16 must be written into the file


def library() -> Library:
    """The TensorRT of this machine; ``EngineError`` if it has none, or one too old."""
    try:
        import tensorrt
    except ImportError as error:
        raise EngineError(
            f"TensorRT cannot be imported ({error}); it comes with JetPack (python3-libnvinfer): "
            "make the environment with --system-site-packages, or set engines.runner = auto"
        ) from None
    return Library(tensorrt, parse_version(tensorrt.__version__))


def parse_version(text: str) -> tuple[int, int]:
    """Major and minor of a version; ``EngineError`` below 8.6."""
    numbers = re.match(r"(\d+)\.(\d+)", text)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    if version < OLDEST:
        raise EngineError(f"TensorRT must be 8.6 or newer, got {text}; update JetPack")
    return version


def flags_for(version: tuple[int, int], precision: str) -> Flags:
    """What to tell a version of TensorRT: batches were implicit before 10, precisions were flags before 10.12."""
    if precision not in PRECISIONS:
        raise EngineError(f"engines.precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    typed = version >= (10, 12)
    old = {"int8": ("INT8", "FP16"), "fp16": ("FP16",), "fp32": ()}
    return Flags(
        network=("STRONGLY_TYPED",) if typed else ("EXPLICIT_BATCH",) if version < SHARED_PROFILES_SINCE else (),
        builder=() if typed else old[precision],
        # cuBLAS and cuDNN cost hundreds of megabytes when they load, and give these networks nothing.
        tactics=("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS") if version < SHARED_PROFILES_SINCE else (),
        typed=typed and precision != "fp32",
    )


def profiles(largest_batch: int) -> list[tuple[int, int, int]]:
    """Smallest, usual and largest batch of each profile: one face alone matters most, and then a full house."""
    if largest_batch < 2:
        return [(1, 1, 1)]
    return [(1, 1, 1), (2, largest_batch, largest_batch)]


def workspace_bytes(available_bytes: int) -> int:
    """How much memory kernels may scratch in, so that an 8 GB board survives its build."""
    left = (available_bytes - _RESERVE) // 2
    if left < WORKSPACE_LEAST:
        least_mb = (2 * WORKSPACE_LEAST + _RESERVE) >> 20
        raise EngineError(
            f"building needs at least {least_mb} MB of available memory, got {available_bytes >> 20} MB; "
            "stop what runs (systemctl stop avatar-appliance) and build again"
        )
    return min(left, WORKSPACE_MOST)


def build_plan(
    trt: Library, onnx: bytes, name: str, options: Options, workspace: int, cache: bytes, tell: Tell
) -> tuple[bytes, bytes]:
    """Build one engine; return the plan and the timing cache, which makes the next build faster.

    ``onnx`` is already in the form for this version (see ``Flags.typed``). ``tell`` hears of each phase, where
    TensorRT names them (from version 10 on); it may be called from another thread.
    """
    flags, module, log = flags_for(trt.version, options.precision), trt.module, error_log(trt.module)
    try:
        builder = module.Builder(log)
    except TypeError:  # pybind11's word for a constructor that returned null
        raise EngineError(f"TensorRT has no builder here: {log.last()}; it needs a GPU and its driver") from None
    creation = sum(1 << int(getattr(module.NetworkDefinitionCreationFlag, flag)) for flag in flags.network)
    network = _must(builder.create_network(creation), f"a network for {name}", log)
    parser = module.OnnxParser(network, log)
    if not parser.parse(onnx):
        raise EngineError(f"TensorRT cannot read {name}: {_parser_error(parser, onnx)}")
    config = _config(trt, builder, flags, options, workspace)
    _add_profiles(builder, config, network, name, options.largest_batch, log)
    _use_cache(config, cache)
    if hasattr(config, "progress_monitor"):
        config.progress_monitor = _monitor(module, tell)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            f"TensorRT cannot build {name} in {options.precision}: {log.last()}; "
            "if it is memory, stop what runs and build again"
        )
    measured = config.get_timing_cache()
    return bytes(plan), bytes(measured.serialize()) if measured is not None else b""


def _config(trt: Library, builder: Any, flags: Flags, options: Options, workspace: int) -> Any:
    module, config = trt.module, builder.create_builder_config()
    config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, workspace)
    config.builder_optimization_level = options.optimisation_level
    for flag in flags.builder:
        config.set_flag(getattr(module.BuilderFlag, flag))
    if options.precision == "fp32":
        config.clear_flag(module.BuilderFlag.TF32)  # 10 bits of mantissa are no FP32
    if flags.tactics:
        config.set_tactic_sources(sum(1 << int(getattr(module.TacticSource, source)) for source in flags.tactics))
    return config


def _add_profiles(builder: Any, config: Any, network: Any, name: str, largest_batch: int, log: Any) -> None:
    """One profile for a batch of one, one for more; a network of fixed shape needs none."""
    shapes = {entry.name: tuple(entry.shape) for entry in map(network.get_input, range(network.num_inputs))}
    for entry, shape in shapes.items():
        if -1 in shape[1:]:
            raise EngineError(
                f"{name}: input {entry} must have a fixed shape behind the batch, got {shape}; "
                "export the network for one size"
            )
    if not any(shape[:1] == (-1,) for shape in shapes.values()):
        return
    for batches in profiles(largest_batch):
        profile = _must(builder.create_optimization_profile(), f"a profile for {name}", log)
        for entry, shape in shapes.items():
            profile.set_shape(entry, *[_sized(shape, batch) for batch in batches])
        if config.add_optimization_profile(profile) < 0:
            raise EngineError(f"TensorRT refuses batches of {batches} for {name}: {log.last()}")


def _sized(shape: Sequence[int], batch: int) -> tuple[int, ...]:
    return tuple(batch if size == -1 else size for size in shape)


def _use_cache(config: Any, content: bytes) -> None:
    """Begin with what earlier builds measured; a cache that TensorRT does not take costs time, nothing else."""
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _must(made: Any, what: str, log: Any) -> Any:
    if made is None:
        raise EngineError(f"TensorRT cannot make {what}: {log.last()}")
    return made


def _parser_error(parser: Any, onnx: bytes) -> str:
    """The first error, with the operator and the node it is about."""
    if not parser.num_errors:
        return "it is not an ONNX file"
    error = parser.get_error(0)
    described = " ".join(str(error.desc()).split())[:200]
    operator, node = _place(error, onnx)
    return f"operator {operator}, node {node}: {described}" if operator else described


def _place(error: Any, onnx: bytes) -> tuple[str, str]:
    """Operator and node of a parser's error; TensorRT 8 knows only the node's number."""
    if hasattr(error, "node_operator") and error.node_operator():
        return str(error.node_operator()), str(error.node_name()) or str(error.node())
    if error.node() < 0:
        return "", ""
    from onnx import load_model_from_string

    node = load_model_from_string(onnx).graph.node[error.node()]
    return str(node.op_type), str(node.name) or str(error.node())


def error_log(module: Any) -> Any:
    """TensorRT's log, of which only the last error is ever shown: it logs errors in good builds, too."""

    class Log(module.ILogger):
        def __init__(self) -> None:
            module.ILogger.__init__(self)  # pybind11 asks for exactly this
            self._last = "it gives no reason"

        def log(self, severity: Any, message: str) -> None:
            if severity <= module.ILogger.ERROR:
                self._last = " ".join(message.split())[:300]

        def last(self) -> str:
            return self._last

    return Log()


def _monitor(module: Any, tell: Tell) -> Any:
    """Pass TensorRT's phases on."""

    class Monitor(module.IProgressMonitor):
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase: str, _parent: str | None, steps: int) -> None:
            self._steps[phase] = steps
            tell(phase)

        def step_complete(self, phase: str, step: int) -> bool:
            tell(f"{phase} {step + 1}/{self._steps[phase]}")
            return True

        def phase_finish(self, phase: str) -> None:
            self._steps.pop(phase, None)

    return Monitor()
