"""Engines that cut: built, verified and kept like those of networks, and used where they are there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorrt_rtx_bindings
from boards import ORIN

from appliance import installed
from appliance.settings import Settings, from_table
from engines.build import Library, Options, Tell, build_plan
from engines.crop_graph import MATRICES, PICTURE, SQUARES
from engines.crops import Crop, crop_network, crop_plan
from engines.errors import EngineError
from engines.keys import Wanted
from engines.manifest import Preprocessing
from engines.opening import open_runner
from engines.runners import Runner, Tensors
from engines.stocking import Machine, Workshop
from engines.store import Store
from engines.timing import batch_of, median_ms
from engines.verifying import made_samples

pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")

BOARD = replace(ORIN, tensorrt="11.0.0")
RTX = Library(tensorrt_rtx_bindings, (11, 0))
CROP = Crop(Preprocessing(24, 0.0, 1.0, "edge"), 80, 60)


class Whole:
    """Runs what was built as it is written, whole batches at once: as TensorRT would."""

    def __init__(self, content: bytes) -> None:
        self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: Tensors) -> Tensors:
        return {SQUARES: self._session.run([SQUARES], dict(inputs))[0]}


class Device:
    """A machine that builds for real and runs what it built without a GPU."""

    def __init__(self, folder: Path, precision: str = "int8") -> None:
        self.models = folder / "models"
        self.wanted = Wanted(precision, folder / "engines", folder / "calibration")
        self.store = Store(self.wanted.engines)
        self._built: dict[bytes, bytes] = {}

    def workshop(self) -> Workshop:
        machine = Machine(BOARD, lambda: 4 << 30, self._build, self._run, open_runner, median_ms)
        return Workshop(machine, self.store, self.wanted, print, print)

    def plan(self) -> bytes | None:
        return crop_plan(CROP, self.models, self.wanted, BOARD)

    def _build(
        self, content: bytes, name: str, options: Options, workspace: int, cache: bytes, tell: Tell
    ) -> tuple[bytes, bytes]:
        plan, cache = build_plan(RTX, content, name, options, workspace, cache, tell)
        self._built[plan] = content
        return plan, cache

    def _run(self, plan: bytes, _name: str) -> Runner:
        return Whole(self._built[plan])


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_what_cuts_is_built_in_32_bits_verified_and_found(tmp_path: Path, precision: str) -> None:
    device = Device(tmp_path, precision)
    assert device.plan() is None

    record = device.workshop().ensure(crop_network(CROP, device.models)).record

    assert record.key.precision == "fp32"
    assert record.key.build.startswith("batch 1 2..8")
    assert record.errors[SQUARES] < 1e-6
    assert device.plan() == device.store.read(record.key)


def test_the_processor_cuts_where_the_engine_is_damaged(device: Device) -> None:
    record = device.workshop().ensure(crop_network(CROP, device.models)).record
    (device.wanted.engines / record.plan).write_bytes(b"half a plan")

    assert device.plan() is None


def test_its_file_is_written_once(device: Device) -> None:
    first = crop_network(CROP, device.models)
    first.onnx.touch()
    before = first.onnx.stat().st_mtime_ns

    assert crop_network(CROP, device.models) == first
    assert first.onnx.stat().st_mtime_ns == before


def test_each_size_and_edge_has_a_name_of_its_own() -> None:
    seen = CROP.preprocessing
    others = [replace(CROP, width_px=81), replace(CROP, preprocessing=replace(seen, outside="black"))]
    others += [
        replace(CROP, preprocessing=replace(seen, size_px=25)),
        replace(CROP, preprocessing=replace(seen, low=-1.0)),
    ]

    assert len({crop.name for crop in [CROP, *others]}) == 5


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("no folder")

    with pytest.raises(EngineError, match=r"crops/crop.* cannot be written: .*appliance engines build"):
        crop_network(CROP, tmp_path / "models")


def test_samples_share_one_picture_of_bytes(device: Device) -> None:
    samples = made_samples(crop_network(CROP, device.models))

    assert samples[PICTURE].shape == (1, 60, 80, 3)
    assert samples[PICTURE].dtype == np.uint8
    assert {name: len(array) for name, array in batch_of(samples, 3).items()} == {MATRICES: 3, PICTURE: 1}


CAMERA = {"name": "cam0", "source": "file:film.avi", "width": 640, "height": 480}


def settings(cameras: int = 1, **engines: str) -> Settings:
    several = [{**CAMERA, "name": f"cam{number}"} for number in range(cameras)]
    return from_table({"camera": several, "engines": engines})


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "choose", lambda _: "tensorrt")


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize(("face", "sizes"), [("own", [192, 96]), ("task", [256])])
def test_an_only_cameras_pictures_are_cut_for_every_network_that_sees_them(face: str, sizes: list[int]) -> None:
    crops = installed.crops(settings(face=face))

    assert [crop.preprocessing.size_px for crop in crops] == sizes
    assert {(crop.width_px, crop.height_px) for crop in crops} == {(640, 480)}


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize("cameras", [0, 2])
def test_several_cameras_pictures_are_cut_by_the_processor(cameras: int) -> None:
    assert installed.crops(settings(cameras)) == []


class Failing:
    """What cuts, on a GPU that has no memory left."""

    def __init__(self, *_: object) -> None:
        pass

    def joined(self, *_: object) -> Runner:
        raise EngineError("preparing pictures needs more GPU memory than is free")


@pytest.mark.usefixtures("on_a_gpu")
def test_a_network_runs_even_where_what_cuts_does_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(installed, "Cutter", Failing)
    monkeypatch.setattr(installed, "opened", lambda _, name: name)
    load = installed.opened_together(settings())

    assert [load(settings(), name) for name in ("face_detector", "face_landmarks")] == [
        "face_detector",
        "face_landmarks",
    ]
    assert [record.getMessage() for record in caplog.records] == [
        "preparing pictures needs more GPU memory than is free; the processor cuts"
    ]


def test_without_a_gpu_the_processor_cuts() -> None:
    assert installed.crops(settings(runner="onnxruntime")) == []
    assert installed.opened_together(settings(runner="onnxruntime")) is installed.opened
