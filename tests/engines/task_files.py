"""Self-made task files: small networks of the shapes that MediaPipe's have, with weights of no meaning."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

LANDMARKS, BLENDSHAPES = "face_landmarks_detector.tflite", "face_blendshapes.tflite"
Array = npt.NDArray[Any]
_KINDS = {"float32": tflite.TensorType.FLOAT32, "int32": tflite.TensorType.INT32}


@dataclass
class Writer:
    """A TensorFlow Lite file of one subgraph, operator after operator."""

    shapes: list[tuple[tuple[int, ...], Array | None]] = field(default_factory=list)
    steps: list[tuple[int, list[int], list[int], str]] = field(default_factory=list)

    def tensor(self, *shape: int) -> int:
        self.shapes.append((shape, None))
        return len(self.shapes) - 1

    def constant(self, values: npt.ArrayLike, dtype: type = np.float32) -> int:
        array = np.asarray(values, dtype)
        self.shapes.append((array.shape, array))
        return len(self.shapes) - 1

    def step(self, operator: int, inputs: list[int], shape: tuple[int, ...], options: str = "") -> int:
        result = self.tensor(*shape)
        self.steps.append((operator, inputs, [result], options))
        return result

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        builder = flatbuffers.Builder(0)
        buffers = [self._buffer(builder, None)]
        tensors = []
        for shape, values in self.shapes:
            if values is not None:
                buffers.append(self._buffer(builder, values))
            tensors.append(self._tensor(builder, shape, values, len(buffers) - 1 if values is not None else 0))
        codes = [code for code, *_ in self.steps]
        operators = [self._operator(builder, index, *step[1:]) for index, step in enumerate(self.steps)]
        ends = [builder.CreateNumpyVector(np.array(numbers, np.int32)) for numbers in (inputs, outputs)]
        tables = [_vector(builder, entries) for entries in (tensors, operators)]
        tflite.SubGraphStart(builder)
        tflite.SubGraphAddTensors(builder, tables[0])
        tflite.SubGraphAddOperators(builder, tables[1])
        tflite.SubGraphAddInputs(builder, ends[0])
        tflite.SubGraphAddOutputs(builder, ends[1])
        graphs = _vector(builder, [tflite.SubGraphEnd(builder)])
        parts = [graphs, _vector(builder, buffers), _vector(builder, [_code(builder, code) for code in codes])]
        tflite.ModelStart(builder)
        tflite.ModelAddVersion(builder, 3)
        tflite.ModelAddSubgraphs(builder, parts[0])
        tflite.ModelAddBuffers(builder, parts[1])
        tflite.ModelAddOperatorCodes(builder, parts[2])
        builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _buffer(self, builder: Any, values: Array | None) -> int:
        held = None if values is None else builder.CreateNumpyVector(np.frombuffer(values.tobytes(), np.uint8))
        tflite.BufferStart(builder)
        if held is not None:
            tflite.BufferAddData(builder, held)
        return int(tflite.BufferEnd(builder))

    def _tensor(self, builder: Any, shape: tuple[int, ...], values: Array | None, buffer: int) -> int:
        name, sizes = builder.CreateString("tensor"), builder.CreateNumpyVector(np.array(shape, np.int32))
        tflite.TensorStart(builder)
        tflite.TensorAddShape(builder, sizes)
        tflite.TensorAddType(builder, _KINDS["float32" if values is None else values.dtype.name])
        tflite.TensorAddBuffer(builder, buffer)
        tflite.TensorAddName(builder, name)
        return int(tflite.TensorEnd(builder))

    def _operator(self, builder: Any, code: int, inputs: list[int], outputs: list[int], options: str) -> int:
        ends = [builder.CreateNumpyVector(np.array(numbers, np.int32)) for numbers in (inputs, outputs)]
        table = _OPTIONS[options](builder) if options else None
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, code)
        tflite.OperatorAddInputs(builder, ends[0])
        tflite.OperatorAddOutputs(builder, ends[1])
        if table is not None:
            tflite.OperatorAddBuiltinOptions(builder, table)
        return int(tflite.OperatorEnd(builder))


def _vector(builder: Any, entries: list[int]) -> int:
    builder.StartVector(4, len(entries), 4)
    for entry in reversed(entries):
        builder.PrependUOffsetTRelative(entry)
    return int(builder.EndVector())


def _code(builder: Any, code: int) -> int:
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, code)
    tflite.OperatorCodeAddBuiltinCode(builder, code)
    return int(tflite.OperatorCodeEnd(builder))


def _convolution(builder: Any) -> int:
    tflite.Conv2DOptionsStart(builder)
    tflite.Conv2DOptionsAddPadding(builder, tflite.Padding.VALID)
    tflite.Conv2DOptionsAddStrideW(builder, 1)
    tflite.Conv2DOptionsAddStrideH(builder, 1)
    return int(tflite.Conv2DOptionsEnd(builder))


def _reduction(builder: Any) -> int:
    tflite.ReducerOptionsStart(builder)
    tflite.ReducerOptionsAddKeepDims(builder, True)
    return int(tflite.ReducerOptionsEnd(builder))


_OPTIONS = {"convolution": _convolution, "reduction": _reduction}


def landmark_network(size_px: int = 256, points: int = 478) -> bytes:
    """Every point lies where the picture's mean colour says; presence is its red."""
    writer, rng = Writer(), np.random.default_rng(1)
    image = writer.tensor(1, size_px, size_px, 3)
    axes = writer.constant([1, 2], np.int32)
    colour = writer.step(tflite.BuiltinOperator.MEAN, [image, axes], (1, 1, 1, 3), "reduction")
    ends = []
    for count in (points * 3, 1):
        weights = writer.constant(rng.standard_normal((count, 1, 1, 3)))
        convolution = [colour, weights]
        ends.append(writer.step(tflite.BuiltinOperator.CONV_2D, convolution, (1, 1, 1, count), "convolution"))
    return writer.finish([image], ends)


def blendshape_network(points: int = 146) -> bytes:
    """Every weight is a sum over the points."""
    writer, rng = Writer(), np.random.default_rng(2)
    given = writer.tensor(1, points, 2)
    shape = writer.constant([1, 1, 1, points * 2], np.int32)
    row = writer.step(tflite.BuiltinOperator.RESHAPE, [given, shape], (1, 1, 1, points * 2))
    weights = writer.constant(rng.standard_normal((52, 1, 1, points * 2)) / 1000)
    sums = writer.step(tflite.BuiltinOperator.CONV_2D, [row, weights], (1, 1, 1, 52), "convolution")
    return writer.finish([given], [writer.step(tflite.BuiltinOperator.LOGISTIC, [sums], (1, 1, 1, 52))])


def write_task_file(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """A zip file of these members, in this order."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def small_task_file(path: Path, **changes: bytes) -> Path:
    """A task file whose networks have the expected shapes; ``landmarks`` and ``blendshapes`` replace them."""
    landmarks, blendshapes = changes.get("landmarks"), changes.get("blendshapes")
    members = {
        LANDMARKS: landmark_network() if landmarks is None else landmarks,
        BLENDSHAPES: blendshape_network() if blendshapes is None else blendshapes,
    }
    return write_task_file(path, members)
