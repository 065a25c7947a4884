"""What ships, so that a fresh device builds INT8 before anybody has filmed."""

import numpy as np
import pytest

from appliance.settings import Settings
from calibration.activations import in_eight_bits, in_float, rewritten
from calibration.methods import method_of, wants_ranges
from engines.keys import HELD_OUT_FILE, find_ranges
from engines.manifest import MODELS
from engines.networks import network
from engines.quantize import wanted
from engines.verifying import read_samples

SHIPPED = ["expression", "face_landmarks", "viseme"]
AGAIN = "run engines.training.shipped_ranges again: the network is another than its ranges were taken from"


def test_every_network_that_ranges_help_has_some() -> None:
    having = sorted(path.parent.name for path in MODELS.glob("*/ranges.json"))

    assert having == SHIPPED
    assert all(wants_ranges(name) for name in SHIPPED)
    assert not wants_ranges("face_detector")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_ranges_are_of_the_network_that_ships(name: str, desk: Settings) -> None:
    each = network(name, desk.storage.models)

    ranges = find_ranges(each, desk.storage.models / "no such folder")

    assert ranges is not None
    assert ranges.method == method_of(name)
    assert set(wanted(rewritten(each), each.keep_fp16)) <= set(ranges.ranges), AGAIN


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_ranges_hold_on_shipped_inputs(name: str, desk: Settings) -> None:
    each = network(name, desk.storage.models)
    ranges = find_ranges(each, desk.storage.models / "no such folder")
    assert ranges is not None
    samples = read_samples(MODELS / name / HELD_OUT_FILE, each)
    calls = [
        {port: values[row : row + 1] for port, values in samples.items()}
        for row in range(len(next(iter(samples.values()))))
    ]

    runners = (in_float(each), in_eight_bits(each, ranges))
    true, told = (
        {output: np.concatenate([np.array(runner(call)[output]) for call in calls]) for output in each.tolerance}
        for runner in runners
    )

    for output, limit in each.tolerance.items():
        assert 0 < np.abs(told[output] - true[output]).mean() <= limit
