"""The publisher in a bad world: ``python -m tests.publish.stress`` (root, five minutes).

First it is measured at rest. Fifty times the broker is killed and started again, twenty times the network between
device and broker goes silent, in a network namespace. Prints what was found; status 1 where a limit is missed.
``--restarts`` and ``--cuts`` shorten it; the tests run a few of each.
"""

import argparse
import sys
import tempfile
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20, help="of the measurement at rest")
    chosen = parser.parse_args()
    sys.path[:0] = [str(Path(__file__).parent)]
    from storms import at_rest, cuts, restarts

    problems: list[str] = []
    for name, find in (
        ("at rest", lambda folder: at_rest(folder, chosen.seconds)),
        ("broker killed", lambda folder: restarts(folder, chosen.restarts)),
        ("network silent", lambda folder: cuts(folder, chosen.cuts)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            found = find(Path(folder))
        print(f"{name}: {found if found.recoveries_s else found.cost()}", flush=True)
        problems += [f"{name}: {problem}" for problem in found.problems()]
    print("\n".join(problems) or "every limit is kept")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
