"""The console script: arguments in, one command run, errors turned into an exit status."""

import argparse
import logging
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from appliance import __version__, settings
from appliance.errors import ACTIONABLE
from appliance.journal import handler as journal_handler

COMMANDS = (
    *("demo", "run", "check", "models", "engines", "calibrate", "monitor", "viewer", "bridge", "exporter"),
    *("record", "replay", "bench"),
)

_BUG = 70  # EX_SOFTWARE of sysexits.h
_INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    words = sys.argv[1:] if words is None else words
    chosen = words[0] if words and words[0] in COMMANDS else None
    modules = {name: import_module(f"appliance.commands.{name}") for name in COMMANDS if chosen in (None, name)}
    arguments = _parser(modules).parse_args(words)
    module = modules[arguments.command]
    _start_logging(arguments, module)
    try:
        return int(module.run(arguments, _settings(arguments, module)))
    except ACTIONABLE as error:
        print(f"appliance: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception:  # noqa: BLE001  # any bug: its stack is printed, the status is 70
        traceback.print_exc()
        return _BUG


def _parser(modules: dict[str, ModuleType]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="appliance",
        description="Turns a camera and a microphone into live avatar parameters over MQTT.",
        epilog="try it:\n  appliance demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"avatar-appliance {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in modules.items():
        summary = (module.__doc__ or "").strip().splitlines()[0]
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            epilog=f"example:\n{_indented(module.EXAMPLE)}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_common(command)
        module.configure(command)
    return parser


def _indented(text: str) -> str:
    return "\n".join(f"  {line.strip()}" for line in text.strip().splitlines())


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings file (default {settings.DEFAULT_PATH}, where it exists)"
    )
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="section.key=value", help="override one setting"
    )
    level = parser.add_mutually_exclusive_group()
    level.add_argument("-v", "--verbose", action="store_true", help="log every step")
    level.add_argument("-q", "--quiet", action="store_true", help="log what went wrong alone")


def _settings(arguments: argparse.Namespace, module: ModuleType) -> settings.Settings:
    """The device's settings; where a command can do without, those of a desk.

    A command module says which with ``SETTINGS``: "device" (a settings file must exist), "desk"
    (only a file that was named is read) or "either", which is meant where it says nothing; and with
    ``DESK`` what the settings of a desk are.
    """
    wanted = getattr(module, "SETTINGS", "either")
    path = arguments.config
    if path is None and (wanted == "device" or (wanted == "either" and settings.DEFAULT_PATH.exists())):
        path = settings.DEFAULT_PATH
    if path is not None:
        return settings.load(path, arguments.overrides)
    desk = getattr(module, "DESK", {"storage": {"directory": settings.DESK_DIRECTORY}})
    return settings.from_table(desk, arguments.overrides)


def _start_logging(arguments: argparse.Namespace, module: ModuleType) -> None:
    """What serves says what it does; what a person asked for answers alone, unless asked for more."""
    serves = getattr(module, "SETTINGS", "either") == "device" and not arguments.quiet
    level = logging.DEBUG if arguments.verbose else logging.INFO if serves else logging.WARNING
    if journal := journal_handler():
        logging.basicConfig(level=level, format="%(message)s", handlers=[journal])
    else:
        logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
