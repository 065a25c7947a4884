"""What an engine depends on beside its network: TensorRT, the GPU, the L4T release and the power mode."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from engines.cuda_driver import Gpu

_NVPMODEL_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Board:
    """A machine as far as its engines must know it; a plan of one is nothing to another."""

    tensorrt: str
    gpu: str
    compute_capability: str
    l4t: str  # empty where this is no Jetson
    power_mode: str  # the same


def read_board(tensorrt: str, gpu: Gpu, root: Path = Path("/")) -> Board:
    """Look at this machine; ``tensorrt`` is its version."""
    return Board(tensorrt, gpu.name, gpu.compute_capability, l4t_release(root), power_mode())


def l4t_release(root: Path = Path("/")) -> str:
    """Such as 36.4.3; empty where this is no Jetson."""
    try:
        text = (root / "etc/nv_tegra_release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else text.strip()[:40]


def power_mode() -> str:
    """Such as MAXN_SUPER; empty where the machine has none, or does not say."""
    tool = shutil.which("nvpmodel")
    if tool is None:
        return ""
    try:
        said = subprocess.run([tool, "-q"], capture_output=True, text=True, timeout=_NVPMODEL_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"NV Power Mode:\s*(\S+)", said.stdout)
    return found[1] if found else ""


def available_memory_bytes(root: Path = Path("/")) -> int:
    """What the kernel can give without swapping; on a Jetson the GPU takes from the same."""
    text = (root / "proc/meminfo").read_text(encoding="utf-8")
    found = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
