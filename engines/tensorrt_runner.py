"""Runs a network on the GPU with TensorRT, 8.6 to 11.

Nothing of TensorRT raises, and after a refusal it goes on with what it had before: each returned bool is looked at.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pycuda.driver as cuda
import tensorrt as trt

from engines.build import SHARED_PROFILES_SINCE, error_log, parse_version
from engines.cuda_driver import CudaGraph, read_gpu
from engines.errors import EngineError
from engines.runners import Tensor, Tensors

_ALIGNMENT = 256  # TensorRT's, of every tensor
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: it does not wait for the default stream
_TYPES: Mapping[str, npt.DTypeLike] = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT64": np.int64,
    "INT32": np.int32,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
}


class OnGpu:
    """Makes the GPU's context this thread's, and what the driver says an ``EngineError``. It may be used again."""

    def __init__(self, context: Any, doing: str) -> None:
        self._context = context
        self._doing = doing

    def __enter__(self) -> None:
        self._context.push()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cuda.Context.pop()
        if isinstance(error, cuda.Error):
            raise _gpu_error(error, self._doing) from None


class LoadedEngine:
    """A plan on the GPU. Its runners share its weights; each has a stream and buffers of its own."""

    def __init__(self, plan: bytes, name: str) -> None:
        self.name = name
        self.unified = read_gpu().integrated
        self._log = error_log(trt)
        self._context = _primary_context(f"loading {name}")
        with self.on_gpu("loading"):
            self._runtime = trt.Runtime(self._log)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(
                f"TensorRT {trt.__version__} does not load the engine of {name}: {self._log.last()}; "
                "build it again with: appliance engines build --again"
            )
        tensors = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self.inputs = [one for one in tensors if self._engine.get_tensor_mode(one) == trt.TensorIOMode.INPUT]
        self.outputs = [one for one in tensors if one not in self.inputs]
        self.profiles = [self._batches(index) for index in range(self._engine.num_optimization_profiles)]
        self._served: set[int] = set()

    def on_gpu(self, doing: str) -> "OnGpu":
        """What every use of the GPU stands in; a runner may be built by one thread and called by another."""
        return OnGpu(self._context, f"{doing} {self.name}")

    def dtype(self, tensor: str) -> npt.DTypeLike:
        """The type of a tensor's elements."""
        return _TYPES[self._engine.get_tensor_dtype(tensor).name]

    def execution_context(self, profile: int, stream: cuda.Stream) -> Any:
        """A context for one profile; ``EngineError`` where TensorRT would crash over it."""
        self._reserve(profile)
        context = self._engine.create_execution_context()
        if context is None:
            raise EngineError(f"{self.name} needs more GPU memory than is free: {self._log.last()}; {_MEMORY_CURE}")
        if self._is_of_one_size():
            return context  # a second context has no profile of its own on TensorRT 8.6, and needs none
        if context.active_optimization_profile != profile:
            if not context.set_optimization_profile_async(profile, stream.handle):
                raise self.refused(f"profile {profile}")
            stream.synchronize()
        if context.active_optimization_profile < 0:
            raise self.refused(f"profile {profile} for one more context")
        return context

    def contexts(self, stream: cuda.Stream) -> dict[int, Any]:
        """The context that serves each batch size: one a profile."""
        each = [self.execution_context(index, stream) for index in range(len(self.profiles))]
        return {
            batch: context
            for context, (smallest, most) in zip(each, self.profiles, strict=True)
            for batch in range(smallest, most + 1)
        }

    def settle(self, context: Any, batch: int) -> dict[str, tuple[int, ...]]:
        """Give a context a batch size; return the shape of every tensor, inputs first."""
        for name in self.inputs:
            first, *sizes = self._engine.get_tensor_shape(name)
            if not context.set_input_shape(name, (batch if first == -1 else first, *sizes)):
                raise self.refused(f"a batch of {batch}")
        shapes = {name: tuple(context.get_tensor_shape(name)) for name in (*self.inputs, *self.outputs)}
        for name, shape in shapes.items():
            if min(shape, default=0) < 0:
                raise EngineError(f"{self.name}: the shape of {name} must follow from the inputs' shapes, got {shape}")
        return shapes

    def point(self, context: Any, tensor: str, address: int) -> None:
        """Tell a context where a tensor lies on the GPU."""
        if not context.set_tensor_address(tensor, address):
            raise self.refused(f"an address for {tensor}")

    def enqueue(self, context: Any, stream: cuda.Stream) -> None:
        """Put a run into the stream, or into the graph that it records."""
        if not context.execute_async_v3(stream.handle):
            raise self.refused("a run")

    def refused(self, what: str) -> EngineError:
        """The error for a ``False`` of TensorRT's."""
        return EngineError(
            f"TensorRT refused {what} of {self.name}: {self._log.last()}; "
            "build it again with: appliance engines build --again"
        )

    def _reserve(self, profile: int) -> None:
        """Before 10, a second context on a profile ends the process, unless it is the only one and of one size."""
        old = parse_version(trt.__version__) < SHARED_PROFILES_SINCE
        if profile in self._served and old and not self._is_of_one_size():
            raise EngineError(
                f"one profile of {self.name} serves one context on TensorRT {trt.__version__}: load the plan "
                "once more, or build it for one batch size"
            )
        self._served.add(profile)

    def _is_of_one_size(self) -> bool:
        return len(self.profiles) == 1 and self.profiles[0][0] == self.profiles[0][1]

    def _batches(self, profile: int) -> tuple[int, int]:
        """Smallest and largest batch of a profile."""
        firsts = {name: int(self._engine.get_tensor_shape(name)[0]) for name in self.inputs}
        growing = [name for name, first in firsts.items() if first == -1]
        if not growing:
            return firsts[self.inputs[0]], firsts[self.inputs[0]]
        smallest, _, largest = self._engine.get_tensor_profile_shape(growing[0], profile)
        return int(smallest[0]), int(largest[0])


class Block:
    """Memory that the processor and the GPU both reach: one piece where they share it, else pinned and a twin.

    ``mapped`` memory needs no copies; the twin is filled by ``upload`` and emptied by ``download``.
    """

    def __init__(self, size: int, mapped: bool) -> None:
        self._twin = None if mapped else cuda.mem_alloc(size)  # the scarcer first
        flags = cuda.host_alloc_flags.DEVICEMAP if mapped else 0
        self.host = cuda.pagelocked_empty(size, np.uint8, mem_flags=flags)
        self.host[:] = 0
        self.address = int(self.host.base.get_device_pointer()) if self._twin is None else int(self._twin)

    def upload(self, piece: slice, stream: cuda.Stream) -> None:
        """Copy a piece to the GPU, in the stream's turn."""
        if self._twin is not None and piece.start < piece.stop:
            cuda.memcpy_htod_async(self.address + piece.start, self.host[piece], stream)

    def download(self, size: int, stream: cuda.Stream) -> None:
        """Copy the beginning from the GPU, in the stream's turn."""
        if self._twin is not None:
            cuda.memcpy_dtoh_async(self.host[:size], self._twin, stream)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One batch size, ready to launch: views of the host's side of its tensors, and the graph that does the rest."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    graph: CudaGraph


Writer = Callable[[int, int], Callable[[], None]]
"""Of a batch size and an input's address on the GPU makes what puts the work that fills it into the stream."""


def _nobody(_batch: int, _address: int) -> Callable[[], None]:
    return lambda: None


class TensorRTRunner:
    """One network with one stream: all memory taken, every batch size recorded as a graph, before the first frame.

    Outputs are views: they hold until the next call. One thread calls at a time.
    """

    def __init__(self, engine: LoadedEngine) -> None:
        self._engine = engine
        largest = max(most for _, most in engine.profiles)
        self._running = engine.on_gpu("running")
        with engine.on_gpu("preparing"):
            self.stream = cuda.Stream(_NON_BLOCKING)
            self._contexts = engine.contexts(self.stream)  # a graph launches what lies in their memory
            shapes = engine.settle(self._contexts[largest], largest)
            self._in = Block(_layout({name: shapes[name] for name in engine.inputs}, engine)[1], engine.unified)
            self._out = Block(_layout({name: shapes[name] for name in engine.outputs}, engine)[1], engine.unified)
            self._recorded = {batch: self._record(batch) for batch in self._contexts}
        self._largest = largest

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run the network once over the whole batch; more than the largest batch goes in parts."""
        batch = len(next(iter(inputs.values())))
        recorded = self._recorded.get(batch)
        if recorded is None:
            return self._in_parts(inputs, batch)
        for name, view in recorded.inputs.items():
            np.copyto(view, inputs[name], casting="no")
        with self._running:
            recorded.graph.launch()
            self.stream.synchronize()
        return recorded.outputs

    def recorded_with(self, tensor: str, writer: Writer) -> dict[int, Recorded]:
        """Record every batch size once more, one input written by the GPU; the caller launches in ``stream``."""
        with self._engine.on_gpu("preparing"):
            return {batch: self._record(batch, tensor, writer) for batch in self._contexts}

    def room(self, batch: int) -> Mapping[str, Tensor]:
        """Where a batch's inputs are fetched from; who writes there and launches spares a copy."""
        return self._recorded[batch].inputs

    def launch(self, batch: int) -> None:
        """Begin a run on what lies in the buffers, and do not wait."""
        with self._running:
            self._recorded[batch].graph.launch()

    def wait(self) -> None:
        """Wait for everything that was launched."""
        with self._running:
            self.stream.synchronize()

    def nodes(self, batch: int = 1) -> int:
        """How many kernels and copies one call is."""
        with self._running:
            return self._recorded[batch].graph.nodes()

    def close(self) -> None:
        """Give the graphs' memory back; the rest goes with the object."""
        with self._engine.on_gpu("closing"):
            for recorded in self._recorded.values():
                recorded.graph.close()

    def _record(self, batch: int, written: str = "", writer: Writer = _nobody) -> Recorded:
        """Tell TensorRT one batch size and where its tensors lie, run it once, and write down copies and run."""
        engine, context = self._engine, self._contexts[batch]
        shapes = engine.settle(context, batch)
        inputs, in_bytes = _layout({name: shapes[name] for name in engine.inputs}, engine)
        outputs, out_bytes = _layout({name: shapes[name] for name in engine.outputs}, engine)
        for block, places in ((self._in, inputs), (self._out, outputs)):
            for name, place in places.items():
                engine.point(context, name, block.address + place.start)
        hole = inputs.get(written, slice(in_bytes, in_bytes))
        write = writer(batch, self._in.address + hole.start)
        write()
        engine.enqueue(context, self.stream)  # whatever TensorRT takes late, it takes now
        self.stream.synchronize()
        graph = CudaGraph(self.stream.handle)
        graph.begin()
        for piece in (slice(0, hole.start), slice(hole.stop, in_bytes)):
            self._in.upload(piece, self.stream)
        write()
        engine.enqueue(context, self.stream)
        self._out.download(out_bytes, self.stream)
        graph.end()
        views = [
            {name: block.host[place].view(engine.dtype(name)).reshape(shapes[name]) for name, place in places.items()}
            for block, places in ((self._in, inputs), (self._out, outputs))
        ]
        views[0].pop(written, None)
        return Recorded(views[0], views[1], graph)

    def _in_parts(self, inputs: Tensors, batch: int) -> Tensors:
        """A batch that no profile takes, in pieces that one does."""
        pieces = []
        for start in range(0, batch, self._largest):
            piece = self({name: array[start : start + self._largest] for name, array in inputs.items()})
            pieces.append({name: array.copy() for name, array in piece.items()})
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def open_plan(plan: bytes, name: str) -> TensorRTRunner:
    """Load a plan and make it ready to run."""
    return TensorRTRunner(LoadedEngine(plan, name))


def free_bytes() -> int:
    """Memory of the GPU that nobody has taken."""
    with on_gpu("asking for free memory"):
        return int(cuda.mem_get_info()[0])


def on_gpu(doing: str) -> OnGpu:
    """What a use of the GPU stands in that is no engine's."""
    return OnGpu(_primary_context(doing), doing)


def _primary_context(doing: str) -> Any:
    """The context that TensorRT's own runtime uses."""
    try:
        cuda.init()
        return cuda.Device(0).retain_primary_context()
    except cuda.Error as error:
        raise _gpu_error(error, doing) from None


def _gpu_error(error: Exception, doing: str) -> EngineError:
    """What the driver says through pycuda, with a cure."""
    if isinstance(error, cuda.MemoryError):
        return EngineError(f"{doing} needs more GPU memory than is free: {error}; {_MEMORY_CURE}")
    return EngineError(f"{doing} failed on the GPU: {error}; start the appliance again, and the machine if it stays")


_MEMORY_CURE = "stop what else runs, or set fewer camera.faces"


def _layout(shapes: Mapping[str, Sequence[int]], engine: LoadedEngine) -> tuple[dict[str, slice], int]:
    """Where each tensor lies in one block, and the block's size: one copy carries them all."""
    places, end = {}, 0
    for name, shape in shapes.items():
        size = math.prod(shape) * np.dtype(engine.dtype(name)).itemsize
        places[name] = slice(end, end + size)
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return places, end
