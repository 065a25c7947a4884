"""What a machine says of itself, and the driver that says it."""

import os
from pathlib import Path

import pytest
from boards import ORIN, driver

from engines.board import available_memory_bytes, l4t_release, power_mode, read_board
from engines.cuda_driver import Gpu, read_gpu
from engines.errors import EngineError


def test_the_driver_names_the_gpu_without_a_context(tmp_path: Path) -> None:
    assert read_gpu(driver(tmp_path)) == Gpu("Orin (nvgpu)", "8.7", integrated=True)


def test_no_driver_is_one_line_with_the_cure() -> None:
    with pytest.raises(
        EngineError, match=r"no NVIDIA driver \(libcuda\.so\.none does not load\).*engines\.runner = auto"
    ):
        read_gpu("libcuda.so.none")


def test_no_gpu_is_one_line_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no GPU that the driver knows; set engines\.runner = auto"):
        read_gpu(driver(tmp_path, gpus=0))


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n# more", "36.4.3"),
        ("# R35 (release), REVISION: 6.0, GCID: 1", "35.6.0"),
        (None, ""),
    ],
)
def test_the_l4t_release_is_read_from_its_file(tmp_path: Path, text: str | None, release: str) -> None:
    if text is not None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/nv_tegra_release").write_text(text)

    assert l4t_release(tmp_path) == release


@pytest.mark.parametrize(
    ("said", "mode"),
    [("NV Power Mode: MAXN_SUPER\n2\n", "MAXN_SUPER"), ("NV Power Mode: 15W\n0", "15W"), ("permission denied", "")],
)
def test_the_power_mode_is_what_nvpmodel_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, mode: str
) -> None:
    tool = tmp_path / "nvpmodel"
    tool.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    assert power_mode() == mode


def test_a_board_is_what_its_parts_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 1")

    board = read_board("10.3.0", Gpu("Orin (nvgpu)", "8.7", integrated=True), tmp_path)

    assert (board.tensorrt, board.gpu, board.l4t, board.power_mode) == (ORIN.tensorrt, ORIN.gpu, ORIN.l4t, "")


def test_available_memory_is_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 7800000 kB\nMemFree: 100 kB\nMemAvailable:  5000000 kB\n")

    assert available_memory_bytes(tmp_path) == 5_000_000 * 1024
    assert available_memory_bytes() > 0
