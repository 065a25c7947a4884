"""Run the daemon and keep what it sees and hears as a session folder, for replays."""

import argparse
from pathlib import Path

from appliance.commands.replay import expect
from appliance.daemon import serve
from appliance.recording import Recording, open_session
from appliance.settings import Settings

SETTINGS = "device"
EXAMPLE = """
appliance record ./monday --seconds 20
appliance replay ./monday
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the folder and the length."""
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="a new or empty folder; pictures and sound of people will lie in it"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="stop by itself after so long (default: at Ctrl-C)")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Record, then note down what a replay of it must yield."""
    with Recording(arguments.folder, settings, arguments.seconds) as recording:
        serve(settings, recording)
    for folder in recording.folders:
        session, of_session = open_session(folder, [f"storage.directory={settings.storage.directory}"])
        print(f"{folder}: {expect(session, of_session)} states")
    return 0
