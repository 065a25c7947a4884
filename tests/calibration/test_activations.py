"""Ranges of a network's activations, and the network in eight bits."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from calibration_toys import Arrays, saved, two_layers, with_memory

from calibration.activations import in_eight_bits, in_float, ranges_of, rewritten, spreads
from calibration.walking import calls, walk
from engines.errors import EngineError
from engines.networks import Network
from engines.quantize import wanted
from engines.ranges import METHODS, ranges_for, write_ranges


def test_ranges_are_those_that_a_person_would_read_off(small: Network, pictures: Arrays) -> None:
    found, count = spreads(small, [pictures])

    ranges = ranges_of(small, found, "minmax", count)

    picture = pictures["picture"]
    assert count == ranges.samples == 12
    assert ranges.ranges["picture"] == (float(picture.min()), float(picture.max()))
    assert ranges.ranges["seen"][0] == 0
    assert set(wanted(rewritten(small))) <= set(ranges.ranges)


@pytest.mark.parametrize("method", METHODS)
def test_ranges_of_every_method_make_a_network_that_agrees(method: str, small: Network, pictures: Arrays) -> None:
    found, count = spreads(small, [pictures])
    ranges = ranges_of(small, found, method, count)

    true = np.concatenate([outputs["blendshapes"] for _, outputs in walk(in_float(small), [pictures])])
    told = np.concatenate([outputs["blendshapes"] for _, outputs in walk(in_eight_bits(small, ranges), [pictures])])

    assert 0 < np.abs(told - true).max() < 0.05 * true.std() + 0.02


def test_ranges_hold_for_layers_that_a_manifest_keeps(small: Network, pictures: Arrays) -> None:
    found, count = spreads(small, [pictures])
    kept = dataclasses.replace(small, keep_fp16=("points",))

    true = np.concatenate([outputs["blendshapes"] for _, outputs in walk(in_float(kept), [pictures])])
    both = [
        np.concatenate([outputs["blendshapes"] for _, outputs in walk(in_eight_bits(each, ranges), [pictures])])
        for each in (small, kept)
        for ranges in (ranges_of(each, found, "mse", count),)
    ]

    assert np.abs(both[1] - true).mean() < np.abs(both[0] - true).mean()


def test_ranges_of_another_network_are_refused(small: Network, pictures: Arrays, tmp_path: Path) -> None:
    found, count = spreads(small, [pictures])
    write_ranges(ranges_of(small, found, "mse", count), tmp_path / "ranges.json")
    other = saved(two_layers(seed=5), tmp_path / "other.onnx", {})

    with pytest.raises(EngineError, match=r"must be of small .*, got those of small .*appliance calibrate ranges"):
        ranges_for(tmp_path / "ranges.json", small.name, other.onnx_sha256)


def test_no_samples_give_no_ranges(small: Network) -> None:
    found, count = spreads(small, [])

    with pytest.raises(EngineError, match="no samples of small to take ranges from; film some"):
        ranges_of(small, found, "mse", count)


def test_a_network_without_a_layer_for_eight_bits_is_refused(tmp_path: Path) -> None:
    network = saved(with_memory(), tmp_path / "memory.onnx", {})

    with pytest.raises(EngineError, match="memory has no layer that eight bits are for"):
        spreads(network, [])


def test_a_memory_is_carried_through_a_stretch(tmp_path: Path) -> None:
    network = saved(with_memory(), tmp_path / "memory.onnx", {})
    block = {
        "features": np.array([[[1, 1], [1, 1], [1, 1]], [[0, 0], [0, 0], [0, 0]]], np.float32),
        "state_0": np.array([[0, 0], [8, 8]], np.float32),
    }

    said = [float(outputs["visemes"][0, 0]) for _, outputs in walk(in_float(network), [block])]

    assert said == [1, 1.5, 1.75, 4, 2, 1]


def test_an_engine_is_verified_on_single_calls_of_a_stretch(tmp_path: Path) -> None:
    network = saved(with_memory(), tmp_path / "memory.onnx", {})
    block = {"features": np.ones((1, 5, 2), np.float32), "state_0": np.zeros((1, 2), np.float32)}

    shown = calls(in_float(network), [block], most=3)

    assert shown["features"].shape == (3, 2)
    assert shown["state_0"][:, 0].tolist() == [0, 1.5, 1.875]
    assert calls(in_float(network), [], most=3) == {}
