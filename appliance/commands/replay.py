"""Run the appliance on a session folder, as fast as it goes, and hold it against what is expected."""

import argparse
import sys
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.installed import networks
from appliance.publish.recorder import Recorder, compare
from appliance.recording import Session, open_session
from appliance.replaying import replay
from appliance.settings import Settings
from engines.fetch import ensure

SETTINGS = "desk"
EXAMPLE = """
appliance replay ./monday
appliance replay ./monday --update
"""

_TOLERANCE = 0.02
_SHOWN = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the folder and what to do with it."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a session folder (see: appliance record)")
    parser.add_argument("--update", action="store_true", help="write the states as the new expectation")
    parser.add_argument(
        "--tolerance", type=float, default=_TOLERANCE, help=f"largest allowed difference (default {_TOLERANCE})"
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Replay; a difference from ``expected.jsonl`` is an error."""
    overrides = [f"storage.directory={settings.storage.directory}", *arguments.overrides]
    session, of_session = open_session(arguments.folder, overrides)
    ensure(of_session.storage.models, networks(of_session), print)
    if arguments.update or not session.expected.exists():
        print(f"{arguments.folder}: {expect(session, of_session)} states written to {session.expected.name}")
        return 0
    differences = compare(session.expected, replay(session, of_session), arguments.tolerance)
    for difference in differences[:_SHOWN]:
        print(difference, file=sys.stderr)
    if differences:
        raise ApplianceError(
            f"{arguments.folder}: {len(differences)} differences from {session.expected.name}; "
            "mend the cause, or accept them with --update"
        )
    print(f"{arguments.folder}: every state as expected, within {arguments.tolerance}")
    return 0


def expect(session: Session, settings: Settings) -> int:
    """Write the states of a replay as its expectation; return how many."""
    aside = session.expected.with_suffix(".aside")
    states = 0
    with Recorder(aside) as recorder:
        for state in replay(session, settings):
            recorder.send(state)
            states += 1
    aside.replace(session.expected)
    return states
