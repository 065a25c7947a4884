"""Something to render, and what was rendered."""

import cv2
import numpy as np
import pytest


@pytest.fixture
def photograph(tmp_path):
    """A picture of the right size with structure in it; what it shows does not matter here."""
    random = np.random.default_rng(3)
    coarse = random.integers(40, 220, (32, 32, 3)).astype(np.uint8)
    path = tmp_path / "photograph.png"
    assert cv2.imwrite(str(path), cv2.resize(coarse, (512, 512), interpolation=cv2.INTER_CUBIC))
    return path


@pytest.fixture
def prepared(clip):
    """The folder of the demonstration's own clip, as this code renders it."""
    return clip
