"""Settings: frozen dataclasses, read once from TOML, every limit checked here.

A wrong setting is a ``ConfigError`` that names the key, the value and what is allowed.
"""

import dataclasses
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from appliance.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_PATH = Path("/etc/avatar-appliance/appliance.toml")
FILE_LIMIT_BYTES = 65_536
DESK_DIRECTORY = "~/.cache/avatar-appliance"
"""Where a machine without settings keeps its models: a laptop, a build server."""

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")
Table = dict[str, Any]


def _between(low: float, high: float, default: Any) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _one_of(*allowed: str) -> Any:
    return field(default=allowed[0], metadata={"allowed": allowed})


def _matching(pattern: str, meaning: str, default: Any = dataclasses.MISSING) -> Any:
    return field(default=default, metadata={"pattern": pattern, "meaning": meaning})


_NAME = (r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", "1 to 32 letters, digits, - and _")
_CAMERA_SOURCE = (
    r"(v4l2|gstreamer|file|session):.+|rtsps?://.+",
    "v4l2:DEVICE, gstreamer:PIPELINE, rtsp://..., file:PATH or session:DIR",
)
_MICROPHONE_SOURCE = (r"(alsa|file|session):.+", "alsa:PCM, file:PATH or session:DIR")


@dataclass(frozen=True, slots=True)
class Device:
    """Which device this is; both names are part of every topic."""

    site: str = _matching(*_NAME, default="site")
    name: str = _matching(*_NAME, default="device")


@dataclass(frozen=True, slots=True)
class Camera:
    """One stream of pictures."""

    name: str = _matching(*_NAME)
    source: str = _matching(*_CAMERA_SOURCE)
    width: int = _between(64, 4096, 1280)
    height: int = _between(64, 4096, 720)
    fps: int = _between(1, 120, 30)
    faces: int = _between(1, 8, 1)
    microphone: str = ""
    horizontal_fov_deg: float = _between(20, 170, 65.0)
    loop: bool = False  # file and session sources: start again at the end


@dataclass(frozen=True, slots=True)
class Microphone:
    """One stream of sound."""

    name: str = _matching(*_NAME)
    source: str = _matching(*_MICROPHONE_SOURCE)
    rate: int = _between(8000, 192000, 16000)
    delay_ms: float = _between(-500, 500, 0.0)  # so much later than it sounded the device gives its sound
    loop: bool = False


@dataclass(frozen=True, slots=True)
class Engines:
    """What runs the networks."""

    runner: str = _one_of("auto", "tensorrt", "openvino", "onnxruntime")
    precision: str = _one_of("int8", "fp16", "fp32")
    optimisation_level: int = _between(0, 5, 3)  # how long TensorRT looks for faster kernels when it builds
    face: str = _one_of("own", "task")  # whose networks read faces: ours, or those of a task file its owner brought
    expression: str = _matching(r"(.+\.toml)?", "the path of a model.toml, or empty", "")  # a network of the owner's


@dataclass(frozen=True, slots=True)
class Avatar:
    """How measurements become movement. The one-euro parameters are Casiez et al.'s (CHI 2012)."""

    smoothing: str = _one_of("one_euro", "none")
    min_cutoff_hz: float = _between(0.05, 60, 1.0)
    beta: float = _between(0, 100, 4.0)
    idle: str = _one_of("relax", "hold", "freeze")
    arousal: float = _between(0, 1, 0.3)  # how far an excited or tired voice may change the expression
    align: bool = True  # find out how much the sound lags behind the pictures by watching mouths speak


@dataclass(frozen=True, slots=True)
class Memory:
    """Where memory readings come from, and the available memory under which load is shed."""

    source: str = _one_of("auto", "tegrastats", "jtop", "proc")
    high_mb: int = _between(1, 1_000_000, 900)
    critical_mb: int = _between(1, 1_000_000, 400)


@dataclass(frozen=True, slots=True)
class Broker:
    """The MQTT broker. Secrets are paths, never values."""

    url: str = _matching(r"mqtts?://[^/@\s]+/?", "mqtt://HOST[:PORT] or mqtts://HOST[:PORT]", "mqtt://127.0.0.1:1883")
    username_file: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    commands: bool = False
    frame_bin: bool = False  # every frame packed, too, on frame.bin

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("mqtts:")

    @property
    def host(self) -> str:
        """The broker's host name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's port; MQTT's own where the URL names none."""
        return urlsplit(self.url).port or (8883 if self.tls else 1883)


@dataclass(frozen=True, slots=True)
class Storage:
    """Where models, engines, calibration and sessions lie."""

    directory: str = "/var/lib/avatar-appliance"

    @property
    def models(self) -> Path:
        """The folder of fetched and converted models."""
        return Path(self.directory).expanduser() / "models"

    @property
    def engines(self) -> Path:
        """The folder of engines that this device built."""
        return Path(self.directory).expanduser() / "engines"

    @property
    def calibration(self) -> Path:
        """The folder of this site's calibration, a folder a network."""
        return Path(self.directory).expanduser() / "calibration"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the operator decided."""

    device: Device = field(default_factory=Device)
    camera: tuple[Camera, ...] = ()
    microphone: tuple[Microphone, ...] = ()
    engines: Engines = field(default_factory=Engines)
    avatar: Avatar = field(default_factory=Avatar)
    memory: Memory = field(default_factory=Memory)
    broker: Broker = field(default_factory=Broker)
    storage: Storage = field(default_factory=Storage)


def load(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a settings file; each override is a ``section.key=value`` of the command line."""
    try:
        return from_table(tomllib.loads(_text(path)), overrides)
    except FileNotFoundError:
        raise ConfigError(
            f"no settings at {path}; write them (README, Settings) or name a file with --config"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings at {path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path} is not TOML of ours: its tables are nested too deeply") from None


def _text(path: Path) -> str:
    """Read a plain file of sane size: a pipe would be waited for, and a device might have no end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_LIMIT_BYTES:
        limit = f"a plain file of at most {FILE_LIMIT_BYTES} bytes"
        raise ConfigError(f"settings at {path} cannot be read: they must be {limit}")
    return path.read_text(encoding="utf-8")


def from_table(table: Mapping[str, Any], overrides: Sequence[str] = ()) -> Settings:
    """Check a parsed settings table, overrides applied, and make it ``Settings``."""
    merged: Table = {key: _copy(value) for key, value in table.items()}
    for override in overrides:
        _apply(merged, override)
    settings = _build(Settings, merged, "")
    _check_names(settings)
    return settings


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _apply(table: Table, override: str) -> None:
    """``camera.fps=30`` sets every camera, ``camera.cam0.fps=30`` one."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or len(keys) not in (2, 3) or not all(keys):
        raise ConfigError(f"--set takes section.key=value, got {override!r}")
    section = table.setdefault(keys[0], {})
    if isinstance(section, list):
        entries = [entry for entry in section if len(keys) == 2 or entry.get("name") == keys[1]]
        if not entries:
            raise ConfigError(f"--set {override}: no [[{keys[0]}]] is named {keys[1]!r}")
    elif len(keys) == 2 and isinstance(section, dict):
        entries = [section]
    else:
        raise ConfigError(f"--set {override}: {keys[0]} is not a list of tables, so section.key=value is allowed")
    for entry in entries:
        entry[keys[-1]] = _literal(text.strip())


def _literal(text: str) -> Any:
    """What TOML makes of a value; text that needs no quotes stays text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _build(kind: type[S], table: Any, where: str) -> S:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} must be a table, got {table!r}")
    hints = get_type_hints(kind)
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    prefix = f"{where}." if where else ""
    for key in table:
        if key not in fields:
            raise ConfigError(f"{prefix}{key} = {table[key]!r} is not a setting; allowed here: {', '.join(fields)}")
    values: Table = {}
    for name, entry in fields.items():
        if name in table:
            values[name] = _value(hints[name], table[name], f"{prefix}{name}", entry.metadata)
        elif entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{prefix}{name} is missing; it must be {entry.metadata['meaning']}")
    return kind(**values)


def _value(hint: Any, value: Any, where: str, limits: Mapping[str, Any]) -> Any:
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where} must be written [[{where}]], got {value!r}")
        inner = get_args(hint)[0]
        return tuple(_build(inner, entry, f"{where}[{index}]") for index, entry in enumerate(value))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    return _scalar(hint, value, where, limits)


_KINDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _scalar(hint: Any, value: Any, where: str, limits: Mapping[str, Any]) -> Any:
    fits = isinstance(value, (int, float) if hint is float else hint) and (hint is bool) == isinstance(value, bool)
    if not fits:
        raise ConfigError(f"{where} must be {_KINDS[hint]}, got {value!r}")
    if "low" in limits and not limits["low"] <= value <= limits["high"]:
        raise ConfigError(f"{where} must be between {limits['low']} and {limits['high']}, got {value!r}")
    if "allowed" in limits and value not in limits["allowed"]:
        raise ConfigError(f"{where} must be one of {', '.join(limits['allowed'])}, got {value!r}")
    if "pattern" in limits and not re.fullmatch(limits["pattern"], value):
        raise ConfigError(f"{where} must be {limits['meaning']}, got {value!r}")
    return float(value) if hint is float else value


def _check_names(settings: Settings) -> None:
    """What one key alone cannot tell: names that must differ, names that must exist."""
    streams = [camera.name for camera in settings.camera] + [mic.name for mic in settings.microphone]
    for name in streams:
        if streams.count(name) > 1:
            raise ConfigError(f"camera and microphone names must differ, got {name!r} {streams.count(name)} times")
        if name in ("cmd", "resp"):
            raise ConfigError(f"no camera or microphone may be named {name!r}: that is a topic of its own")
    microphones = [mic.name for mic in settings.microphone]
    for camera in settings.camera:
        if camera.microphone and camera.microphone not in microphones:
            known = ", ".join(microphones) or "none is set"
            raise ConfigError(f"camera {camera.name}: microphone must be one of: {known}; got {camera.microphone!r}")
    if settings.memory.critical_mb >= settings.memory.high_mb:
        high_mb, critical_mb = settings.memory.high_mb, settings.memory.critical_mb
        raise ConfigError(f"memory.critical_mb must be below memory.high_mb = {high_mb}, got {critical_mb}")
    _check_port(settings.broker)


def _check_port(broker: Broker) -> None:
    try:
        host, port = broker.host, broker.port
    except ValueError:
        host, port = "", 0
    if not host or not 1 <= port <= 65535:
        raise ConfigError(f"broker.url must be mqtt://HOST[:PORT] with a port from 1 to 65535, got {broker.url!r}")
