"""The CUDA driver through its own library: what pycuda has not (graphs), or costs a context (which GPU this is)."""

import ctypes
from dataclasses import dataclass

from engines.errors import EngineError

LIBRARY = "libcuda.so.1"

# Names and numbers of the driver's interface, cuda.h.
_NAME_BYTES = 256
_INTEGRATED = 18
_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76
_NO_DEVICE = 100
_THREAD_LOCAL = 1  # a capture here leaves other threads free to allocate


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU of this machine."""

    name: str
    compute_capability: str
    integrated: bool  # it shares the processor's memory, as on a Jetson


def read_gpu(library: str = LIBRARY) -> Gpu:
    """Which GPU this machine has; ``EngineError`` without a driver or a GPU. No context is made."""
    driver = _load(library)
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    status = driver.cuInit(0)
    if status == _NO_DEVICE:
        raise EngineError("this machine has no GPU that the driver knows; set engines.runner = auto")
    _check(status, "cuInit")
    _check(driver.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    _check(driver.cuDeviceGetName(name, _NAME_BYTES, device), "cuDeviceGetName")
    major, minor, integrated = (
        _attribute(driver, device, code) for code in (_COMPUTE_MAJOR, _COMPUTE_MINOR, _INTEGRATED)
    )
    return Gpu(name.value.decode(errors="replace"), f"{major}.{minor}", bool(integrated))


def pin_host_memory(address: int, size: int, library: str = LIBRARY) -> None:
    """Let the GPU read memory of the processor directly, in the current context, until ``release_host_memory``."""
    status = _load(library).cuMemHostRegister_v2(ctypes.c_void_p(address), ctypes.c_size_t(size), 0)
    _check(status, "cuMemHostRegister")


def release_host_memory(address: int, library: str = LIBRARY) -> None:
    """Undo ``pin_host_memory``, before the memory goes: the driver refuses its address to others else."""
    _check(_load(library).cuMemHostUnregister(ctypes.c_void_p(address)), "cuMemHostUnregister")


class CudaGraph:
    """What a stream was told between ``begin`` and ``end``, launched as one.

    ``stream`` is the driver's handle. One thread records and launches.
    """

    def __init__(self, stream: int, library: str = LIBRARY) -> None:
        self._driver = _load(library)
        self._stream = ctypes.c_void_p(stream)
        self._graph = ctypes.c_void_p()
        self._launchable = ctypes.c_void_p()

    def begin(self) -> None:
        """From now on the stream's work is written down instead of done."""
        _check(self._driver.cuStreamBeginCapture_v2(self._stream, _THREAD_LOCAL), "cuStreamBeginCapture")

    def end(self) -> None:
        """Make what was written down ready to launch."""
        _check(self._driver.cuStreamEndCapture(self._stream, ctypes.byref(self._graph)), "cuStreamEndCapture")
        flags = ctypes.c_ulonglong(0)
        status = self._driver.cuGraphInstantiateWithFlags(ctypes.byref(self._launchable), self._graph, flags)
        _check(status, "cuGraphInstantiate")

    def launch(self) -> None:
        """Do it all, in order, without waiting."""
        _check(self._driver.cuGraphLaunch(self._launchable, self._stream), "cuGraphLaunch")

    def nodes(self) -> int:
        """How many kernels and copies it holds."""
        count = ctypes.c_size_t()
        _check(self._driver.cuGraphGetNodes(self._graph, None, ctypes.byref(count)), "cuGraphGetNodes")
        return count.value

    def close(self) -> None:
        """Give its memory back."""
        if self._launchable:
            _check(self._driver.cuGraphExecDestroy(self._launchable), "cuGraphExecDestroy")
        if self._graph:
            _check(self._driver.cuGraphDestroy(self._graph), "cuGraphDestroy")
        self._launchable, self._graph = ctypes.c_void_p(), ctypes.c_void_p()


def _load(library: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(library)
    except OSError:
        raise EngineError(
            f"this machine has no NVIDIA driver ({library} does not load); install it, or set engines.runner = auto"
        ) from None


def _attribute(driver: ctypes.CDLL, device: ctypes.c_int, code: int) -> int:
    value = ctypes.c_int()
    _check(driver.cuDeviceGetAttribute(ctypes.byref(value), code, device), "cuDeviceGetAttribute")
    return value.value


def _check(status: int, call: str) -> None:
    if status:
        raise EngineError(
            f"the GPU driver refused {call} with error {status}; start the appliance again, and the machine if it stays"
        )
