"""Run the daemon in the foreground: cameras and microphones in, avatar parameters out."""

import argparse

from appliance.daemon import serve
from appliance.settings import DEFAULT_PATH, Settings, load

SETTINGS = "device"
EXAMPLE = """
appliance run
appliance run --config ./booth.toml --set camera.fps=30
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add nothing: everything is in the settings."""


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until the cameras end or a signal comes."""
    path = arguments.config or DEFAULT_PATH
    serve(settings, reread=lambda: load(path, arguments.overrides))
    return 0
