"""Rewrites between ONNX and the build: each gives the same numbers, in the form that a target runs fastest.

What pays on a GPU costs on a CPU, so a target is a list of rewrites.
"""

from collections import Counter
from collections.abc import Callable, Mapping

import onnx

from engines.errors import EngineError
from engines.rewrites.branches import merge_gathers, stack_branches, ungroup
from engines.rewrites.channels import widen_channels
from engines.rewrites.constants import fold_constants, share_equal, state_kernels
from engines.rewrites.depthwise import merge_depthwise
from engines.rewrites.layout import cancel_transposes, merge_reshapes
from engines.rewrites.prelu import pair_prelus
from engines.rewrites.residual import fold_padding, fold_residuals

Rewrite = Callable[[onnx.ModelProto], onnx.ModelProto]

_ALWAYS: tuple[Rewrite, ...] = (
    fold_constants,
    state_kernels,
    share_equal,
    cancel_transposes,
    merge_reshapes,
    fold_padding,
)
_DENSE: tuple[Rewrite, ...] = (*_ALWAYS, merge_depthwise)
_FOLDED: tuple[Rewrite, ...] = (*_DENSE, fold_residuals, widen_channels)
_STACKED: tuple[Rewrite, ...] = (stack_branches, merge_gathers, merge_reshapes)
TARGETS: Mapping[str, tuple[Rewrite, ...]] = {
    "cpu": _ALWAYS,
    "gpu-dense": _DENSE,
    "gpu-stacked": (*_DENSE, *_STACKED),
    "gpu-residual": _FOLDED,
    "gpu": (*_FOLDED, pair_prelus),
    "gpu-grouped": (*_FOLDED, *_STACKED, pair_prelus),
    "gpu-blocks": (*_FOLDED, *_STACKED, ungroup),
}


def for_target(model: onnx.ModelProto, target: str) -> onnx.ModelProto:
    """Apply a target's rewrites in their order; ``EngineError`` if there is no such target."""
    if target not in TARGETS:
        raise EngineError(f"a target must be one of {', '.join(TARGETS)}, got {target!r}")
    for rewrite in TARGETS[target]:
        model = rewrite(model)
    return model


def count_nodes(model: onnx.ModelProto) -> Mapping[str, int]:
    """How often each operation stands in a model."""
    return Counter(node.op_type for node in model.graph.node)
