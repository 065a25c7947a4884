"""Runs on the device as its user: keeps engines and calibration without end, and says outside what it has kept.

Everything goes through the product's own code, so that a power cut at any moment meets it in the middle.
"""

import hashlib
import os
import time
from itertools import count
from pathlib import Path

from engines.board import Board
from engines.ranges import Ranges, write_ranges
from engines.store import Key, Record, Store, plan_name

BOARD = Board("10.3.0", "Orin (nvgpu)", "8.7", "36.4.3", "MAXN_SUPER")
KEY = Key("face_landmarks", "int8", "0123456789abcdef", "manifest", "ranges", "batch 1; level 3", BOARD)
PLAN_BYTES = 1 << 20
ONNX_SHA256 = "0" * 64
PAUSE_S = 0.2
"""In which most cuts fall: nothing then forces to the disk what was not brought there by itself."""


def ranges_file(storage: Path) -> Path:
    return storage / "calibration" / KEY.model / "ranges.json"


def keep_on(storage: Path, said: Path) -> None:
    """Put engine after engine and range after range in place; note each number once it is kept."""
    store = Store(storage / "engines")
    ranges_file(storage).parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        plan = number.to_bytes(8, "little") + os.urandom(PLAN_BYTES)
        sha256 = hashlib.sha256(plan).hexdigest()
        name, now_s = plan_name(KEY, sha256), time.time()
        with store.locked(print):
            store.put(Record(KEY, name, sha256, len(plan), now_s, float(number), "gpu", "itself", {}), plan)
        ranges = {f"tensor{index}": (0.0, float(number)) for index in range(200)}
        write_ranges(Ranges(KEY.model, ONNX_SHA256, "mse", ranges, number), ranges_file(storage))
        with said.open("r+") as file:  # in place: whoever reads finds a number at any moment
            file.write(f"{number:8}")
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    keep_on(Path("/var/lib/avatar-appliance"), Path("/run/devices/kept"))
