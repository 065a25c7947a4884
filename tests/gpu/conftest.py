"""Tests of what only a GPU with TensorRT can do; elsewhere they are not collected."""

import pytest

from engines.opening import has_tensorrt

collect_ignore_glob = [] if has_tensorrt() else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a GPU, its driver, TensorRT and pycuda")
