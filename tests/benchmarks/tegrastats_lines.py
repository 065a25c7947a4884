"""Reads lines of tegrastats from real boards, whole and damaged: each whole one must be read, no damaged one may raise.

python tests/benchmarks/tegrastats_lines.py LINES.txt         one a line; lines that begin with # are passed over
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from health.tegrastats_lines import damaged

from appliance.health.tegrastats import parse_tegrastats

DAMAGED, SEED = 100_000, 6


def main() -> int:
    """Print one row a line, then the counts; 1 if a whole line was not read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    lines = parser.parse_args().lines.read_text(encoding="utf-8").splitlines()
    whole = tuple(line for line in lines if line.strip() and not line.startswith("#"))
    read = 0
    for line in whole:
        reading = parse_tegrastats(line, 0)
        if reading is None:
            print(f"not read: {line}")
            continue
        read += 1
        counts = (len(reading.temperatures_c), len(reading.rails_mw), len(reading.clocks_mhz))
        memory = f"{reading.available_mb} of {reading.total_mb} MB, swap {reading.swap_used_mb} MB"
        print(f"{memory}, largest free block {reading.lfb_mb} MB; sensors, rails, clocks: {counts}")
    began_s = time.perf_counter()
    readings = sum(parse_tegrastats(line, 0) is not None for line in damaged(DAMAGED, SEED, whole))
    took_s = time.perf_counter() - began_s
    print(f"{read} of {len(whole)} lines read; {DAMAGED} damaged: {readings} read, none raised, {took_s:.1f} s")
    return int(read < len(whole))


if __name__ == "__main__":
    sys.exit(main())
