"""Walks that a technician makes, on devices that boot. Needs root, systemd-container, mmdebstrap and iproute2.

    sudo .venv/bin/python -m tests.provisioning.walk                              # all of them
    sudo .venv/bin/python -m tests.provisioning.walk cuts --cuts 5
    sudo .venv/bin/python -m tests.provisioning.walk fresh --bundle B.bundle --signer KEY.pub --films DIR

``fresh`` takes the product's own bundle for Debian 12; the others a stand-in that installs in seconds.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import scenarios
from .booth import make_root, network
from .scenarios import Result, Stage

_ALL: dict[str, Callable[[Stage], Iterator[Result]]] = {
    "fresh": scenarios.fresh,
    "refused": scenarios.refused,
    "bad": scenarios.bad_releases,
    "cuts": scenarios.cuts,
    "fleet": scenarios.fleet,
    "secrets": scenarios.secrets,
    "packages": scenarios.packages,
    "passwords": scenarios.passwords,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help=f"default: all of {', '.join(_ALL)}")
    parser.add_argument("--bundle", type=Path, help="fresh: the product's bundle for debian12")
    parser.add_argument("--signer", type=Path, help="fresh: the public key that signed it")
    parser.add_argument("--films", type=Path, help="fresh: a folder with a clip.mp4")
    parser.add_argument("--cuts", type=int, default=20, help="cuts: how many (default: %(default)s)")
    parser.add_argument("--devices", type=int, default=10, help="fleet: how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the cuts (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/avatar-appliance/provisioning")
    arguments = parser.parse_args()
    chosen = arguments.scenarios or [name for name in _ALL if name != "fresh" or arguments.bundle]
    root, results = make_root(arguments.cache), list[Result]()
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="booths-", dir=arguments.cache) as folder, network():
            stage = Stage(root, Path(folder), arguments)
            try:
                for result in _ALL[name](stage):
                    mark = "good" if result.good else "BAD "
                    print(f"{name}  {mark}  {result.what}: {result.found} (goal: {result.goal})", flush=True)
                    results.append(result)
            finally:
                stage.clear()
    grid = Table("what", "found", "goal", "")
    for result in results:
        grid.add_row(result.what, result.found, result.goal, "" if result.good else "missed")
    Console().print(grid)
    return int(not all(result.good for result in results))


if __name__ == "__main__":
    sys.exit(main())
