"""Show avatars in a web browser: a separate process that knows only MQTT."""

import argparse
import json
from pathlib import Path

from appliance.publish import certificate, wire
from appliance.renderers import avatar_file, viewer
from appliance.settings import Settings

EXAMPLE = """
appliance viewer --port 8080 --set broker.url=mqtt://renderer.local
appliance viewer --avatar maria.vrm
appliance viewer --schema frame
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--port", type=int, default=8080, help="the page's port (default: %(default)s)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to serve on; 0.0.0.0 for the network (default: %(default)s)"
    )
    parser.add_argument("--site", default="+", help="show this site alone (default: all)")
    parser.add_argument("--device", default="+", help="show this device alone (default: all)")
    parser.add_argument(
        "--avatar",
        type=Path,
        metavar="FILE",
        help="a .glb, .vrm or .gltf file with ARKit morph targets or VRM expressions, shown in place of our own head",
    )
    parser.add_argument(
        "--schema",
        nargs="?",
        const="all",
        choices=("all", *wire.SCHEMAS),
        help="print the JSON Schema of one payload, or of all by name, and end",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve the page until told to end, or print what payloads look like."""
    if arguments.schema:
        print(_schemas(arguments.schema))
        return 0
    avatar = avatar_file.find(arguments.avatar) if arguments.avatar else None
    server = viewer.listen(arguments.host, arguments.port)
    topic = f"{wire.ROOT}/{arguments.site}/{arguments.device}/#"
    viewer.serve(server, settings.broker, topic, avatar, _identity(settings))
    return 0


def _identity(settings: Settings) -> str:
    """Who we are, for whoever holds a telephone before the screen; empty without a certificate."""
    ours = certificate.own(settings.broker)
    return f"{ours.user}\n{ours.fingerprint}" if ours else ""


def _schemas(name: str) -> str:
    if name == "all":
        return json.dumps({each: wire.schema(each) for each in wire.SCHEMAS}, indent=2)
    return wire.schema_text(name).rstrip("\n")
