"""What the laptop, systemd and a person on the device call: ``avatar-keeper ACTION``."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from .listener import Listener
from .releases import Disk, Keeper, KeeperError
from .trial import watch
from .unpacking import install

_LIMIT_S = 14400  # a release may have engines to build, in both precisions


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="avatar-keeper", description="Keeps the releases of this device.")
    parser.add_argument("action", choices=("install", "deploy", "guard", "watch", "rollback", "status"))
    parser.add_argument("bundle", nargs="?", type=Path, help="install: the bundle's file")
    arguments = parser.parse_args()
    keeper = Keeper(Path("/"), Disk(), run)
    try:
        _act(arguments, keeper)
    except (KeeperError, OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _act(arguments: argparse.Namespace, keeper: Keeper) -> None:
    if arguments.action == "status":
        print(json.dumps(keeper.status()))
    elif arguments.action == "watch":
        watch(keeper, lambda broker: Listener(broker).health)
    else:
        with keeper.alone():
            if arguments.action == "install":
                install(arguments.bundle, keeper, lambda line: print(line, flush=True))
            elif arguments.action == "deploy":
                print(keeper.deploy(json.loads(sys.stdin.read())))
            elif arguments.action == "guard":
                keeper.guard()
            elif not keeper.back("a person asked for it"):
                raise KeeperError("there is no deployment to go back to")


def run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command; its words are in the answer, whatever it does."""
    return subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)


if __name__ == "__main__":
    sys.exit(main())
