"""The graph that cuts squares on a GPU computes what the processor's way does."""

import cv2
import numpy as np
import onnx
import pytest
import tensorrt_rtx_bindings as tensorrt

from engines.crop_graph import LARGEST_DIFFERENCE, MATRICES, PICTURE, SQUARES, crop_graph
from engines.manifest import Preprocessing
from engines.preprocess import Image, Matrix, sample

WIDTH, HEIGHT = 160, 120
SMOOTH_DIFFERENCE = 1.5
"""Of 255, where neighbouring pixels differ by 16 at most: half a step of rounding, and 1/32 pixel across and down."""

KINDS = (
    Preprocessing(48, 0.0, 1.0, "edge"),
    Preprocessing(32, -1.0, 1.0, "black"),
    Preprocessing(24, -2.0, 5.0, "edge"),
)


def noise(seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def smooth() -> Image:
    """Slopes of at most 16 a pixel."""
    blurred = cv2.GaussianBlur(noise(3), (0, 0), 3)
    return cv2.normalize(blurred, None, 0, 160, cv2.NORM_MINMAX).astype(np.uint8)


def matrices(count: int) -> list[Matrix]:
    """Turned, enlarged and reduced, some beyond the edge of the picture."""
    made = []
    for angle, scale, x, y in np.random.default_rng(1).uniform((-2, 0.4, -30, -30), (2, 3, WIDTH, HEIGHT), (count, 4)):
        cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
        made.append(np.array([[cos, -sin, x], [sin, cos, y]]))
    return made


def by_processor(image: Image, each: list[Matrix], preprocessing: Preprocessing) -> np.ndarray:
    squares = np.zeros((len(each), 3, preprocessing.size_px, preprocessing.size_px), np.float32)
    for matrix, square in zip(each, squares, strict=True):
        sample(image, matrix, preprocessing, square)
    return squares


def by_graph(image: Image, each: list[Matrix], preprocessing: Preprocessing) -> np.ndarray:
    import onnxruntime

    model = crop_graph(preprocessing, WIDTH, HEIGHT).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (squares,) = session.run([SQUARES], {PICTURE: image[None], MATRICES: np.array(each, np.float32)})
    return squares


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("count", [1, 5])
def test_every_square_is_that_of_the_processor(kind: Preprocessing, count: int) -> None:
    each, step = matrices(count), (kind.high - kind.low) / 255

    rough = np.abs(by_graph(noise(), each, kind) - by_processor(noise(), each, kind)) / step
    even = np.abs(by_graph(smooth(), each, kind) - by_processor(smooth(), each, kind)) / step

    assert rough.max() <= LARGEST_DIFFERENCE
    assert even.max() <= SMOOTH_DIFFERENCE
    assert even.mean() <= 0.5


def test_where_nothing_is_between_pixels_nothing_differs() -> None:
    kind = Preprocessing(16, 0.0, 255.0, "black")
    quarter_turn = np.array([[0.0, -1.0, 40.0], [1.0, 0.0, 30.0]])

    difference = by_graph(noise(), [quarter_turn], kind) - by_processor(noise(), [quarter_turn], kind)

    assert np.abs(difference).max() < 0.05  # of 255: the graph counts places from -1 to 1 in 32 bits


@pytest.mark.parametrize("size", [(1280, 720), (640, 480), (641, 363)])
def test_tensorrt_builds_it_for_every_size_of_picture(size: tuple[int, int]) -> None:
    model: onnx.ModelProto = crop_graph(KINDS[0], *size)
    builder = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, tensorrt.Logger(tensorrt.Logger.ERROR))
    assert parser.parse(model.SerializeToString())

    profile, configuration = builder.create_optimization_profile(), builder.create_builder_config()
    for port in map(network.get_input, range(network.num_inputs)):
        shapes = [tuple(batch if entry == -1 else entry for entry in port.shape) for batch in (1, 4, 8)]
        profile.set_shape(port.name, *shapes)
    configuration.add_optimization_profile(profile)

    assert builder.build_serialized_network(network, configuration) is not None
    assert network.get_input(1).dtype == tensorrt.uint8  # a byte a colour crosses to the GPU
