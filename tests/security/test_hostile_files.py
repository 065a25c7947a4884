"""Files that want to do harm: each is refused in one line, takes no memory to speak of, and touches nothing else."""

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from appliance import settings
from appliance.capture.ring import Ring
from appliance.capture.sessions import SessionPictures
from appliance.capture.supervisor import Cameras
from appliance.errors import CameraError, ConfigError, MicrophoneError
from appliance.listening.recordings import wav_blocks
from appliance.values import Event
from engines.errors import EngineError
from engines.opening import open_runner


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device_without_end(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_circle_of_links(path: Path) -> None:
    path.symlink_to(path)


def a_file_too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room


def tables_within_tables(path: Path) -> None:
    path.write_text("a = " + "{a = " * 9000 + "1" + "}" * 9000)


def keys_within_keys(path: Path) -> None:
    path.write_text(".".join(["a"] * 3000) + " = 1")


def bytes_that_are_no_text(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


@pytest.mark.parametrize(
    "make",
    [
        a_folder,
        a_pipe,
        a_device_without_end,
        a_circle_of_links,
        a_file_too_large,
        tables_within_tables,
        keys_within_keys,
        bytes_that_are_no_text,
    ],
)
def test_settings_that_are_none_are_one_line(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "appliance.toml"
    make(path)

    with pytest.raises(ConfigError) as refused:
        settings.load(path)

    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def a_network(*tensors: onnx.TensorProto, operation: str = "Add", domain: str = "") -> bytes:
    node = helper.make_node(operation, ["x", "w"][: 1 + len(tensors)], ["y"], domain=domain)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in ("x", "y")]
    graph = helper.make_graph([node], "hostile", ends[:1], ends[1:], list(tensors))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def weights_in_another_file(place: str) -> bytes:
    weights = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=place)
    return a_network(weights)


NETWORKS = {
    "garbage": np.random.default_rng(1).bytes(5000),
    "nothing": b"",
    "truncated": a_network(operation="Relu")[:-20],
    "weights of the password file": weights_in_another_file("../../../../../../../../etc/passwd"),
    "weights by an absolute path": weights_in_another_file("/etc/passwd"),
    "an operation of its own": a_network(operation="Run", domain="evil"),
}


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_hostile_network_is_refused(tmp_path: Path, kind: str, library: str) -> None:
    path = tmp_path / "hostile.onnx"
    path.write_bytes(NETWORKS[kind])

    with pytest.raises(EngineError, match=r"cannot load .*hostile\.onnx"):
        open_runner(path, library)


def an_array(values: object, header_says: tuple[int, ...] | None = None) -> bytes:
    array, written = np.asarray(values, np.int64), io.BytesIO()
    shape = array.shape if header_says is None else header_says
    np.lib.format.write_array_header_1_0(written, {"descr": "<i8", "fortran_order": False, "shape": shape})
    return written.getvalue() + array.tobytes()


def a_session(folder: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(folder / "camera.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        sound = {name: an_array(1) for name in ("offsets", "captured_ns", "width", "height", "jpeg")}
        for name, content in {**sound, **members}.items():
            archive.writestr(f"{name}.npy", content)
    return folder


def test_a_recording_that_unpacks_to_more_than_memory_is_refused(tmp_path: Path) -> None:
    bomb = a_session(tmp_path, offsets=an_array(np.zeros(1 << 24)))  # 128 MB in 130 kB

    with pytest.raises(CameraError, match="unpacks to more"):
        SessionPictures(bomb)


def test_a_recording_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    liar = a_session(tmp_path, offsets=an_array([0, 1], header_says=(1 << 50,)))

    with pytest.raises(CameraError, match="no whole recording"):
        SessionPictures(liar)


def test_a_recording_of_pickled_objects_is_refused(tmp_path: Path) -> None:
    written = io.BytesIO()
    np.save(written, np.array([print], object), allow_pickle=True)

    with pytest.raises(CameraError, match="no whole recording"):
        SessionPictures(a_session(tmp_path, offsets=written.getvalue()))


def test_a_sound_that_says_it_were_endless_is_heard_no_further_than_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    path.write_bytes(b"RIFF\xff\xff\xff\xffWAVE" + form + b"data\xff\xff\xff\xff" + bytes(3200))

    with pytest.raises(MicrophoneError):
        sum(len(block) for block in wav_blocks(path))


def test_a_picture_that_says_it_were_vast_is_dropped_and_takes_no_memory(tmp_path: Path) -> None:
    still, events = tmp_path / "vast.jpg", list[Event]()
    size = struct.pack(">HH", 60_000, 60_000)
    frame = b"\xff\xc0" + struct.pack(">HB", 17, 8) + size + b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    still.write_bytes(b"\xff\xd8" + frame + bytes(100) + b"\xff\xd9")
    camera = settings.Camera(name=f"vast-{os.getpid()}", source=f"file:{still}", width=320, height=240)

    with Cameras([camera], events.append) as cameras:
        for _ in cameras.ready():
            pass

    assert [(event.name, event.details["dropped"]) for event in events] == [("picture_rejected", True)]


def test_a_link_in_the_rings_place_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("untouched")
    (tmp_path / "avatar-cam0").symlink_to(secret)

    with pytest.raises(CameraError):
        Ring("cam0", 64, 64, tmp_path)

    assert secret.read_text() == "untouched"
