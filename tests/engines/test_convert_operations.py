"""The operators of the blendshape network, written in ONNX, against numpy; the file's batch is one, ours is not."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from engines.convert_operations import WRITERS, Conversion, Layout
from engines.errors import EngineError
from engines.tflite_reader import Network, Operator, Tensor

Array = npt.NDArray[Any]
BATCH = 3
RNG = np.random.default_rng(1)
TOKEN, WEIGHTS, BIAS = (RNG.standard_normal(shape).astype(np.float32) for shape in ((1, 1, 1, 6), (5, 1, 1, 6), (5,)))


def options(**values: int) -> Any:
    """What the schema's options object answers."""
    return SimpleNamespace(**{name: lambda value=value: value for name, value in values.items()})


PLAIN = options(FusedActivationFunction=0)
LINEAR = options(StrideH=1, StrideW=1, Padding=1, DilationHFactor=1, DilationWFactor=1, FusedActivationFunction=1)
KEEP, DROP = options(KeepDims=1), options(KeepDims=0)
WHOLE_BUT_ROWS = options(BeginMask=15, EndMask=11, ShrinkAxisMask=0, EllipsisMask=0, NewAxisMask=0)
OUT_OF_BATCH = options(BeginMask=14, EndMask=14, ShrinkAxisMask=1, EllipsisMask=0, NewAxisMask=0)


def integers(*values: int) -> Array:
    return np.array(values, np.int32)


def run(name: str, settings: Any, inputs: list[Array | None], picture: Array, shape: Any, path: Path) -> Array:
    """Write one operator as a network of its own and run it; ``None`` among the inputs stands for the picture."""
    tensors = [
        Tensor("tensor", (1, *picture.shape[1:]) if constant is None else constant.shape, constant)
        for constant in inputs
    ]
    numbers, result = tuple(range(len(inputs))), len(inputs)
    operator = Operator(name, numbers, (result,), settings)
    conversion = Conversion(Network((*tensors, Tensor("result", (), None)), (operator,), numbers, (result,)))
    for number, constant in enumerate(inputs):
        if constant is None:
            conversion.put(number, "input", Layout.PLAIN)
    WRITERS[name](conversion, operator)
    conversion.graph.node("Identity", conversion.name(result, Layout.PLAIN), output="made")
    model = conversion.graph.model(name, {"input": ["batch", *picture.shape[1:]]}, {"made": ["batch", *shape[1:]]})
    (path / "operator.onnx").write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(path / "operator.onnx", providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["made"], {"input": picture})[0])


CASES: list[tuple[str, Any, list[Array | None], Callable[[Array], Array]]] = [
    ("MEAN", KEEP, [None, integers(-2)], lambda x: x.mean(axis=2, keepdims=True)),
    ("MEAN", DROP, [None, integers(1, 2)], lambda x: x.mean(axis=(1, 2))),
    ("SUM", KEEP, [None, integers(3)], lambda x: x.sum(axis=3, keepdims=True)),
    ("SQRT", None, [None], np.sqrt),
    ("RSQRT", None, [None], lambda x: 1 / np.sqrt(x)),
    ("NEG", None, [None], np.negative),
    ("LOGISTIC", None, [None], lambda x: 1 / (1 + np.exp(-x))),
    ("SUB", PLAIN, [None, TOKEN], lambda x: x - TOKEN),
    ("DIV", PLAIN, [TOKEN, None], lambda x: TOKEN / x),
    ("SQUARED_DIFFERENCE", None, [None, TOKEN], lambda x: (x - TOKEN) ** 2),
    ("TRANSPOSE", None, [None, integers(0, 1, 3, 2)], lambda x: x.transpose(0, 1, 3, 2)),
    (
        "CONCATENATION",
        options(Axis=2),
        [TOKEN, None],
        lambda x: np.concatenate([np.repeat(TOKEN, BATCH, axis=0), x], axis=2),
    ),
    (
        "STRIDED_SLICE",
        WHOLE_BUT_ROWS,
        [None, integers(0, 0, 1, 0), integers(0, 0, 3, 0), integers(1, 1, 1, 1)],
        lambda x: x[:, :, :3],
    ),
    (
        "STRIDED_SLICE",
        OUT_OF_BATCH,
        [None, integers(0, 0, 0, 0), integers(1, 0, 0, 0), integers(1, 1, 1, 1)],
        lambda x: x,
    ),
    ("CONV_2D", LINEAR, [None, WEIGHTS, BIAS], lambda x: np.maximum(x @ WEIGHTS[:, 0, 0].T + BIAS, 0)),
]


@pytest.mark.parametrize(("name", "settings", "inputs", "expected"), CASES, ids=[case[0] for case in CASES])
def test_an_operator_computes_a_batch_as_numpy_does(
    name: str, settings: Any, inputs: list[Array | None], expected: Callable[[Array], Array], tmp_path: Path
) -> None:
    picture = np.random.default_rng(2).uniform(0.5, 2, (BATCH, 1, 4, 6)).astype(np.float32)

    computed = expected(picture)

    made = run(name, settings, inputs, picture, computed.shape, tmp_path)

    np.testing.assert_allclose(made, computed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "settings", "inputs", "message"),
    [
        ("MEAN", KEEP, [None, integers(0)], "MEAN over the batch"),
        ("TRANSPOSE", None, [None, integers(3, 1, 2, 0)], "moves the batch"),
        ("CONCATENATION", options(Axis=2), [TOKEN, None, None], "with one activation only"),
        ("CONV_2D", LINEAR, [None, np.ones((5, 2, 1, 6), np.float32)], "where no picture is"),
        (
            "STRIDED_SLICE",
            OUT_OF_BATCH,
            [None, integers(0, 0, 0, 0), integers(1, 4, 4, 6), integers(1, 1, 2, 1)],
            "in steps",
        ),
    ],
)
def test_what_would_be_converted_wrongly_is_refused(
    name: str, settings: Any, inputs: list[Array | None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=message):
        run(name, settings, inputs, np.ones((BATCH, 1, 4, 6), np.float32), (), tmp_path)
