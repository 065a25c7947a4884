"""What on this device would stop the appliance, or weaken it, each with its cure."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path

from appliance import settings as config
from appliance.capture.cameras import without_password
from appliance.capture.supervisor import Cameras
from appliance.errors import ACTIONABLE, CameraError
from appliance.health.proc import read_proc
from appliance.installed import every_network, networks, wanted_engines
from appliance.listening.ears import Listening
from appliance.publish.connection import Connection
from appliance.settings import Settings
from appliance.values import Event
from engines.fetch import is_ready
from engines.keys import choose_engine
from engines.networks import network
from engines.opening import choose, this_board
from engines.store import BUILD_COMMAND, Store

_WAIT_S = 4.0
_STEP_S = 0.05
_LEAST_DISK_MB = 500
_BUILT_UTC = datetime(2026, 1, 1, tzinfo=timezone.utc)  # no clock that is right is before this program's writing


class Verdict(str, Enum):
    """What a finding means for the appliance."""

    FINE = "fine"
    WEAK = "weak"  # runs, but not as well as it could
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    verdict: Verdict
    text: str
    cure: str = ""


def look(settings: Settings, root: Path = Path("/")) -> Iterator[Finding]:
    """Yield every finding, as each is made; opens the cameras and microphones for a moment."""
    yield platform(root)
    yield runtime(settings.engines)
    yield power_mode()
    yield from models(settings)
    yield from engines(settings)
    if not settings.camera:
        yield no_camera(settings)
    for camera in settings.camera:
        yield see(camera)
    for microphone in settings.microphone:
        yield listen(microphone)
    yield reach(settings.broker)
    yield clock(root)
    yield disk(Path(settings.storage.directory).expanduser())
    yield memory(settings.memory, root)


def platform(root: Path) -> Finding:
    """Which board this is, and its L4T release."""
    model, release = _text(root / "proc/device-tree/model"), _text(root / "etc/nv_tegra_release")
    if release:
        return Finding("platform", Verdict.FINE, f"{model or 'Jetson'}, {release.splitlines()[0].lstrip('# ')}")
    return Finding("platform", Verdict.FINE, f"{os.uname().machine}, no Jetson: networks run on the processor")


def runtime(engines: config.Engines) -> Finding:
    """What will run the networks."""
    found = [f"{name} {version}" for name in ("tensorrt", "openvino", "onnxruntime") if (version := _version(name))]
    try:
        chosen = choose(engines.runner)
    except ACTIONABLE as error:
        return Finding("networks", Verdict.STOP, str(error), "set engines.runner = auto")
    return Finding("networks", Verdict.FINE, f"run by {chosen}; installed: {', '.join(found)}")


def power_mode() -> Finding:
    """The board's power mode, where it has any."""
    tool = shutil.which("nvpmodel")
    if tool is None:
        return Finding("power mode", Verdict.FINE, "this machine has none")
    answer = subprocess.run([tool, "-q"], capture_output=True, text=True, timeout=_WAIT_S, check=False).stdout
    mode = next((line.split(":", 1)[1].strip() for line in answer.splitlines() if "Power Mode:" in line), "")
    if not mode:
        return Finding("power mode", Verdict.WEAK, "nvpmodel -q says nothing", "run check as root")
    return Finding("power mode", Verdict.FINE, mode)


def models(settings: Settings) -> Iterator[Finding]:
    """Whether every network is there and whole."""
    for name in networks(settings):
        if is_ready(settings.storage.models, name):
            yield Finding("model", Verdict.FINE, f"{name} is there and whole")
        else:
            text = f"{name} is absent or damaged in {settings.storage.models}"
            yield Finding("model", Verdict.WEAK, text, "appliance models fetch (the daemon does it at its start)")


def engines(settings: Settings) -> Iterator[Finding]:
    """Whether every engine is there, where engines run networks."""
    try:
        if choose(settings.engines.runner) != "tensorrt":
            return
        board = this_board()
    except ACTIONABLE:
        return  # the finding of what runs networks says it
    wanted = wanted_engines(settings)
    store = Store(wanted.engines)
    for name in every_network(settings):
        if name in networks(settings) and not is_ready(settings.storage.models, name):
            continue
        choice = choose_engine(network(name, settings.storage.models), wanted, board, store)
        precision = choice.key.precision
        if not store.is_whole(choice.key):
            text = f"no {precision} engine of {name}: {store.why_absent(choice.key)}"
            yield Finding("engine", Verdict.STOP, text, BUILD_COMMAND)
        elif choice.fallback:
            yield Finding("engine", Verdict.WEAK, f"{name} runs in {precision}: {choice.fallback}")
        else:
            yield Finding("engine", Verdict.FINE, f"{name} is there in {precision}")


def no_camera(settings: Settings) -> Finding:
    """Whether the voice alone is to move mouths."""
    if settings.microphone:
        return Finding("camera", Verdict.FINE, "none is set: voices alone move the mouths")
    return Finding(
        "camera", Verdict.STOP, "neither a [[camera]] nor a [[microphone]] is set", "name one in the settings file"
    )


def see(camera: config.Camera) -> Finding:
    """Whether a camera gives pictures."""
    subject = f"camera {camera.name}"
    if camera.source.startswith("v4l2:"):
        refused = _refused(Path(camera.source.removeprefix("v4l2:")), "video")
        if refused:
            return Finding(subject, Verdict.STOP, *refused)
    try:
        with Cameras([camera], _ignore) as cameras:
            arrived = _first_picture(cameras)
            error = cameras.status()[camera.name].error
    except CameraError as held:
        return Finding(subject, Verdict.WEAK, str(held), "it was not looked at")
    if arrived:
        return Finding(subject, Verdict.FINE, f"gives pictures of {arrived}")
    text = error or f"{without_password(camera.source)} gives no picture"
    return Finding(subject, Verdict.STOP, text, "look at the cable and at camera.source")


def listen(microphone: config.Microphone) -> Finding:
    """Whether a microphone gives sound."""
    subject = f"microphone {microphone.name}"
    if microphone.source.startswith("alsa:"):
        if importlib.util.find_spec("alsaaudio") is None:
            cure = "pip install 'avatar-appliance[device]'"
            return Finding(subject, Verdict.STOP, "the package pyalsaaudio is not installed", cure)
        refused = _refused(Path("/dev/snd/controlC0"), "audio") if Path("/dev/snd").exists() else None
        if refused:
            return Finding(subject, Verdict.STOP, *refused)
    ear = Listening(microphone, _ignore)
    ear.start()
    heard = _within(lambda: ear.status().blocks > 0)
    error = ear.status().last_error
    ear.close()
    if heard:
        return Finding(subject, Verdict.FINE, "gives sound")
    text = error or f"{microphone.source} gives no sound"
    return Finding(subject, Verdict.STOP, text, "look at the cable; arecord -L lists names")


def reach(broker: config.Broker) -> Finding:
    """Whether the broker lets us in."""
    try:
        connection = Connection(broker, f"check-{os.getpid()}", lambda client: None)
    except ACTIONABLE as error:
        return Finding("broker", Verdict.STOP, str(error), "see [broker] in the settings")
    connection.start()
    connected = _within(lambda: connection.status().connected)
    status = connection.status()
    connection.close()
    if not connected:
        text = status.problem or f"{broker.url} does not answer"
        return Finding("broker", Verdict.STOP, text, "see [broker] in the settings, and the broker's own log")
    text = f"{broker.url} lets us in with MQTT {status.protocol}"
    if not broker.tls and broker.host not in ("127.0.0.1", "localhost", "::1"):
        return Finding("broker", Verdict.WEAK, f"{text}, unencrypted", "use mqtts:// and ca_file")
    return Finding("broker", Verdict.FINE, text)


def clock(root: Path) -> Finding:
    """Whether the wall clock can be right; it is part of every frame."""
    now = datetime.now(timezone.utc)
    if now < _BUILT_UTC:
        return Finding("clock", Verdict.WEAK, f"says {now:%Y-%m-%d}, which is past", "timedatectl set-ntp true")
    synchronised = (root / "run/systemd/timesync/synchronized").exists()
    source = "synchronised" if synchronised else "no word of time synchronisation"
    return Finding("clock", Verdict.FINE, f"{now:%Y-%m-%d %H:%M} UTC, {source}")


def disk(directory: Path) -> Finding:
    """Whether there is room for models and recordings, and whether we may write."""
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free_mb = shutil.disk_usage(place).free // 2**20
    if free_mb < _LEAST_DISK_MB:
        text = f"{place} has {free_mb} MB free, {_LEAST_DISK_MB} MB are needed"
        return Finding("disk", Verdict.STOP, text, "delete recordings, or set storage.directory elsewhere")
    if not os.access(place, os.W_OK):
        return Finding("disk", Verdict.STOP, f"{place} cannot be written", "run check as the appliance's user")
    return Finding("disk", Verdict.FINE, f"{place} has {free_mb} MB free")


def memory(limits: config.Memory, root: Path) -> Finding:
    """Whether the memory that is free now lies above the level where load is shed."""
    reading, _ = read_proc(None, root)
    text = f"{reading.available_mb} of {reading.total_mb} MB available"
    if reading.available_mb < limits.high_mb:
        cure = "end other programs, or lower memory.high_mb"
        return Finding("memory", Verdict.WEAK, f"{text}, below memory.high_mb = {limits.high_mb}", cure)
    return Finding("memory", Verdict.FINE, text)


def _first_picture(cameras: Cameras) -> str:
    """The size of the first picture; empty when none came in time."""
    ends_s = time.monotonic() + _WAIT_S
    for frames in cameras.ready():
        for frame in frames:
            if frame.image is not None:
                return f"{frame.image.shape[1]} x {frame.image.shape[0]}"
        if time.monotonic() > ends_s:
            break
    return ""


def _refused(device: Path, group: str) -> tuple[str, str] | None:
    """Why a device file cannot be used, and the cure."""
    if not device.exists():
        return f"{device} does not exist", "plug it in; see: ls -l /dev/video* /dev/snd"
    if not os.access(device, os.R_OK | os.W_OK):
        return (
            f"{device} may not be opened by this user",
            f"add the user to the group {group}: usermod -aG {group} USER",
        )
    return None


def _within(true: Callable[[], bool]) -> bool:
    ends_s = time.monotonic() + _WAIT_S
    while not true() and time.monotonic() < ends_s:
        time.sleep(_STEP_S)
    return true()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _ignore(_event: Event) -> None:
    """What goes wrong meanwhile is in the status."""
