"""The device's root file system: a Debian, made once, with this checkout installed as on a device."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from appliance import __version__
from appliance.installed import networks
from appliance.settings import DESK_DIRECTORY, load
from engines.fetch import ensure

REPOSITORY = Path(__file__).parents[2]
SUITE = "bookworm"
PACKAGES = (
    "systemd,systemd-sysv,dbus,udev,libpam-systemd,systemd-timesyncd,python3,python3-venv,libasound2,"
    "ca-certificates,iproute2,procps,netbase,kmod"
)
ADDRESS, BROKER_ADDRESS, BROKER = "10.77.0.2", "10.77.0.1", "renderer.local"
RELEASE = f"opt/avatar-appliance/releases/{__version__}"
TECHNICIAN = "tech"

SETTINGS = f"""
[device]
site = "booth"
name = "orin-07"

[[camera]]
name = "cam0"
source = "v4l2:/run/devices/video0"
microphone = "mic0"

[[microphone]]
name = "mic0"
source = "alsa:mic"

[memory]
high_mb = 64
critical_mb = 32

[broker]
url = "mqtts://{BROKER}:8883"
username_file = "/etc/avatar-appliance/mqtt.user"
password_file = "/etc/avatar-appliance/mqtt.password"
ca_file = "/etc/avatar-appliance/ca.pem"
"""

DEVICES = """# Camera and microphone of this machine are libraries.
[Service]
Environment="LD_PRELOAD=/run/devices/vcam.so /run/devices/clock.so" ALSA_CONFIG_PATH=/run/devices/asound.conf
Environment=VCAM_DEVICE=/run/devices/video0 VCAM_CONTROL=/run/devices/control VCAM_FILM=/run/devices/film.mjpg
Environment=WALL_CLOCK=/run/devices/clock
ReadWritePaths=/run/devices
"""

NETWORK = f"""[Match]
Name=host0
[Network]
Address={ADDRESS}/24
LinkLocalAddressing=no
"""


def make_root(cache: Path) -> Path:
    """Return the folder of the root file system; what is cached and still right is kept."""
    cache.mkdir(parents=True, exist_ok=True)
    base, root = cache / "base.tar", cache / "root"
    if not base.exists():
        aside = cache / "aside.tar"
        _run("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(aside))
        aside.rename(base)
    stamp = cache / "installed"
    if not stamp.exists():
        _remove(root)
        root.mkdir()
        _run("tar", "-xf", str(base), "-C", str(root))
        _furnish(root)
        stamp.touch()
    _install(cache, root)
    return root


def _furnish(root: Path) -> None:
    """What a technician sets once."""
    (root / "etc/machine-id").write_text(hashlib.md5(b"the booth", usedforsecurity=False).hexdigest() + "\n")
    (root / "etc/hostname").write_text("orin-07\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{BROKER_ADDRESS} {BROKER}\n")
    (root / "etc/systemd/network/10-host0.network").write_text(NETWORK)
    _run("systemctl", f"--root={root}", "enable", "systemd-networkd.service")
    _run("useradd", "--root", str(root), "--create-home", TECHNICIAN)
    _run("chroot", str(root), "python3", "-m", "venv", f"/{RELEASE}")
    (root / RELEASE).parent.with_name("current").symlink_to(f"releases/{__version__}")


def _install(cache: Path, root: Path) -> None:
    """Install this checkout into the release's environment, and its units as a device has them."""
    wheels = cache / "wheels"
    wheels.mkdir(exist_ok=True)
    for old in wheels.glob("avatar_appliance-*"):
        old.unlink()
    wanted = (str(REPOSITORY), "pyalsaaudio", "systemd-python")
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--find-links", str(wheels), "-w", str(wheels), *wanted)
    (root / "wheels").mkdir(exist_ok=True)
    _run("mount", "--bind", str(wheels), str(root / "wheels"))
    try:
        pip = ["chroot", str(root), f"/{RELEASE}/bin/pip", "install", "-q", "--no-index", "--find-links", "/wheels"]
        _run(*pip, "pyalsaaudio", "systemd-python", "avatar-appliance")
        _run(*pip, "--force-reinstall", "--no-deps", "avatar-appliance")
    finally:
        _run("umount", str(root / "wheels"))
    _run(str(root / RELEASE / "share/avatar-appliance/systemd/install"), str(root))
    _run("systemctl", f"--root={root}", "set-default", "avatar-appliance.target")
    drop_in = root / "etc/systemd/system/avatar-appliance.service.d/50-devices.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text(DEVICES)


def furnish_state(state: Path, root: Path, secrets: Path) -> None:
    """Lay out the device's own disk: settings and secrets, models, room for the journal."""
    user, group = _owner(root)
    etc, lib = state / "etc", state / "lib"
    for folder in (etc, lib / "models", state / "log"):
        folder.mkdir(parents=True, exist_ok=True)
    (etc / "appliance.toml").write_text(SETTINGS)
    for name, mode in (("mqtt.user", 0o600), ("mqtt.password", 0o600), ("ca.pem", 0o644)):
        shutil.copyfile(secrets / name, etc / name)
        (etc / name).chmod(mode)
    models, wanted = Path(DESK_DIRECTORY).expanduser() / "models", networks(load(etc / "appliance.toml"))
    ensure(models, wanted, print)
    for path in models.iterdir():
        if path.stem.split(".")[0] in wanted:
            shutil.copy2(path, lib / "models")
    (lib / "models/sources").mkdir(exist_ok=True)
    for path in (models / "sources").iterdir():
        if path.stem in wanted:
            shutil.copy2(path, lib / "models/sources")
    _run("chown", "-R", f"{user}:{group}", str(lib))
    _run("chown", "-R", f"0:{group}", str(etc))
    (etc / "appliance.toml").chmod(0o640)
    _run("sync", "--file-system", str(state))


def _owner(root: Path) -> tuple[int, int]:
    lines = (root / "etc/passwd").read_text().splitlines()
    user = next(line.split(":") for line in lines if line.startswith("avatar:"))
    return int(user[2]), int(user[3])


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
