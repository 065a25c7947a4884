"""Tests of what only a GPU with TensorRT can do; elsewhere they are not collected."""

import importlib.util

import pytest

from engines.cuda_driver import read_gpu
from engines.errors import EngineError


def has_gpu() -> bool:
    if not all(importlib.util.find_spec(name) for name in ("tensorrt", "pycuda")):
        return False
    try:
        read_gpu()
    except EngineError:
        return False
    return True


collect_ignore_glob = [] if has_gpu() else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a GPU, its driver, TensorRT and pycuda")
