"""Fit eight bits to this site: film it, compute ranges, say what they cost, delete the pictures.

record   films the site with the configured cameras and microphones and keeps samples of what the networks are shown
ranges   computes from them how far every activation goes; "appliance engines build" builds INT8 with it
report   holds INT8 against FP32 on samples that no range was taken from
forget   deletes every sample; what was computed of them stays, unless --ranges is given
"""

import argparse
import json
import math
import sys
import time
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from appliance.calibrating import NAMES, Filmed, Limits, film
from appliance.errors import ApplianceError
from appliance.installed import network_named
from appliance.progress import Progress
from appliance.settings import Settings
from calibration.activations import in_eight_bits, in_float, ranges_of, spreads
from calibration.folder import DAYS, RECORD_COMMAND, CalibrationFolder
from calibration.methods import DEFAULT_METHOD
from calibration.report import Report, compare, report
from calibration.walking import calls
from engines.keys import find_ranges, passed_over
from engines.networks import Network
from engines.ranges import METHODS, Ranges, write_ranges

EXAMPLE = """
appliance calibrate record --seconds 600
appliance calibrate ranges
appliance calibrate report --json > report.json
appliance calibrate forget
"""

_ACTIONS = ("record", "ranges", "report", "forget")
_SECONDS, _COUNT, _MOST_MB = 600.0, 300, 200.0
_VERIFIED_ON = 64


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``appliance calibrate``."""
    parser.add_argument("action", choices=_ACTIONS, help="what to do")
    filming = parser.add_argument_group("record")
    filming.add_argument("--yes", action="store_true", help="what is kept was read, and those filmed agree")
    filming.add_argument("--seconds", type=_positive, default=_SECONDS, help=f"how long (default: {_SECONDS:.0f})")
    filming.add_argument("--count", type=_whole, default=_COUNT, help=f"samples of each network (default: {_COUNT})")
    filming.add_argument("--mb", type=_positive, default=_MOST_MB, help=f"room on the disk (default: {_MOST_MB:.0f})")
    filming.add_argument("--days", type=_whole, default=DAYS, help=f"until all of it is deleted (default: {DAYS})")
    counting = parser.add_argument_group("ranges and report")
    counting.add_argument("--model", action="append", metavar="NAME", help="this network alone (repeatable)")
    counting.add_argument("--method", choices=METHODS, help="how ranges are chosen (default: as the manifest says)")
    counting.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--ranges", action="store_true", help="forget: delete what was computed, too")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Delete what has expired, then do what was asked for."""
    folder = CalibrationFolder(settings.storage.calibration)
    if arguments.action == "forget":
        deleted = folder.forget(arguments.ranges)
        print(f"deleted {deleted} in {folder.path}" if deleted.files else f"nothing lay in {folder.path}")
        return 0
    expired = folder.expire(time.time())
    if expired:
        print(f"the samples in {folder.path} had expired: deleted {expired}", file=sys.stderr)
    if arguments.action == "record":
        return _record(arguments, settings, folder)
    if expired or folder.stamp() is None:
        raise ApplianceError(
            f"{folder.path} holds no samples{', for they expired' if expired else ''}; film some: {RECORD_COMMAND}"
        )
    do = _ranges if arguments.action == "ranges" else _report
    return do(arguments, settings, folder)


def consent_text(settings: Settings, folder: CalibrationFolder, limits: Limits, days: int) -> str:
    """What will be kept, in words for those who are filmed."""
    sources = [f"camera {camera.name}" for camera in settings.camera]
    sources += [f"microphone {microphone.name}" for microphone in settings.microphone]
    faces = (
        "people's faces as the networks see them, cut out 192 and 96 pixels wide, and their landmarks; no whole picture"
    )
    voices = "one-second pieces of speech as spectra"
    kept = [text for text, given in ((faces, settings.camera), (voices, settings.microphone)) if given]
    return (
        f"This films with {', '.join(sources) or 'nothing'} for up to {limits.seconds:.0f} s and keeps at most "
        f"{limits.count} samples of each network, {limits.most_mb:.0f} MB: {'; and '.join(kept)}. They lie in "
        f"{folder.path}, readable to their owner alone, never leave this device, are deleted after {days} days, and at "
        "any time with: appliance calibrate forget"
    )


def _record(arguments: argparse.Namespace, settings: Settings, folder: CalibrationFolder) -> int:
    limits = Limits(arguments.seconds, arguments.count, arguments.mb)
    print(consent_text(settings, folder, limits, arguments.days), file=sys.stderr)
    if not arguments.yes and not _agreed():
        raise ApplianceError("nothing is filmed without consent; ask those who are filmed, then give --yes")
    with folder.recording(time.time(), arguments.days) as recording:
        with Progress() as progress:
            filmed = film(settings, folder, recording, limits, progress.show)
        stamp = folder.stamp()
        lies = f"{folder.size_bytes() / 1e6:.1f} MB in {folder.path}, until {stamp.expires if stamp else '?'}"
        _say_what_is_kept(filmed, lies)
    return 0


def _say_what_is_kept(filmed: Filmed, lies: str) -> None:
    kept = ", ".join(f"{name} {count}" for name, count in filmed.counts.items())
    if filmed.stopped:
        raise ApplianceError(
            f"{filmed.stopped}; what was kept is whole ({kept}; {lies}); for more, again: {RECORD_COMMAND}"
        )
    print(f"kept {kept}; {lies}")
    print("next: appliance calibrate ranges")


def _agreed() -> bool:
    """Ask on a terminal; elsewhere nobody can agree."""
    if not sys.stdin.isatty():
        return False
    print("Do all who are filmed agree? Type yes: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def _ranges(arguments: argparse.Namespace, settings: Settings, folder: CalibrationFolder) -> int:
    """Write ranges and held-out inputs of every network that was filmed."""
    written = []
    for each in _networks(arguments, settings, folder):
        ranges = _computed(each, folder, arguments.method or each.method or DEFAULT_METHOD)
        path = folder.ranges_path(each.name)
        _write(ranges, folder, each.name)
        if shown := calls(in_float(each), folder.blocks(each.name, held_out=True), _VERIFIED_ON):
            folder.write_held_out(each.name, shown)
        written.append({"model": each.name, "method": ranges.method, "samples": ranges.samples, "file": str(path)})
    if arguments.json:
        print(json.dumps(written, indent=2))
        return 0
    table = Table("network", "method", "samples", "file")
    for row in written:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    print("next: appliance calibrate report, then: appliance engines build", file=sys.stderr)
    return 0


def _write(ranges: Ranges, folder: CalibrationFolder, name: str) -> None:
    path = folder.ranges_path(name)
    try:
        write_ranges(ranges, path)
    except OSError as error:
        raise ApplianceError(f"{path} cannot be written: {error}; what was there is as it was") from None


def _computed(each: Network, folder: CalibrationFolder, method: str) -> Ranges:
    with Progress() as progress:
        found, count = spreads(
            each,
            folder.blocks(each.name, held_out=False),
            lambda done: progress.show(f"{each.name}: {done} samples"),
        )
    return ranges_of(each, found, method, count)


def _report(arguments: argparse.Namespace, settings: Settings, folder: CalibrationFolder) -> int:
    """Print what INT8 costs, with the ranges that an engine would be built with, or by another method."""
    reports = []
    for each in _networks(arguments, settings, folder):
        if next(folder.blocks(each.name, held_out=True), None) is None:
            print(f"{each.name}: too short a recording to hold samples back; film for longer", file=sys.stderr)
            continue
        ranges = find_ranges(each, settings.storage.calibration)
        if why := passed_over(each, settings.storage.calibration):
            print(f"{each.name}: {why}", file=sys.stderr)
        if arguments.method or ranges is None:
            ranges = _computed(each, folder, arguments.method or each.method or DEFAULT_METHOD)
        reports.append(_compared(each, ranges, folder))
    if not reports:
        raise ApplianceError(f"no samples were held back to compare on; film for longer: {RECORD_COMMAND}")
    if arguments.json:
        print(json.dumps([_plain({**asdict(one), "holds": one.holds}) for one in reports], indent=2))
    else:
        for one in reports:
            _print(one)
    return 0


def _compared(each: Network, ranges: Ranges, folder: CalibrationFolder) -> Report:
    eight_bits = in_eight_bits(each, ranges)
    with Progress() as progress:
        true, told = compare(
            in_float(each),
            eight_bits,
            folder.blocks(each.name, held_out=True),
            lambda done: progress.show(f"{each.name}: {done} compared"),
        )
    return report(each.name, ranges.method, true, told, each.tolerance, NAMES.get(each.name, {}))


def _networks(arguments: argparse.Namespace, settings: Settings, folder: CalibrationFolder) -> list[Network]:
    """The networks asked for, of those that were filmed."""
    filmed = folder.networks()
    for name in arguments.model or ():
        if name not in filmed:
            raise ApplianceError(f"--model must be a network that was filmed: {', '.join(filmed)}; got {name!r}")
    return [network_named(settings, name) for name in arguments.model or filmed]


def _print(one: Report) -> None:
    table = Table(
        "output", "measure", "INT8", "limit", "verdict", title=f"{one.model}, {one.method}, {one.calls} calls"
    )
    for row in one.rows:
        limit = f"{'at most' if row.at_most else 'at least'} {row.limit:g}"
        table.add_row(row.output, row.measure, f"{row.value:.4f}", limit, "holds" if row.holds else "MISSES")
    console = Console()
    console.print(table)
    for output, channels in one.channels.items():
        named = Table("name", "mean difference", "correlation", "likeliest the same", title=f"{one.model}: {output}")
        for channel in sorted(channels, key=lambda channel: -channel.error):
            figures = (channel.error, channel.correlation, channel.agreement)
            named.add_row(channel.name, *("" if math.isnan(figure) else f"{figure:.4f}" for figure in figures))
        console.print(named)
    verdict = "INT8 holds" if one.holds else "INT8 misses: FP16 will be built in its place"
    console.print(f"{one.model}: {verdict}")


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value
