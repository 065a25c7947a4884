"""Squares cut out by the GPU are those that the processor cuts, and reach the network in the same launch."""

import mmap

import graphs
import numpy as np
import pytest

from engines.build import Options, build_plan, library
from engines.crop_graph import LARGEST_DIFFERENCE, crop_graph
from engines.gpu_crop import CroppingRunner, GpuPicture
from engines.manifest import Preprocessing
from engines.preprocess import Image, Matrix, sample
from engines.tensorrt_runner import LoadedEngine, TensorRTRunner, free_bytes

pytestmark = pytest.mark.gpu

WIDTH, HEIGHT, SIZE = 320, 240, 64
WORKSPACE = 256 << 20
SEEN = Preprocessing(SIZE, 0.0, 1.0, "edge")


def plan_of(model: bytes, name: str) -> bytes:
    return build_plan(library(), model, name, Options("fp32"), WORKSPACE, b"", print)[0]


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    path = graphs.copying(tmp_path_factory.mktemp("networks") / "copying.onnx", SIZE)
    crop = crop_graph(SEEN, WIDTH, HEIGHT).SerializeToString()
    return plan_of(path.read_bytes(), "copying"), plan_of(crop, "crop")


@pytest.fixture
def run(plans: tuple[bytes, bytes]) -> CroppingRunner:
    network, crop = LoadedEngine(plans[0], "copying"), LoadedEngine(plans[1], "crop")
    return CroppingRunner(TensorRTRunner(network), "input", crop, GpuPicture(WIDTH, HEIGHT))


def photograph(seed: int) -> Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3))
    return np.kron(coarse, np.ones((16, 16, 1))).astype(np.uint8)


def matrices(count: int, seed: int = 1) -> list[Matrix]:
    """Turned, enlarged and reduced, some beyond the edge of the picture."""
    rng = np.random.default_rng(seed)
    made = []
    for angle, scale, x, y in rng.uniform((-1, 0.5, -20, -20), (1, 3, WIDTH, HEIGHT), (count, 4)):
        cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
        made.append(np.array([[cos, -sin, x], [sin, cos, y]]))
    return made


def on_processor(image: Image, each: list[Matrix]) -> np.ndarray:
    squares = np.zeros((len(each), 3, SIZE, SIZE), np.float32)
    for matrix, square in zip(each, squares, strict=True):
        sample(image, matrix, SEEN, square)
    return squares


def cut(run: CroppingRunner, image: Image, each: list[Matrix]) -> np.ndarray:
    outputs = run.cut([(image, matrix) for matrix in each], {})
    assert outputs is not None
    return outputs()["output"].reshape(-1, 3, SIZE, SIZE).copy()


@pytest.mark.parametrize("faces", [1, 2, 8])
def test_every_square_is_the_processors(run: CroppingRunner, faces: int) -> None:
    image, each = photograph(0), matrices(faces)

    difference = np.abs(cut(run, image, each) - on_processor(image, each)) * 255

    assert difference.max() <= LARGEST_DIFFERENCE
    assert difference.mean() <= 0.5


@pytest.mark.parametrize("pinned", [False, True])
def test_each_picture_is_seen_whichever_buffer_it_lies_in(plans: tuple[bytes, bytes], pinned: bool) -> None:
    network, crop = LoadedEngine(plans[0], "copying"), LoadedEngine(plans[1], "crop")
    picture = GpuPicture(WIDTH, HEIGHT)
    run = CroppingRunner(TensorRTRunner(network), "input", crop, picture)
    size = WIDTH * HEIGHT * 3
    memory = np.frombuffer(mmap.mmap(-1, 3 * size), np.uint8)
    if pinned:
        picture.pin(memory)
    (matrix,) = matrices(1)
    for turn in range(8):  # a camera fills two buffers in turn; each comes as a new view
        buffer = memory[turn % 2 * size :][:size].reshape(HEIGHT, WIDTH, 3)
        buffer[:] = photograph(turn)
        found = cut(run, buffer.view(), [matrix])
        assert np.abs(found - on_processor(buffer, [matrix])).mean() * 255 <= 0.5


def test_memory_that_was_pinned_is_free_to_be_pinned_again() -> None:
    memory = np.frombuffer(mmap.mmap(-1, WIDTH * HEIGHT * 3), np.uint8)

    for _ in range(2):
        GpuPicture(WIDTH, HEIGHT).pin(memory)


def test_what_it_cannot_cut_is_left_to_the_processor(run: CroppingRunner) -> None:
    image, other = photograph(0), photograph(1)
    one, two = matrices(2)

    assert run.cut([(image, one), (other, two)], {}) is None
    assert run.cut([(image[:, 10:], one)], {}) is None
    assert run.cut([(image, one)] * 20, {}) is None


def test_squares_that_were_cut_already_are_taken_too(run: CroppingRunner) -> None:
    image, each = photograph(3), matrices(2)
    squares = on_processor(image, each)

    np.testing.assert_array_equal(run({"input": squares})["output"].reshape(squares.shape), squares)
    assert np.abs(cut(run, image, each) - squares).mean() * 255 <= 0.5


def test_pictures_take_no_memory(run: CroppingRunner) -> None:
    image, each = photograph(0), matrices(1)
    for _ in range(3):
        cut(run, image.view(), each)
    before = free_bytes()

    for _ in range(1000):
        cut(run, image.view(), each)

    assert free_bytes() == before
