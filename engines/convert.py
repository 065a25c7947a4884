"""Converts a TensorFlow Lite network to ONNX: ``python -m engines.convert MODEL SOURCE TARGET``.

The batch dimension is free. A network's ``head`` names what is written after its last operator, so that
the outputs are those its manifest promises.
"""

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx

from engines import manifest
from engines.convert_custom import CUSTOM_WRITERS, refined_points
from engines.convert_operations import WRITERS, Conversion, Layout
from engines.errors import EngineError
from engines.tflite_reader import read_network

MESH_POINTS = 468
IRIS_POINTS = 5
EYELID_POINTS = 16  # an eye's first sixteen points are its lids: their mean depth is the iris's


def convert(source: Path, model: manifest.Model | manifest.TaskModel) -> onnx.ModelProto:
    """Convert one file to the inputs and outputs that its manifest promises."""
    conversion = Conversion(read_network(source))
    _put_input(conversion, source, model)
    writers = {**WRITERS, **CUSTOM_WRITERS}
    for operator in conversion.network.operators:
        if operator.name not in writers:
            raise EngineError(f"{source.name}: operator {operator.name} is not known to the converter")
        writers[operator.name](conversion, operator)
    HEADS[model.head](conversion)
    return conversion.graph.model(model.name, model.inputs, model.outputs)


def _put_input(conversion: Conversion, source: Path, model: manifest.Model | manifest.TaskModel) -> None:
    ((name, (_, *sizes)),) = model.inputs.items()
    layout = Layout.CHANNELS_FIRST if len(sizes) == 3 else Layout.PLAIN
    expected = (1, *sizes[1:], sizes[0]) if layout is Layout.CHANNELS_FIRST else (1, *sizes)
    shapes = [conversion.tensor(index).shape for index in conversion.network.inputs]
    if shapes != [expected]:
        raise EngineError(f"{source.name} must take {expected}, got {', '.join(map(str, shapes)) or 'nothing'}")
    conversion.put(conversion.network.inputs[0], name, layout)


def _outputs(conversion: Conversion) -> dict[str, int]:
    return {conversion.tensor(index).name: index for index in conversion.network.outputs}


def _detector_head(conversion: Conversion) -> None:
    outputs = _outputs(conversion)
    for source, target in (("regressors", "boxes"), ("classificators", "scores")):
        conversion.graph.node("Identity", conversion.name(outputs[source], Layout.PLAIN), output=target)


def _attention_mesh_head(conversion: Conversion) -> None:
    """Merge the mesh with what refines it: x and y of lips, eyes and irises; an iris is as deep as its lids."""
    graph, outputs = conversion.graph, _outputs(conversion)

    def points(name: str, dimensions: int) -> str:
        shape = graph.integers([-1, conversion.tensor(outputs[name]).shape[-1] // dimensions, dimensions])
        return graph.node("Reshape", conversion.values[outputs[name]][0], shape)

    mesh = points("output_mesh_identity", 3)
    axis = graph.integers([2])
    flat = graph.node("Slice", mesh, graph.integers([0]), graph.integers([2]), axis)
    depth = graph.node("Slice", mesh, graph.integers([2]), graph.integers([3]), axis)
    parts = ("lips", "left_eye", "right_eye", "left_iris", "right_iris")
    refined = [points(f"output_{part}", 2) for part in parts]
    lips, first_eye, second_eye = refined_points(conversion.network.operators)

    order = list(range(MESH_POINTS)) + [0] * 2 * IRIS_POINTS
    irises = (range(MESH_POINTS, MESH_POINTS + IRIS_POINTS), range(MESH_POINTS + IRIS_POINTS, len(order)))
    position = MESH_POINTS
    for indices in (lips, first_eye, second_eye, *irises):
        for index in indices:
            order[index] = position
            position += 1
    merged = graph.node("Gather", graph.node("Concat", flat, *refined, axis=1), graph.integers(order), axis=1)

    depths = [depth]
    for eye in (first_eye, second_eye):
        lids = graph.node("Gather", depth, graph.integers(eye[:EYELID_POINTS]), axis=1)
        depths += [graph.node("ReduceMean", lids, axes=[1], keepdims=1)] * IRIS_POINTS
    graph.node("Concat", merged, graph.node("Concat", *depths, axis=1), axis=2, output="landmarks")

    flag = graph.node("Reshape", conversion.values[outputs["conv_faceflag"]][0], graph.integers([-1, 1]))
    graph.node("Sigmoid", flag, output="presence")


def _task_outputs(conversion: Conversion, *counts: int) -> list[str]:
    """The first outputs, which must be this many numbers each; a task file's have no names worth the word."""
    indices = conversion.network.outputs[: len(counts)]
    shapes = [conversion.tensor(index).shape for index in indices]
    if [math.prod(shape) for shape in shapes] != list(counts):
        raise EngineError(f"the network must give {', '.join(map(str, counts))} numbers, got the shapes {shapes}")
    return [conversion.values[index][0] for index in indices]  # a row of numbers reads the same in every layout


def _task_landmarks_head(conversion: Conversion) -> None:
    graph, count = conversion.graph, MESH_POINTS + 2 * IRIS_POINTS
    points, flag = _task_outputs(conversion, count * 3, 1)
    graph.node("Reshape", points, graph.integers([-1, count, 3]), output="landmarks")
    graph.node("Sigmoid", graph.node("Reshape", flag, graph.integers([-1, 1])), output="presence")


def _task_blendshapes_head(conversion: Conversion) -> None:
    (weights,) = _task_outputs(conversion, 52)
    conversion.graph.node("Reshape", weights, conversion.graph.integers([-1, 52]), output="blendshapes")


HEADS: Mapping[str, Callable[[Conversion], None]] = {
    "detector": _detector_head,
    "attention_mesh": _attention_mesh_head,
    "task_landmarks": _task_landmarks_head,
    "task_blendshapes": _task_blendshapes_head,
}


def main(arguments: list[str]) -> int:
    """Convert one file in a process of its own, which takes the converter's memory with it when it ends."""
    name, source, target = arguments
    try:
        onnx.save(convert(Path(source), manifest.find_network(name)), target)
    except EngineError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
