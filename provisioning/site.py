"""The site file: one TOML file that describes a site. Read strictly; every mistake in it is told at once."""

import dataclasses
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from provisioning.errors import ProvisioningError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")
Table = dict[str, Any]

_NAME = (r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", "1 to 32 letters, digits, - and _")
_HOST = (r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}", "a host name or address")
_USER = (r"[a-z_][a-z0-9_-]{0,31}", "a user's name on the device")
_CAMERA_SOURCE = (
    r"(v4l2|gstreamer|file|session):.+|rtsps?://.+",
    "v4l2:DEVICE, gstreamer:PIPELINE, rtsp://..., file:PATH or session:DIR",
)
_MICROPHONE_SOURCE = (r"(alsa|file|session):.+", "alsa:PCM, file:PATH or session:DIR")
_SETTINGS = ("engines", "avatar", "memory")


class SiteError(ProvisioningError):
    """The site file is wrong; a line a mistake."""

    exit_status = 78


def _text(pattern: str, meaning: str, default: Any = dataclasses.MISSING) -> Any:
    return field(default=default, metadata={"pattern": pattern, "meaning": meaning})


def _between(low: float, high: float, default: Any) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True)
class Place:
    """The site itself."""

    name: str = _text(*_NAME)
    authority: str = "authority"  # folder of the site's certificates


@dataclass(frozen=True, slots=True)
class Release:
    """What is to run, and how it proves itself."""

    bundle: str = _text(r".+", "the bundle's file, as `appliance-provision bundle` writes it")
    signer: str = _text(r".+", "the file of the public key that signed the bundle")
    window_s: int = _between(5, 86_400, 120)  # how long it must be well before it stays
    start_s: int = _between(5, 7_200, 60)  # how soon it must be well
    latency_ms: float = _between(0, 10_000, 0.0)  # p99; 0: no limit
    memory_mb: int = _between(0, 1_000_000, 0)  # 0: no limit


@dataclass(frozen=True, slots=True)
class Login:
    """How devices are reached; a device may have its own user and port."""

    user: str = _text(*_USER, default="root")
    port: int = _between(1, 65_535, 22)
    key_file: str = ""  # empty: those of the agent and of ~/.ssh
    known_hosts: str = "known_hosts"
    harden: bool = True  # no passwords over SSH, once a key has proved to work
    firewall: bool = True


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the site's avatars are published; ``device`` is the one that is the broker, if one is."""

    host: str = _text(*_HOST)
    port: int = _between(1, 65_535, 8884)  # where a certificate says who one is
    device: str = ""


@dataclass(frozen=True, slots=True)
class Renderer:
    """Who may read the site's avatars."""

    name: str = _text(*_NAME)
    password: bool = False  # for one that cannot hold a certificate


@dataclass(frozen=True, slots=True)
class Camera:
    """As in the device's settings."""

    name: str = _text(*_NAME)
    source: str = _text(*_CAMERA_SOURCE)
    width: int = _between(64, 4096, 1280)
    height: int = _between(64, 4096, 720)
    fps: int = _between(1, 120, 30)
    faces: int = _between(1, 8, 1)
    microphone: str = ""
    horizontal_fov_deg: float = _between(20, 170, 65.0)
    loop: bool = False


@dataclass(frozen=True, slots=True)
class Microphone:
    """As in the device's settings."""

    name: str = _text(*_NAME)
    source: str = _text(*_MICROPHONE_SOURCE)
    rate: int = _between(8000, 192_000, 16_000)
    delay_ms: float = _between(-500, 500, 0.0)
    loop: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """One booth."""

    name: str = _text(*_NAME)
    host: str = _text(*_HOST)
    user: str = _text(rf"|{_USER[0]}", _USER[1], default="")
    port: int = _between(0, 65_535, 0)  # 0: the site's
    wave: int = _between(1, 100, 1)  # an update goes wave by wave, and stops where one fails
    kiosk: bool = False  # boots into the booth's own screen
    power_mode: str = _text(r"|[A-Za-z0-9_]{1,16}", "a mode of nvpmodel, by number or name", default="")
    camera: tuple[Camera, ...] = ()
    microphone: tuple[Microphone, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """Everything about a site."""

    site: Place
    release: Release
    broker: Broker
    ssh: Login = field(default_factory=Login)
    renderer: tuple[Renderer, ...] = ()
    device: tuple[Device, ...] = ()
    settings: Table = field(default_factory=dict)
    folder: Path = Path()

    def path(self, name: str) -> Path:
        """A file that the site file names, beside it unless it is absolute."""
        return self.folder / Path(name).expanduser()


def load(path: Path) -> Site:
    """Read a site file; ``SiteError`` tells every mistake in it, a line each."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SiteError(f"the site file {path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise SiteError(f"{path} is not TOML: {error}") from None
    wrong: list[str] = []
    site = _build(Site, table, "", wrong)
    if site is not None:
        site = dataclasses.replace(site, folder=path.absolute().parent)
        wrong += _across(site)
    if wrong or site is None:
        raise SiteError("\n".join(wrong))
    return site


def _build(kind: type[S], table: Any, where: str, wrong: list[str]) -> S | None:
    """The dataclass of a table; what is wrong with it is added to ``wrong``, and then there is none."""
    if not isinstance(table, Mapping):
        wrong.append(f"{where} must be a table, got {table!r}")
        return None
    hints = get_type_hints(kind)
    fields = {entry.name: entry for entry in dataclasses.fields(kind) if entry.name != "folder"}
    prefix = f"{where}." if where else ""
    before = len(wrong)
    for key in table:
        if key not in fields:
            wrong.append(f"{prefix}{key} is not known; allowed here: {', '.join(fields)}")
    values: Table = {}
    for name, entry in fields.items():
        if name in table:
            values[name] = _value(hints[name], table[name], f"{prefix}{name}", entry.metadata, wrong)
        elif entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING:
            wrong.append(f"{prefix}{name} is missing; it must be {entry.metadata.get('meaning', 'a table')}")
    return kind(**values) if len(wrong) == before else None


def _value(hint: Any, value: Any, where: str, limits: Mapping[str, Any], wrong: list[str]) -> Any:
    if hint == Table:
        return _settings(value, where, wrong)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            wrong.append(f"{where} must be written [[{where}]], got {value!r}")
            return ()
        return tuple(
            _build(get_args(hint)[0], entry, _entry(where, index, entry), wrong) for index, entry in enumerate(value)
        )
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, where, wrong)
    problem = _why_wrong(hint, value, limits)
    if problem:
        wrong.append(f"{where} must be {problem}, got {value!r}")
    return value


def _entry(where: str, index: int, entry: Any) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return f"{where}[{name if isinstance(name, str) else index}]"


def _settings(value: Any, where: str, wrong: list[str]) -> Any:
    """Settings that all devices share; their keys are checked by the release itself, before it goes live."""
    if not isinstance(value, Mapping):
        wrong.append(f"{where} must be a table, got {value!r}")
        return {}
    for section, entries in value.items():
        if section not in _SETTINGS:
            wrong.append(f"{where}.{section} is not known; allowed here: {', '.join(_SETTINGS)}")
        elif not isinstance(entries, Mapping) or not all(isinstance(v, str | int | float) for v in entries.values()):
            wrong.append(f"{where}.{section} must be a table of texts, numbers, true and false, got {entries!r}")
    return dict(value)


_KINDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _why_wrong(hint: Any, value: Any, limits: Mapping[str, Any]) -> str:
    """What a value must be and is not; empty where it is."""
    fits = isinstance(value, (int, float) if hint is float else hint) and (hint is bool) == isinstance(value, bool)
    if not fits:
        return _KINDS[hint]
    if "low" in limits and not limits["low"] <= value <= limits["high"]:
        return f"between {limits['low']} and {limits['high']}"
    if "pattern" in limits and not re.fullmatch(limits["pattern"], value):
        return str(limits["meaning"])
    return ""


def _across(site: Site) -> list[str]:
    """What one key alone cannot tell."""
    wrong = [] if site.device else ["no [[device]] is named"]
    wrong += _twice("device", [device.name for device in site.device])
    wrong += _twice("device host", [f"{device.host}:{device.port or site.ssh.port}" for device in site.device])
    wrong += _twice("renderer", [renderer.name for renderer in site.renderer])
    wrong += [f"{r.name!r} names both a device and a renderer" for r in site.renderer if r.name in _names(site)]
    if site.broker.device and site.broker.device not in _names(site):
        wrong.append(f"broker.device must be one of: {', '.join(_names(site))}; got {site.broker.device!r}")
    wrong += [line for device in site.device for line in _across_device(device)]
    files = {"release.bundle": site.release.bundle, "release.signer": site.release.signer}
    if site.ssh.key_file:
        files["ssh.key_file"] = site.ssh.key_file
    wrong += [
        f"{key}: there is no file {site.path(name)}" for key, name in files.items() if not site.path(name).is_file()
    ]
    return wrong


def _across_device(device: Device) -> list[str]:
    where = f"device[{device.name}]"
    wrong = _twice(
        f"{where} camera or microphone",
        [*(camera.name for camera in device.camera), *(microphone.name for microphone in device.microphone)],
    )
    if not device.camera and not device.microphone:
        wrong.append(f"{where} has neither a [[device.camera]] nor a [[device.microphone]]")
    microphones = [microphone.name for microphone in device.microphone]
    for camera in device.camera:
        if camera.microphone and camera.microphone not in microphones:
            known = ", ".join(microphones) or "none is set"
            wrong.append(f"{where}.camera[{camera.name}].microphone must be one of: {known}; got {camera.microphone!r}")
    return wrong


def _names(site: Site) -> list[str]:
    return [device.name for device in site.device]


def _twice(what: str, names: list[str]) -> list[str]:
    return [
        f"{what} {name!r} is there {names.count(name)} times; names must differ"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
