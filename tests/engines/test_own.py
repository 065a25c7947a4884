"""The manifests of our own networks."""

from pathlib import Path

import pytest

from engines.errors import EngineError
from engines.manifest import read
from engines.own import Kept, OwnModel

PLAIN = """
licence = "ours"
made_by = "engines.training.expression"
sha256 = "00"

[inputs]
landmarks = ["batch", 478, 2]

[outputs]
blendshapes = ["batch", 52]

[tolerance]
blendshapes = 0.02
"""


def written(tmp_path: Path, more: str = "") -> Path:
    path = tmp_path / "own_model.toml"
    path.write_text(PLAIN + more)
    return path


def test_a_network_that_eight_bits_do_for_keeps_no_node_in_sixteen(tmp_path: Path) -> None:
    assert read(written(tmp_path), OwnModel).keep_fp16 is None


def test_a_manifest_says_which_nodes_stay_in_sixteen_bits_and_why(tmp_path: Path) -> None:
    path = written(tmp_path, '[keep_fp16]\nnodes = ["dense_0", "dense_3"]\nwhy = "landmarks lose their last digits"')

    assert read(path, OwnModel).keep_fp16 == Kept(("dense_0", "dense_3"), "landmarks lose their last digits")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('[keep_fp16]\nnodes = ["dense_0"]', "keep_fp16: keys must be nodes, why; missing or unknown: why"),
        ('[keep_fp16]\nnodes = [0]\nwhy = "x"', r"keep_fp16: nodes must be .*, got \[0\]"),
        ('[keep_fp16]\nnodes = "dense_0"\nwhy = "x"', "keep_fp16: nodes must be .*, got 'dense_0'"),
    ],
)
def test_a_wrong_list_of_nodes_is_one_clear_line(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        read(written(tmp_path, more), OwnModel)
