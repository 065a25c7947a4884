"""An engine held against the reference."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.errors import EngineError
from engines.networks import Network
from engines.runners import Float32, Tensors
from engines.verifying import made_samples, read_samples, run_all, verify

SMALL = Network("small", Path("small.onnx"), "", "", {"x": ("batch", 3), "state": ("batch", 2, 2)}, {"y": 0.1})
SAMPLES = {"x": np.arange(15, dtype=np.float32).reshape(5, 3), "state": np.ones((5, 2, 2), np.float32)}


class Summing:
    """Sums each sample; adds an error, to batches of more than one another."""

    def __init__(self, error: float = 0.0, batch_error: float = 0.0) -> None:
        self.error, self.batch_error = error, batch_error
        self.batches: list[int] = []

    def __call__(self, inputs: Tensors) -> dict[str, Float32]:
        batch = len(inputs["x"])
        self.batches.append(batch)
        error = self.error if batch == 1 else self.batch_error
        return {"y": np.float32(inputs["x"].sum(axis=1, keepdims=True) + error)}


@pytest.mark.parametrize(
    ("engine", "error", "missed"),
    [
        (Summing(), 0.0, []),
        (Summing(0.05, 0.05), 0.05, []),
        (Summing(0.2, 0.0), 0.2, ["y 0.2 of at most 0.1"]),
        (Summing(0.0, 0.3), 0.24, ["y 0.24 of at most 0.1"]),
        (Summing(float("nan"), 0.0), float("nan"), ["y nan of at most 0.1"]),
        (Summing(0.0, float("nan")), float("nan"), ["y nan of at most 0.1"]),
    ],
    ids=["same", "near", "far alone", "far in a batch", "no number alone", "no number in a batch"],
)
def test_an_engine_is_as_good_as_its_worse_profile(engine: Summing, error: float, missed: list[str]) -> None:
    verdict = verify(engine, Summing(), SAMPLES, {"y": 0.1}, 4)

    assert verdict.errors["y"] == pytest.approx(error, abs=1e-5, nan_ok=True)
    assert verdict.missed == missed
    assert engine.batches == [1, 1, 1, 1, 1, 4, 1]


def test_without_a_manifest_an_output_may_differ_by_a_share_of_its_spread() -> None:
    spread = float(np.std(SAMPLES["x"].sum(axis=1)))

    within = verify(Summing(0.015 * spread, 0.0), Summing(), SAMPLES, {}, 1)
    beyond = verify(Summing(0.025 * spread, 0.0), Summing(), SAMPLES, {}, 1)

    assert within.missed == []
    assert [text.split()[0] for text in beyond.missed] == ["y"]


def test_an_output_of_another_shape_is_one_line() -> None:
    def wrong(inputs: Tensors) -> dict[str, Float32]:
        return {"y": np.zeros((len(inputs["x"]), 2), np.float32)}

    with pytest.raises(EngineError, match=r"output y must have the shape \(5, 1\), got \(5, 2\)"):
        verify(wrong, Summing(), SAMPLES, {"y": 0.1}, 1)


def test_held_out_inputs_are_read_as_they_were_kept(tmp_path: Path) -> None:
    np.savez(tmp_path / "held_out.npz", **SAMPLES)

    read = read_samples(tmp_path / "held_out.npz", SMALL)

    np.testing.assert_array_equal(run_all(Summing(), read, 2)["y"], run_all(Summing(), SAMPLES, 5)["y"])


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": SAMPLES["x"]},
        {**SAMPLES, "more": SAMPLES["x"]},
        {**SAMPLES, "x": SAMPLES["x"][:4]},
        {**SAMPLES, "x": SAMPLES["x"][:, :2]},
        {**SAMPLES, "x": SAMPLES["x"].astype(np.float64)},
        {name: array[:0] for name, array in SAMPLES.items()},
    ],
    ids=["one lacks", "one more", "of two lengths", "of another shape", "of another type", "none"],
)
def test_held_out_inputs_of_another_network_are_one_line(tmp_path: Path, arrays: dict[str, Float32]) -> None:
    np.savez(tmp_path / "held_out.npz", **arrays)

    with pytest.raises(EngineError, match=r"must be float32 arrays of .*appliance calibrate record"):
        read_samples(tmp_path / "held_out.npz", SMALL)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_a_file_that_is_no_archive_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "held_out.npz").write_bytes(content)

    with pytest.raises(EngineError, match=r"held-out inputs .* cannot be read"):
        read_samples(tmp_path / "held_out.npz", SMALL)


def test_made_inputs_have_the_networks_shapes_and_differ() -> None:
    made = made_samples(replace(SMALL, inputs={"image": ("batch", 3, 8, 8)}))["image"]

    assert made.shape[1:] == (3, 8, 8)
    assert made.dtype == np.float32
    assert 0 <= made.min() < made.max() <= 1
    assert len({sample.tobytes() for sample in made}) == len(made)
