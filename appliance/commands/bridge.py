"""Say an avatar again in a protocol that other renderers speak: a separate process, MQTT in, that protocol out."""

import argparse
import asyncio
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.renderers.bridges import ifacialmocap, livelink, vmc, vtubestudio
from appliance.renderers.bridges.pump import Choice, Datagrams, Output, pump
from appliance.renderers.client import ANY
from appliance.settings import Settings

EXAMPLE = """
appliance bridge vmc --to 192.168.1.20
appliance bridge ifacialmocap --listen
appliance bridge livelink --to unreal.local --subject Visitor --fps 60
appliance bridge vtubestudio --set broker.url=mqtt://renderer.local
"""

PROTOCOLS = {
    "vmc": (vmc.PORT, "Virtual Motion Capture Protocol over OSC: EVMC4U, VSeeFace, Warudo, VNyan, Blender"),
    "ifacialmocap": (ifacialmocap.PORT, "the iPhone app iFacialMocap: VSeeFace, VMagicMirror, VBridger, Warudo"),
    "livelink": (livelink.PORT, "the iPhone app Live Link Face: Unreal Engine"),
    "vtubestudio": (vtubestudio.PORT, "VTube Studio's plug-in API"),
}


HERE = "127.0.0.1"
SUBJECT = "Avatar"
OWN = {"names": "vmc", "format": "ifacialmocap", "listen": "ifacialmocap", "subject": "livelink"} | {
    "token_file": "vtubestudio"
}
"""Options that one protocol alone has."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    about = "; ".join(f"{name}: {what}" for name, (_, what) in PROTOCOLS.items())
    parser.add_argument("protocol", choices=tuple(PROTOCOLS), metavar="PROTOCOL", help=about)
    ports = ", ".join(str(port) for port, _ in PROTOCOLS.values())
    parser.add_argument(
        "--to", metavar="HOST[:PORT]", help=f"the renderer (default: this machine; ports, as above: {ports})"
    )
    parser.add_argument(
        "--avatar", default=ANY, metavar="SITE/DEVICE/STREAM/SLOT", help="which one (default: the first that is heard)"
    )
    parser.add_argument("--mirror", action="store_true", help="as in a mirror: left and right change places")
    parser.add_argument(
        "--stop-when-lost", action="store_true", help="send nothing while nobody is there: the renderer idles by itself"
    )
    parser.add_argument(
        "--fps",
        type=float,
        default=0.0,
        help="so many frames a second, mixed of those that came (default: as they come)",
    )
    own = parser.add_argument_group("of one protocol")
    own.add_argument("--names", choices=vmc.NAMES, help=f"vmc: whose names the shapes have (default: {vmc.NAMES[0]})")
    own.add_argument("--format", type=int, choices=(1, 2), help="ifacialmocap: its version (default: 1)")
    own.add_argument(
        "--listen",
        type=int,
        nargs="?",
        const=ifacialmocap.PORT,
        metavar="PORT",
        help=f"ifacialmocap: send to whoever asks, as the app does (default port: {ifacialmocap.PORT})",
    )
    own.add_argument("--subject", help="livelink: its name in Unreal (default: Avatar)")
    own.add_argument("--token-file", type=Path, help="vtubestudio: where the token is (default: in storage.directory)")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Bridge until told to end."""
    if not 0 <= arguments.fps <= 240:
        raise ApplianceError(f"--fps must be between 0 and 240, got {arguments.fps:g}")
    if arguments.avatar.count("/") != 3 or not all(arguments.avatar.split("/")):
        raise ApplianceError(f"--avatar must be SITE/DEVICE/STREAM/SLOT, + for any, got {arguments.avatar!r}")
    for option, protocol in OWN.items():
        if getattr(arguments, option) is not None and protocol != arguments.protocol:
            raise ApplianceError(
                f"--{option.replace('_', '-')} is an option of {protocol}, not of {arguments.protocol}"
            )
    choice = Choice(arguments.avatar, arguments.mirror, arguments.stop_when_lost, arguments.fps)
    host, port = _address(arguments.to or HERE, PROTOCOLS[arguments.protocol][0])
    asyncio.run(_run(arguments, settings, choice, host, port))
    return 0


async def _run(arguments: argparse.Namespace, settings: Settings, choice: Choice, host: str, port: int) -> None:
    if arguments.protocol == "vtubestudio":
        directory = Path(settings.storage.directory).expanduser()
        token_file = arguments.token_file or directory / "vtubestudio.token"
        async with vtubestudio.VTubeStudio(f"ws://{host}:{port}", token_file) as studio:
            await pump(settings.broker, choice, studio)
        return
    await pump(settings.broker, choice, _output(arguments, host, port))


def _output(arguments: argparse.Namespace, host: str, port: int) -> Output:
    if arguments.protocol == "vmc":
        return Datagrams(vmc.Vmc(arguments.names or vmc.NAMES[0]), host, port)
    if arguments.protocol == "livelink":
        return Datagrams(livelink.LiveLink(arguments.subject or SUBJECT), host, port)
    speaker = ifacialmocap.IFacialMocap(arguments.format or 1)
    datagrams = Datagrams(speaker, host, port)
    if arguments.listen is None:
        return datagrams
    return ifacialmocap.Phone(speaker, datagrams, arguments.listen, unasked=arguments.to is not None)


def _address(text: str, usual_port: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        return text, usual_port  # a name, or an IPv6 address alone
    if not port.isdecimal() or not 0 < int(port) < 65536 or not host:
        raise ApplianceError(f"--to must be HOST or HOST:PORT with a port from 1 to 65535, got {text!r}")
    return host.strip("[]"), int(port)
