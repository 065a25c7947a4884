"""Boots the device for real and tries what a booth does to it.

    sudo apt-get install -y systemd-container mmdebstrap mosquitto openssl gcc libasound2-dev procps iproute2
    sudo .venv/bin/python -m tests.boot                      # everything: five minutes once its root is made
    sudo .venv/bin/python -m tests.boot boot hang --json report.json

Needs root, loop devices and the Python version of the container's Debian (3.11). Networks are its own; nothing of the
machine's is touched. The first run makes the root file system and keeps it in ``--cache``.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from appliance.demo.scene import prepare
from appliance.settings import DESK_DIRECTORY, from_table

from . import booting, crowding, cutting, failing
from .machine import Machine
from .network import Network
from .results import Result
from .root import make_root

Scenario = Callable[[Machine], Iterator[Result]]


def scenarios(arguments: argparse.Namespace) -> dict[str, Scenario]:
    return {
        "boot": partial(booting.boot, times=arguments.boots),
        "sandbox": booting.sandbox,
        "readonly": booting.read_only,
        "network": booting.late_network,
        "hang": failing.hang,
        "crash": failing.crash,
        "settings": failing.wrong_settings,
        "logout": crowding.log_out,
        "clock": crowding.clock,
        "disk": crowding.disk_full,
        "journal": crowding.journal_full,
        "cuts": partial(cutting.cuts, times=arguments.cuts, seed=arguments.seed),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.boot", description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="*", help="which (default: all)", default=[])
    parser.add_argument("--boots", type=int, default=5, help="how often to switch on (default: %(default)s)")
    parser.add_argument("--cuts", type=int, default=20, help="how many power cuts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=6, help="of the moments of the cuts (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    cache = Path(DESK_DIRECTORY).expanduser() / "boot"
    parser.add_argument("--cache", type=Path, default=cache, help="where the root file system is kept: %(default)s")
    arguments = parser.parse_args()
    known = scenarios(arguments)
    unknown = [name for name in arguments.scenario if name not in known]
    if unknown:
        parser.error(f"{unknown[0]} is none of: {', '.join(known)}")
    root = make_root(arguments.cache)
    clip = prepare(from_table({"storage": {"directory": DESK_DIRECTORY}}), print)
    results: dict[str, list[Result]] = {}
    for name in arguments.scenario or known:
        results[name] = _tried(known[name], root, clip)
        _print(name, results[name])
    if arguments.json:
        report = {name: [asdict(one) for one in found] for name, found in results.items()}
        arguments.json.write_text(json.dumps({"machine": platform.platform(), "results": report}, indent=2))
    return int(not all(result.reached for found in results.values() for result in found))


def _tried(scenario: Scenario, root: Path, clip: Path) -> list[Result]:
    """Run one scenario on a device of its own; one that breaks off is a result too."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="avatar-boot-") as folder, Network(Path(folder)) as network:
        machine = Machine(root, Path(folder), network, clip)
        began_s = time.monotonic()
        try:
            for result in scenario(machine):
                results.append(result)
        except RuntimeError as error:
            results.append(Result(f"broke off after {time.monotonic() - began_s:.0f} s", str(error), "", False))
        finally:
            machine.close()
    return results


def _print(name: str, results: list[Result]) -> None:
    load = os.getloadavg()[0]
    caption = f"{os.cpu_count()} cores; over the last minute {load:.1f} programs wanted one"
    table = Table("scenario", "what", "measured", "goal", "reached", caption=caption)
    for result in results:
        reached = "yes" if result.reached else "[red]NO[/]"
        table.add_row(name, escape(result.what), escape(result.measured), result.goal, reached)
    Console(width=160).print(table)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
