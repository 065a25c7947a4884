"""Eight bits stay where they were timed to be faster, and nowhere else."""

import pytest
from small_graphs import SmallGraph

from engines.precision import FULL_WIDTH, against, narrow_layers

RECORDED = {
    # What real TensorRT 8.6 took on an H200, one picture in ms: INT8, FP16, and whether INT8 stays.
    "ResNet-18's shape, graph replay": (0.141, 0.180, True),
    "ResNet-18's shape, our runner, host to host": (0.179, 0.213, True),
    "landmarks at 192, as converted": (0.300, 0.275, False),
    "landmarks at 192, depthwise pairs merged": (0.252, 0.240, False),
    "attention mesh, as converted": (0.895, 0.784, False),
    "attention mesh, rewritten": (0.546, 0.489, False),
    "expression": (0.093, 0.082, False),
    "a draw": (0.2, 0.2, False),
}


@pytest.mark.parametrize("name", RECORDED)
def test_nothing_stays_in_eight_bits_that_is_slower_than_16(name: str) -> None:
    int8_ms, fp16_ms, stays = RECORDED[name]

    why = against(int8_ms, fp16_ms)

    assert (why == "") is stays
    assert stays or f"{int8_ms:.3f} against {fp16_ms:.3f} ms" in why


def test_layers_too_narrow_for_eight_bits_are_known() -> None:
    graph = SmallGraph()
    narrow = graph.convolve("picture", [FULL_WIDTH, 4, 3, 3])
    wide = graph.convolve(narrow, [FULL_WIDTH, FULL_WIDTH, 3, 3])
    grouped = graph.convolve(wide, [FULL_WIDTH, 8, 1, 1], group=4)
    last = graph.convolve(grouped, [6, FULL_WIDTH, 1, 1])

    assert narrow_layers(graph.close(last, ["batch", 6, 5, 4])) == [narrow, last]
