"""Which engines cut squares of pictures on a GPU, and how a network comes by one.

What cuts is a network without weights (``engines.crop_graph``), so it is built, kept and verified like any other; its
file is made from what it is to cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engines.board import Board
from engines.crop_graph import MATRICES, PICTURE, SQUARES, crop_graph
from engines.durable import settle
from engines.errors import EngineError
from engines.fetch import file_sha256
from engines.keys import Wanted, choose_engine
from engines.manifest import NO_EIGHT_BITS, Preprocessing
from engines.networks import Network
from engines.opening import this_board
from engines.runners import Runner
from engines.store import Store

if TYPE_CHECKING:
    from engines.gpu_crop import GpuPicture

FOLDER = "crops"
"""Of the models folder."""

_VERSION = 1  # of the graph: a file of another is not looked at
_TOLERANCE = 1 / 255


@dataclass(frozen=True, slots=True)
class Crop:
    """Squares of pictures of one size, as one network sees them."""

    preprocessing: Preprocessing
    width_px: int
    height_px: int

    @property
    def name(self) -> str:
        """Of its engine."""
        seen = self.preprocessing
        return (
            f"crop{_VERSION}_{seen.size_px}_{seen.outside}_{seen.low:g}_{seen.high:g}_{self.width_px}x{self.height_px}"
        )


def crop_network(crop: Crop, models: Path) -> Network:
    """What cuts, as a network of the models folder; its file is written where it is not there."""
    path = _path(crop, models)
    if not path.is_file():
        _write(crop, path)
    return Network(
        name=crop.name,
        onnx=path,
        onnx_sha256=file_sha256(path),
        manifest_sha256="",
        inputs={MATRICES: ("batch", 2, 3), PICTURE: (1, crop.height_px, crop.width_px, 3)},
        tolerance={SQUARES: _TOLERANCE},
        method=NO_EIGHT_BITS,
        precision="fp32",  # 16 bits do not know where a pixel is
        shared=(PICTURE,),
    )


def cuts(network: Network) -> bool:
    """Whether this is what cuts, which the processor can do as well."""
    return network.onnx.parent.name == FOLDER


def crop_plan(crop: Crop, models: Path, wanted: Wanted, board: Board) -> bytes | None:
    """The engine that cuts; ``None`` where none was built here, for then the processor cuts."""
    if not _path(crop, models).is_file():
        return None
    store = Store(wanted.engines)
    key = choose_engine(crop_network(crop, models), wanted, board, store).key
    return store.read(key) if store.is_whole(key) else None


def _write(crop: Crop, path: Path) -> None:
    content = crop_graph(crop.preprocessing, crop.width_px, crop.height_px).SerializeToString()
    aside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        settle(aside, path)
    except OSError as error:
        raise EngineError(
            f"{path} cannot be written: {error.strerror}; run as the user of the appliance: appliance engines build"
        ) from None


def _path(crop: Crop, models: Path) -> Path:
    return models / FOLDER / f"{crop.name}.onnx"


class Cutter:
    """Lets networks cut their squares on the GPU: one picture there serves all of them."""

    def __init__(self, width_px: int, height_px: int, models: Path, wanted: Wanted) -> None:
        self._size = (width_px, height_px)
        self._models, self._wanted = models, wanted
        self._picture: GpuPicture | None = None

    def joined(self, network: Runner, tensor: str, preprocessing: Preprocessing) -> Runner:
        """A network that cuts one of its inputs; the network as it is where nothing was built that cuts for it."""
        crop = Crop(preprocessing, *self._size)
        plan = crop_plan(crop, self._models, self._wanted, this_board())
        if plan is None:
            return network
        from engines.gpu_crop import CroppingRunner, GpuPicture
        from engines.tensorrt_runner import LoadedEngine, TensorRTRunner

        assert isinstance(network, TensorRTRunner), "what runs beside an engine that cuts is an engine"
        self._picture = self._picture or GpuPicture(*self._size)
        return CroppingRunner(network, tensor, LoadedEngine(plan, crop.name), self._picture)
