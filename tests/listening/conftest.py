"""Sounds whose content is known, and an ALSA whose devices obey."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.devices import paced

RATE = 16_000


@dataclass(frozen=True)
class Alsa:
    """ALSA's library with three PCMs: ``mic`` obeys orders, ``pipe`` reads a FIFO, ``nothing`` knows no time."""

    config: Path
    control: Path
    fifo: Path

    def order(self, name: str) -> None:
        (self.control / name).touch()

    def relent(self, name: str) -> None:
        (self.control / name).unlink()

    def run(self, program: str, *arguments: object) -> "subprocess.Popen[str]":
        """Start a program of ours in a child, since ALSA reads its configuration once a process."""
        command = [sys.executable, "-c", program, *map(str, arguments)]
        environment = {"ALSA_CONFIG_PATH": str(self.config), "PATH": "/usr/bin:/bin"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="session")
def paced_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paced.build(tmp_path_factory.mktemp("alsa"))


@pytest.fixture
def alsa(paced_plugin: Path, tmp_path: Path) -> Alsa:
    control, fifo, config = tmp_path / "control", tmp_path / "mic.fifo", tmp_path / "asound.conf"
    control.mkdir()
    config.write_text(
        paced.configuration(paced_plugin, {"mic": control})
        + f'pcm.pipe {{ type file file "/dev/null" infile "{fifo}" format "raw" slave.pcm {{ type null }} }}\n'
        "pcm.nothing { type null }\n"
    )
    return Alsa(config, control, fifo)


@pytest.fixture
def sine() -> Callable[..., npt.NDArray[np.float32]]:
    def make(dbfs: float, seconds: float = 1.0, hz: float = 1000.0, rate: int = RATE) -> npt.NDArray[np.float32]:
        times_s = np.arange(round(seconds * rate)) / rate
        return (10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * times_s)).astype(np.float32)

    return make
