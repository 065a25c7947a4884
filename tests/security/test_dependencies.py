"""What is installed with the product is free of the holes that are known to reach it.

A version is a minimum in ``setup.py`` because of an advisory below; ``pip-audit`` (README, Security) finds new ones.
"""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

SETUP = (Path(__file__).parents[2] / "setup.py").read_text(encoding="utf-8")

LEAST = {
    "aiohttp": ("3.13.4", "CVE-2026-34525, CVE-2026-22815 and those of 3.13.3: requests that a server took wrongly"),
    "onnx": ("1.21", "CVE-2026-27489, CVE-2026-34445: files outside the model's folder, memory at a model's word"),
    "opencv-python-headless": ("4.8.1.78", "CVE-2023-4863: a WebP picture that writes past its buffer"),
    "cryptography": ("44.0.1", "CVE-2024-12797, CVE-2024-6119: of the OpenSSL inside"),
    "asyncssh": ("2.14.2", "CVE-2023-48795: a connection whose beginning is cut off"),
}


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


@pytest.mark.parametrize("package", LEAST)
def test_no_older_version_is_asked_for_than_is_sound(package: str) -> None:
    least, _ = LEAST[package]
    asked = re.findall(rf'"{package}>=([\d.]+)"', SETUP)

    assert asked
    assert all(numbers(one) >= numbers(least) for one in asked)


@pytest.mark.parametrize("package", LEAST)
def test_no_older_version_is_installed_here(package: str) -> None:
    least, _ = LEAST[package]

    assert numbers(version(package)) >= numbers(least)


def test_every_requirement_has_a_least_version() -> None:
    required = re.search(r"install_requires=\[(.*?)\]", SETUP, re.DOTALL)

    assert required
    assert [
        name for name in re.findall(r'"([^"]+)"', required[1]) if ">=" not in name and not name.startswith("3.")
    ] == []
