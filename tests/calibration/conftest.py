"""A small network and what it was shown."""

from pathlib import Path

import numpy as np
import pytest
from calibration_toys import Arrays, saved, two_layers

from engines.networks import Network


@pytest.fixture
def small(tmp_path: Path) -> Network:
    return saved(two_layers(), tmp_path / "small.onnx", {"blendshapes": 0.02})


@pytest.fixture
def pictures() -> Arrays:
    return {"picture": np.random.default_rng(1).uniform(0, 1, (12, 4, 6, 6)).astype(np.float32)}
