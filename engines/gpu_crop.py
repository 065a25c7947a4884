"""Squares cut out by the GPU, from the whole picture to a network's outputs in one launch."""

import math
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import pycuda.driver as cuda

from engines.crop_graph import MATRICES, PICTURE, SQUARES
from engines.cuda_driver import pin_host_memory, release_host_memory
from engines.errors import EngineError
from engines.preprocess import Cut, Image
from engines.runners import Outputs, Tensor, Tensors
from engines.tensorrt_runner import Block, LoadedEngine, Recorded, TensorRTRunner, on_gpu

_FLOAT_BYTES = 4
_OFTEN, _BUFFERS = 3, 4  # so often seen, memory is a camera's; so many are pinned at most


class GpuPicture:
    """The newest picture on the GPU, shared by all that cut from it.

    A picture that was shown must not change as long as the same array is shown again. Memory in which pictures come
    again and again, as a camera's buffers, is pinned, so that the GPU fetches them without a copy by the processor.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        self._shape = (height_px, width_px, 3)
        with on_gpu("preparing pictures"):
            self._twin = cuda.mem_alloc(math.prod(self._shape))
            self._staging: Image = cuda.pagelocked_empty(self._shape, np.uint8)
        self._pinned: list[Image] = []
        self._met: Counter[int] = Counter()
        self._shown: Image | None = None
        self.address = int(self._twin)

    def takes(self, image: Image) -> bool:
        """Whether a picture is of the one size."""
        return image.shape == self._shape and bool(image.flags.c_contiguous)

    def show(self, image: Image, stream: cuda.Stream) -> None:
        """Copy a picture to the GPU, in the stream's turn; the one that is there is not copied again."""
        if image is not self._shown:
            cuda.memcpy_htod_async(self._twin, self._reachable(image), stream)
            self._shown = image

    def pin(self, memory: Image) -> None:
        """Let the GPU fetch pictures from this memory itself, which the object keeps from now on.

        Meant for buffers that a camera fills over and over; ``EngineError`` where the driver refuses.
        """
        with on_gpu("pinning pictures"):
            pin_host_memory(_address(memory), memory.nbytes)
        self._pinned.append(memory)
        weakref.finalize(self, _release, memory).atexit = False  # what ends takes all of it along

    def _reachable(self, image: Image) -> Image:
        """The picture where the GPU can fetch it: itself in pinned memory, else a copy."""
        self._meet(_owner(image))
        first, size = _address(image), image.nbytes
        if any(0 <= first - _address(memory) <= memory.nbytes - size for memory in self._pinned):
            return image
        np.copyto(self._staging, image)
        return self._staging

    def _meet(self, memory: Image) -> None:
        place = _address(memory)
        self._met[place] += 1
        if self._met[place] == _OFTEN and len(self._pinned) < _BUFFERS:
            with suppress(EngineError):  # then the processor copies
                self.pin(memory)


def _release(memory: Image) -> None:
    with on_gpu("releasing pictures"):
        release_host_memory(_address(memory))


def _owner(image: Image) -> Image:
    """The array whose memory a picture lies in."""
    while isinstance(image.base, np.ndarray):
        image = image.base
    return image


def _address(image: Image) -> int:
    return int(image.__array_interface__["data"][0])


class CroppingRunner:
    """A network that is given pictures and matrices where the GPU cuts, and tensors like any other where it does not.

    ``crop`` is an engine of ``engines.crop_graph`` for pictures of ``picture``'s size and the batches of the network.
    """

    def __init__(self, network: TensorRTRunner, tensor: str, crop: LoadedEngine, picture: GpuPicture) -> None:
        self._network = network
        self._crop = crop
        self._picture = picture
        self._running = crop.on_gpu("running")
        with crop.on_gpu("preparing"):
            self._contexts = crop.contexts(network.stream)
            self._matrices = Block(max(self._contexts) * 6 * _FLOAT_BYTES, crop.unified)
        self._rows = self._matrices.host.view(np.float32).reshape(-1, 2, 3)
        self._recorded = network.recorded_with(tensor, self._write)

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run the network on squares that were cut already."""
        return self._network(inputs)

    def cut(self, cuts: Sequence[Cut], others: Mapping[str, Tensor]) -> Outputs | None:
        """Begin a run on squares of one picture; ``None`` where they are of several, too many, or of another size.

        ``others`` are the network's other inputs. The processor is free until it asks for the outputs.
        """
        image = cuts[0][0]
        recorded = self._recorded.get(len(cuts))
        if recorded is None or not self._picture.takes(image) or any(other is not image for other, _ in cuts[1:]):
            return None
        for row, (_, matrix) in zip(self._rows, cuts, strict=False):
            row[:] = matrix
        for name, view in recorded.inputs.items():
            np.copyto(view, others[name], casting="no")
        with self._running:
            self._picture.show(image, self._network.stream)
            recorded.graph.launch()
        return partial(self._finished, recorded)

    def _finished(self, recorded: Recorded) -> Tensors:
        self._network.wait()
        return recorded.outputs

    def close(self) -> None:
        """Give the graphs' memory back, the network's too."""
        with self._crop.on_gpu("closing"):
            for recorded in self._recorded.values():
                recorded.graph.close()
        self._network.close()

    def nodes(self, batch: int = 1) -> int:
        """How many kernels and copies one call is, the picture's own copy aside."""
        with self._running:
            return self._recorded[batch].graph.nodes()

    def _write(self, batch: int, address: int) -> Callable[[], None]:
        """Make what cuts so many squares into the network's input."""
        context, stream = self._contexts[batch], self._network.stream
        self._crop.settle(context, batch)
        for tensor, place in ((MATRICES, self._matrices.address), (PICTURE, self._picture.address), (SQUARES, address)):
            self._crop.point(context, tensor, place)

        def cut() -> None:
            self._matrices.upload(slice(0, batch * 6 * _FLOAT_BYTES), stream)
            self._crop.enqueue(context, stream)

        return cut
