"""The site's certificates by hand: `python -m provisioning.authority_command`.

create  ./authority --site lobby            an authority, once a site
request device.key device lobby/orin-07     on the device: its key stays there, the request goes to the authority
enrol   ./authority device lobby/orin-07    the request in, the certificate out
password ./authority renderer screen        for a renderer that cannot hold a certificate
revoke  ./authority renderer screen         then export, and restart the broker
rotate  ./authority                         a new authority beside the old one; retire ends the old one
export  ./authority ./broker                what the broker needs: ca.pem, crl.pem, passwords
list    ./authority                         who was given what, until when
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from provisioning import authority
from provisioning.certificates import Role, fingerprint
from provisioning.errors import ProvisioningError


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; 1 for what a technician can mend, with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="authority", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    configure(parser)
    try:
        return run(parser.parse_args(words))
    except ProvisioningError as error:
        print(f"authority: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(f"authority: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the commands; secrets go through files, standard input carries requests."""
    commands = parser.add_subparsers(dest="authority_command", required=True, metavar="COMMAND")
    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument("folder", type=Path, help="the authority's folder")
    member = argparse.ArgumentParser(add_help=False)
    member.add_argument(
        "role", type=Role, choices=list(Role), metavar="ROLE", help="broker, device, renderer, operator"
    )
    member.add_argument("name", help="SITE/DEVICE for a device, a host for a broker")
    create = commands.add_parser("create", parents=[folder], help="make the authority of a site")
    create.add_argument("--site", required=True)
    request = commands.add_parser("request", help="make a key, where there is none, and print a request")
    request.add_argument("key", type=Path, help="file of the key; stays where it is")
    request.add_argument("role", type=Role, choices=list(Role), metavar="ROLE")
    request.add_argument("name")
    enrol = commands.add_parser("enrol", parents=[folder, member], help="a request in, a certificate out")
    enrol.add_argument("--request", type=Path, help="file of the request; standard input where none is named")
    enrol.add_argument("--host", action="append", default=[], help="a name or address of a broker; repeatable")
    enrol.add_argument("--days", type=float, help="how long the certificate holds")
    commands.add_parser("revoke", parents=[folder, member], help="take certificates and password away")
    password = commands.add_parser("password", parents=[folder, member], help="make a password")
    password.add_argument("--to", type=Path, required=True, help="file, made with mode 0600, that gets the password")
    commands.add_parser("rotate", parents=[folder], help="make a new authority beside the old one")
    commands.add_parser("retire", parents=[folder], help="trust the newest authority alone")
    export = commands.add_parser("export", parents=[folder], help="write what a broker needs")
    export.add_argument("target", type=Path)
    listing = commands.add_parser("list", parents=[folder], help="every certificate given")
    listing.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    act: dict[str, Callable[[], object]] = {
        "create": lambda: authority.create(arguments.folder, arguments.site),
        "request": lambda: _request(arguments),
        "enrol": lambda: _enrol(arguments),
        "revoke": lambda: authority.revoke(arguments.folder, arguments.role, arguments.name),
        "password": lambda: _password(arguments),
        "rotate": lambda: authority.rotate(arguments.folder),
        "retire": lambda: _retire(arguments),
        "export": lambda: authority.export(arguments.folder, arguments.target),
        "list": lambda: _list(arguments),
    }
    act[arguments.authority_command]()
    return 0


def _request(arguments: argparse.Namespace) -> None:
    request = authority.make_request(arguments.key, arguments.role, arguments.name)
    sys.stdout.write(request.decode())
    print(f"fingerprint: {fingerprint(request)}", file=sys.stderr)


def _enrol(arguments: argparse.Namespace) -> None:
    request = arguments.request.read_bytes() if arguments.request else sys.stdin.buffer.read()
    asked = (request, arguments.role, arguments.name, arguments.host, arguments.days)
    certificate = authority.enrol(arguments.folder, *asked)
    sys.stdout.write(certificate.decode())
    print(f"fingerprint: {fingerprint(certificate)}", file=sys.stderr)


def _password(arguments: argparse.Namespace) -> None:
    user = authority.give_password(arguments.folder, arguments.role, arguments.name, arguments.to)
    print(f"user {user}, password in {arguments.to}")


def _retire(arguments: argparse.Namespace) -> None:
    for member in authority.retire(arguments.folder):
        print(f"{member.role} {member.name} must be enrolled anew: its certificate is of a retired authority")


def _list(arguments: argparse.Namespace) -> None:
    given = authority.members(arguments.folder)
    if arguments.json:
        print(json.dumps([asdict(member) for member in given], indent=2))
        return
    for member in given:
        state = f"revoked {member.revoked_utc[:10]}" if member.revoked_utc else f"until {member.ends_utc[:10]}"
        print(f"{member.role:9} {member.name:30} {state:19} {member.fingerprint}")


if __name__ == "__main__":
    sys.exit(main())
