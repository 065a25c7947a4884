"""Tensors that equal branches of a network made, merged by walking the branches up in step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engines.rewrites import convolution
from engines.rewrites.convolution import Convolution
from engines.rewrites.graph import Array, Graph, Node
from engines.rewrites.residual import added_channels

_EACH_ALONE = ("Abs", "Cast", "Neg", "Relu", "Sigmoid", "Sqrt", "Add", "Sub", "Mul", "Div", "LessOrEqual")
_REDUCTIONS = ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin")


class UnlikeError(Exception):
    """The branches are not equal, or do what is not known here."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Several tensors as one: pictures beside each other along the channels, or stacked on a new second axis."""

    name: str
    size: int  # how many
    beside: bool
    rows: tuple[int, ...]  # each one's own size along its axis 1; the smaller ones are padded to the largest

    @property
    def is_ragged(self) -> bool:
        """Whether some are padded."""
        return len(set(self.rows)) > 1


class Bundles:
    """Merged tensors of one graph, and the nodes that they make needless."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._made: dict[tuple[str, ...], Bundle] = {}
        self._absorbed: list[Node] = []
        self._rules: dict[str, Callable[[list[Node]], tuple[str, bool]]] = {
            "Conv": self._convolve,
            "PRelu": self._rectify,
            "MaxPool": self._pool,
            "Pad": self._widen,
            "Gather": self._gather,
            "GridSample": self._sample,
            "MatMul": self._multiply,
            "Reshape": self._reshape,
            "Slice": self._slice,
            **dict.fromkeys(_EACH_ALONE, self._each),
            **dict.fromkeys(_REDUCTIONS, self._reduce),
        }

    def of(self, tensors: tuple[str, ...]) -> Bundle:
        """Merge these tensors and whatever they were made of; ``UnlikeError`` if they are not alike."""
        if tensors not in self._made:
            unique = tuple(dict.fromkeys(tensors))
            self._made[tensors] = self._merged(tensors) if unique == tensors else self._repeated(tensors, unique)
        return self._made[tensors]

    def release(self) -> None:
        """Let what still reads a merged tensor of one branch read it out of the bundle."""
        still_read = {
            tensor: (bundle, index)
            for tensors, bundle in self._made.items()
            for index, tensor in enumerate(tensors)
            if tensor in self._graph.outputs
            or any(node not in self._absorbed for node in self._graph.consumers(tensor))
        }
        for node in self._absorbed:
            self._graph.remove(node)
        for tensor, (bundle, index) in still_read.items():
            self._graph.replace(tensor, self._extracted(bundle, index))

    def _merged(self, tensors: tuple[str, ...]) -> Bundle:
        nodes = [node for node in map(self._graph.producer, tensors) if node is not None]
        if len(nodes) < len(tensors) or len(nodes) < 2 or len({node.op for node in nodes}) > 1:
            raise UnlikeError
        rule = self._rules.get(nodes[0].op)
        shapes = [self._graph.shape(tensor) for tensor in tensors]
        if rule is None or len({(len(shape), shape[2:]) for shape in shapes}) > 1 or len(shapes[0]) < 2:
            raise UnlikeError
        if nodes[0].op != "Conv" and any(node.attributes != nodes[0].attributes for node in nodes):
            raise UnlikeError
        name, beside = rule(nodes)
        self._absorbed += nodes
        return Bundle(name, len(nodes), beside, tuple(shape[1] or 0 for shape in shapes))

    def _repeated(self, tensors: tuple[str, ...], unique: tuple[str, ...]) -> Bundle:
        bundle = self.of(unique)
        order = np.array([unique.index(tensor) for tensor in tensors])
        width = max(bundle.rows)
        indices = (order[:, None] * width + np.arange(width)).ravel() if bundle.beside else order
        name = self._add("Gather", [bundle.name, self._integers(indices)], f"{bundle.name}_repeated", axis=1)
        return Bundle(name, len(tensors), bundle.beside, tuple(bundle.rows[index] for index in order))

    def _extracted(self, bundle: Bundle, index: int) -> str:
        first = index * max(bundle.rows) if bundle.beside else 0
        name = bundle.name
        if not bundle.beside:
            name = self._add("Gather", [name, self._integers(index)], f"{name}_{index}", axis=1)
        if bundle.beside or bundle.is_ragged:
            bounds = [self._integers([edge]) for edge in (first, first + bundle.rows[index], 1)]
            name = self._add("Slice", [name, *bounds], f"{name}_{index}")
        return name

    # How each operation is done for all branches at once: the name of the result, and whether it lies beside.

    def _each(self, nodes: list[Node]) -> tuple[str, bool]:
        rank = len(self._graph.shape(nodes[0].output))
        operands = [self._operand(nodes, place, rank) for place in range(len(nodes[0].inputs))]
        bundles = [operand for operand in operands if isinstance(operand, Bundle)]
        beside = any(bundle.beside for bundle in bundles)
        rows = {bundle.rows for bundle in bundles if bundle.is_ragged}
        wide = {max(bundle.rows) for bundle in bundles} - {1}
        if len(rows) > 1 or (rows and len(wide) > 1) or (beside and len(bundles) < len(operands)):
            raise UnlikeError
        if beside:
            operands = [self._beside(self._tensors(nodes, place)) for place in range(len(operands))]
        names = [operand.name if isinstance(operand, Bundle) else operand for operand in operands]
        return self._add(nodes[0].op, names, f"{nodes[0].output}_all", **nodes[0].attributes), beside

    def _operand(self, nodes: list[Node], place: int, rank: int) -> Bundle | str:
        """One input of all nodes: a bundle, or something that is broadcast over the branches."""
        tensors, constants = self._tensors(nodes, place), self._graph.constants
        if len(set(tensors)) == 1 and tensors[0] not in constants:
            return self._add("Unsqueeze", [tensors[0], self._integers([1])], f"{tensors[0]}_for_all")
        if any(name not in constants for name in tensors):
            if len(self._graph.shape(tensors[0])) != rank:
                raise UnlikeError
            return self.of(tensors)
        arrays = [constants[name] for name in tensors]
        if len(set(tensors)) == 1 and arrays[0].ndim < rank:
            return tensors[0]
        if any(array.ndim >= rank and array.shape[0] != 1 for array in arrays):
            raise UnlikeError
        return self._all([array.reshape([1] * (rank - array.ndim) + list(array.shape))[0] for array in arrays], nodes)

    def _multiply(self, nodes: list[Node]) -> tuple[str, bool]:
        operands = [self._factor(nodes, place) for place in (0, 1)]
        return self._add("MatMul", operands, f"{nodes[0].output}_all"), False

    def _factor(self, nodes: list[Node], place: int) -> str:
        tensors = self._tensors(nodes, place)
        if all(name in self._graph.constants for name in tensors):
            arrays = self._constants(nodes, place)
            if any(array.ndim != 2 for array in arrays):
                raise UnlikeError
            return tensors[0] if len(set(tensors)) == 1 else self._all(arrays, nodes)
        bundle = self._stacked(tensors)
        if len(self._graph.shape(tensors[0])) != 3 or (place and bundle.is_ragged):
            raise UnlikeError
        return bundle.name

    def _reduce(self, nodes: list[Node]) -> tuple[str, bool]:
        bundle = self._stacked(self._tensors(nodes, 0))
        axes = list(nodes[0].attributes.get("axes", ()))
        clears = nodes[0].op in ("ReduceMax", "ReduceMin")  # padding repeats a row, which changes no extreme
        if not axes or min(axes) < 1 or (bundle.is_ragged and 1 in axes and not clears):
            raise UnlikeError
        attributes = nodes[0].attributes | {"axes": [axis + 1 for axis in axes]}
        return self._add(nodes[0].op, [bundle.name], f"{nodes[0].output}_all", **attributes), False

    def _gather(self, nodes: list[Node]) -> tuple[str, bool]:
        sources, rows = self._tensors(nodes, 0), self._constants(nodes, 1)
        if len(set(sources)) > 1 or nodes[0].attributes.get("axis", 0) != 1 or any(array.ndim != 1 for array in rows):
            raise UnlikeError
        width = max(map(len, rows))
        indices = np.stack([np.pad(array, (0, width - len(array)), mode="edge") for array in rows])
        return self._add("Gather", [sources[0], self._integers(indices)], f"{nodes[0].output}_all", axis=1), False

    def _slice(self, nodes: list[Node]) -> tuple[str, bool]:
        bundle = self._stacked(self._tensors(nodes, 0))
        starts, ends, axes = (self._constants(nodes, place) for place in (1, 2, 3))
        same = all(np.array_equal(array, bounds[0]) for bounds in (starts, ends, axes) for array in bounds)
        if not same or len(nodes[0].inputs) > 4 or axes[0].min() < 1 or (bundle.is_ragged and 1 in axes[0]):
            raise UnlikeError
        bounds = [*nodes[0].inputs[1:3], self._integers(axes[0] + 1)]
        return self._add("Slice", [bundle.name, *bounds], f"{nodes[0].output}_all"), False

    def _reshape(self, nodes: list[Node]) -> tuple[str, bool]:
        tensors = self._tensors(nodes, 0)
        bundle, targets = self.of(tensors), [array.tolist() for array in self._constants(nodes, 1)]
        if any(len(target) < 2 or target[0] != -1 or min(target[1:]) < 1 for target in targets):
            raise UnlikeError
        is_row = bundle.beside and self._graph.shape(tensors[0])[2:] == (1, 1)
        fits = [int(np.prod(target[1:])) for target in targets] == list(bundle.rows)
        if is_row != bundle.beside or (is_row and not fits):
            raise UnlikeError
        if not is_row and (bundle.is_ragged or any(target != targets[0] for target in targets)):
            raise UnlikeError
        return self._reshaped(bundle.name, [-1, bundle.size, *max(targets)[1:]]), False

    def _sample(self, nodes: list[Node]) -> tuple[str, bool]:
        sources, grids = self._tensors(nodes, 0), self._tensors(nodes, 1)
        bundle = self._stacked(grids)
        _, height, width, _ = self._graph.shape(grids[0])
        if len(set(sources)) > 1 or bundle.is_ragged or not height or not width:
            raise UnlikeError
        grid = self._reshaped(bundle.name, [-1, bundle.size * height, width, 2])
        seen = self._add("GridSample", [sources[0], grid], f"{nodes[0].output}_all", **nodes[0].attributes)
        apart = self._reshaped(seen, [0, 0, bundle.size, height, width])
        return self._add("Transpose", [apart], f"{seen}_stacked", perm=[0, 2, 1, 3, 4]), False

    def _pool(self, nodes: list[Node]) -> tuple[str, bool]:
        bundle = self._beside(self._tensors(nodes, 0))
        return self._add("MaxPool", [bundle.name], f"{nodes[0].output}_all", **nodes[0].attributes), True

    def _widen(self, nodes: list[Node]) -> tuple[str, bool]:
        """Channels of zeros after each branch's own: a 1 x 1 convolution that copies what there is."""
        more = {added_channels(self._graph, node) for node in nodes}
        bundle = self._beside(self._tensors(nodes, 0))
        if len(more) > 1 or 0 in more or bundle.is_ragged:
            raise UnlikeError
        channels = bundle.rows[0]
        copy = np.eye(channels + more.pop(), channels, dtype=np.float32)[:, :, None, None]
        weights = np.tile(copy, (bundle.size, 1, 1, 1))
        layer = Convolution(weights, np.zeros(len(weights)), bundle.size, (1, 1), (0,) * 4, (1, 1))
        name = self._add("Conv", [bundle.name], f"{nodes[0].output}_all")
        convolution.write(self._graph, self._graph.nodes[-1], layer)
        return name, True

    def _rectify(self, nodes: list[Node]) -> tuple[str, bool]:
        bundle = self._beside(self._tensors(nodes, 0))
        slopes, channels = self._constants(nodes, 1), max(bundle.rows)
        if bundle.is_ragged or any(array.size not in (1, channels) for array in slopes):
            raise UnlikeError
        values = np.concatenate([np.broadcast_to(array.reshape(-1), channels) for array in slopes])
        name = self._graph.constant(values.reshape(-1, 1, 1), f"{nodes[0].output}_slopes", values.dtype)
        return self._add("PRelu", [bundle.name, name], f"{nodes[0].output}_all"), True

    def _convolve(self, nodes: list[Node]) -> tuple[str, bool]:
        found = [convolution.read(self._graph, node) for node in nodes]
        layers = [layer for layer in found if layer is not None]
        numbers = {(x.weights.shape[1:], x.group, x.strides, x.pads, x.dilations) for x in layers}
        if len(layers) < len(nodes) or len(numbers) > 1:
            raise UnlikeError
        width = max(len(layer.weights) for layer in layers)
        if layers[0].group > 1 and any(len(layer.weights) < width for layer in layers):
            raise UnlikeError
        source, group = self._groups(self._tensors(nodes, 0), layers[0].group)
        weights = np.concatenate([_padded(layer.weights, width) for layer in layers])
        bias = np.concatenate([_padded(layer.bias, width) for layer in layers])
        name = self._add("Conv", [source], f"{nodes[0].output}_all")
        convolution.write(
            self._graph, self._graph.nodes[-1], replace(layers[0], weights=weights, bias=bias, group=group)
        )
        return name, True

    def _groups(self, tensors: tuple[str, ...], group: int) -> tuple[str, int]:
        """What one convolution for all branches reads, and in how many groups."""
        if len(set(tensors)) == 1 and group == 1:
            return tensors[0], 1
        bundle = self._beside(tensors)
        if bundle.is_ragged:
            raise UnlikeError
        return bundle.name, group * bundle.size

    def _stacked(self, tensors: tuple[str, ...]) -> Bundle:
        bundle = self.of(tensors)
        if bundle.beside:
            raise UnlikeError
        return bundle

    def _beside(self, tensors: tuple[str, ...]) -> Bundle:
        """A bundle of pictures, beside each other along the channels."""
        bundle, shape = self.of(tensors), self._graph.shape(tensors[0])
        if bundle.beside:
            return bundle
        if len(shape) != 4 or bundle.is_ragged or None in shape[1:]:
            raise UnlikeError
        _, channels, *picture = (size or 0 for size in shape)
        name = self._reshaped(bundle.name, [-1, bundle.size * channels, *picture])
        self._made[tensors] = replace(bundle, name=name, beside=True)
        return self._made[tensors]

    def _tensors(self, nodes: Sequence[Node], place: int) -> tuple[str, ...]:
        if any(len(node.inputs) <= place for node in nodes):
            raise UnlikeError
        return tuple(node.inputs[place] for node in nodes)

    def _constants(self, nodes: Sequence[Node], place: int) -> list[Array]:
        found = [self._graph.constants.get(name) for name in self._tensors(nodes, place)]
        arrays = [array for array in found if array is not None]
        if len(arrays) < len(found):
            raise UnlikeError
        return arrays

    def _reshaped(self, tensor: str, shape: list[int]) -> str:
        return self._add("Reshape", [tensor, self._integers(shape)], f"{tensor}_reshaped")

    def _integers(self, values: Array | list[int] | int) -> str:
        return self._graph.constant(values, "integers", np.int64)

    def _all(self, arrays: list[Array], nodes: list[Node]) -> str:
        return self._graph.constant(np.stack(arrays), f"{nodes[0].output}_constants", arrays[0].dtype)

    def _add(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        return self._graph.append(op, inputs, output, **attributes)


def _padded(values: Array, size: int) -> Array:
    return np.pad(values, [(0, size - len(values)), *[(0, 0)] * (values.ndim - 1)])
