"""What a trained student no longer needs: many of its units never fire."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from engines.training.expression_network import Student

EVERY = slice(None)
TOGETHER = 32  # units that tensor cores multiply at once in eight bits


def prune(student: Student, faces: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Take out units of the dense layers that fire on none of ``faces``, upright landmarks and pictures, nor on their
    mirror images: what the student says of these stays as it is. Some stay, for whole multiples of ``TOGETHER``."""
    fired = {layer: _filled_up(units) for layer, units in _fired(student, faces).items()}
    dense = _dense(student)
    for layer, known in zip(dense, [EVERY, *(fired[layer] for layer in dense[:-1])], strict=True):
        _keep(layer, fired[layer], known)
    read, seen, joined = (fired[layer] for layer in (dense[-1], student.seen, student.join))
    _keep(student.seen, seen, EVERY)
    _keep(student.join, joined, torch.cat([read, seen]))
    _keep(student.alone, EVERY, read)
    _keep(student.together, EVERY, joined)


def _dense(student: Student) -> list[nn.Linear]:
    return [layer for layer in student.dense if isinstance(layer, nn.Linear)]


def _fired(student: Student, faces: Iterable[tuple[Tensor, Tensor]]) -> dict[nn.Module, Tensor]:
    """Which units of each layer before a ReLU were ever above zero."""
    layers = [*_dense(student), student.seen, student.join]
    fired: dict[nn.Module, Tensor] = {layer: torch.zeros_like(layer.bias, dtype=torch.bool) for layer in layers}

    def note(layer: nn.Module, _: object, told: Tensor) -> None:
        fired[layer] |= (told > 0).any(0)

    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        for landmarks, pictures in faces:
            student.both_ways(landmarks, pictures)
    for hook in hooks:
        hook.remove()
    return fired


def _filled_up(fired: Tensor) -> Tensor:
    """These units, and as many of the others as make them whole multiples."""
    others = (~fired).nonzero()[:, 0][: -int(fired.sum()) % TOGETHER]
    return fired.index_fill(0, others, value=True)


def _keep(layer: nn.Linear, rows: Tensor | slice, columns: Tensor | slice) -> None:
    layer.weight = nn.Parameter(layer.weight.detach()[rows][:, columns])
    layer.bias = nn.Parameter(layer.bias.detach()[rows])
    layer.out_features, layer.in_features = layer.weight.shape
