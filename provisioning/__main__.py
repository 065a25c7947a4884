"""The console script that a field technician runs from a laptop."""

import argparse
import asyncio
import getpass
import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from provisioning import authority, commands
from provisioning.bundle import TARGETS, Brought, make, read
from provisioning.certificates import Role
from provisioning.errors import ProvisioningError
from provisioning.site import Site, SiteError, load

_BUG = 70  # EX_SOFTWARE of sysexits.h
_INTERRUPTED = 130

_EXAMPLE = """
example:
  appliance-provision bundle --target jetpack6 --key release.key --models models.tar
  appliance-provision plan lobby.toml
  appliance-provision apply lobby.toml --accept-new
  appliance-provision verify lobby.toml --reboot
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    arguments = _parser().parse_args(words)
    try:
        if arguments.command == "bundle":
            return _bundle(arguments)
        site = load(arguments.site)
        _prepare(site)
        if arguments.command == "apply":
            give_passwords(site)
        password = getpass.getpass("password of the devices' user: ") if arguments.ask_password else ""
        return asyncio.run(commands.run(arguments, site, password))
    except ProvisioningError as error:
        for line in str(error).splitlines():
            print(f"appliance-provision: {line}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception:  # noqa: BLE001  # any bug: its stack is printed, the status is 70
        traceback.print_exc()
        return _BUG


def _prepare(site: Site) -> None:
    """What can be wrong with the files beside the site file, all at once; an authority is made where none is."""
    wrong = []
    try:
        content = read(site.path(site.release.bundle))
        if "mosquitto/avatar.conf" not in content.system:
            wrong.append(f"release.bundle: {site.release.bundle} holds no system files")
    except ProvisioningError as error:
        wrong.append(f"release.bundle: {error}")
    if "PRIVATE" in site.path(site.release.signer).read_text(encoding="utf-8", errors="replace"):
        wrong.append("release.signer must name the public key (.pub): the private one stays with who signs")
    if wrong:
        raise SiteError("\n".join(wrong))
    folder = site.path(site.site.authority)
    if not (folder / "register.json").exists():
        authority.create(folder, site.site.name)
        print(f"made the site's authority in {folder}; keep a copy of that folder in a safe", file=sys.stderr)


def give_passwords(site: Site) -> None:
    """Make the password of each renderer that asks for one and has none; whoever took the file away keeps it."""
    folder = site.path(site.site.authority)
    for renderer in site.renderer:
        if renderer.password and not authority.has_password(folder, Role.RENDERER, renderer.name):
            path = site.path(f"{site.site.name}-{renderer.name}.password")
            user = authority.give_password(folder, Role.RENDERER, renderer.name, path)
            print(f"made the password of {user} in {path}; hand it over and delete the file", file=sys.stderr)


def _bundle(arguments: argparse.Namespace) -> int:
    if not arguments.key.is_file():
        raise ProvisioningError(f"there is no key {arguments.key}; make one: ssh-keygen -t ed25519 -f {arguments.key}")
    brought = Brought(arguments.models, arguments.packages, arguments.wheels)
    path = make(arguments.source, arguments.target, arguments.output, arguments.key, brought, _tell)
    content = asdict(read(path))
    content.pop("system")
    print(json.dumps({"bundle": str(path), **content}, indent=2) if arguments.json else path)
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="appliance-provision",
        description="Brings devices from a flashed board to a live booth over SSH, and updates them.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in commands.SUMMARIES.items():
        example = f"example:\n  appliance-provision {name} lobby.toml --device orin-07"
        action = actions.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        action.add_argument("site", type=Path, metavar="SITE.toml", help="the file that describes the site")
        action.add_argument("--device", action="append", default=[], metavar="NAME", help="these devices alone")
        action.add_argument("--ask-password", action="store_true", help="log in, and use sudo, with a password")
        action.add_argument("--accept-new", action="store_true", help="take the host key of devices never seen before")
        action.add_argument("--json", action="store_true", help="print JSON instead of lines")
        if name in ("plan", "apply"):
            action.add_argument("--skip-unreachable", action="store_true", help="go on without devices that are away")
        if name == "verify":
            action.add_argument(
                "--reboot", action="store_true", help="switch each off and on, and see frames come back"
            )
        if name == "logs":
            action.add_argument("--lines", type=int, default=100, help="how many (default: %(default)s)")
        if name == "collect":
            action.add_argument("--output", type=Path, default=Path(), help="folder of the support bundles")
    _add_bundle(actions.add_parser("bundle", help="make the file that devices are provisioned from, without a network"))
    return parser


def _add_bundle(action: argparse.ArgumentParser) -> None:
    action.add_argument("--target", choices=TARGETS, required=True, help="the kind of device")
    action.add_argument("--key", type=Path, required=True, help="private key of ssh-keygen that signs")
    action.add_argument("--source", type=Path, default=Path(), help="the project's source (default: this folder)")
    action.add_argument("--output", type=Path, default=Path(), help="the folder it is written to")
    action.add_argument("--models", type=Path, help="what `appliance models fetch --bundle FILE` wrote")
    action.add_argument("--wheels", type=Path, help="folder of more wheels: what must be built on a device")
    action.add_argument("--packages", type=Path, help="folder of .deb files for devices without a network")
    action.add_argument("--json", action="store_true", help="print JSON instead of a path")


if __name__ == "__main__":
    sys.exit(main())
