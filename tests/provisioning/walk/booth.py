"""One booth: a Debian system under its own systemd, with sshd, behind a cable."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

BRIDGE, LAPTOP = "avprov", "10.77.0.1"
PACKAGES = (
    "systemd,systemd-sysv,dbus,openssh-server,openssh-client,python3,iproute2,ca-certificates,libasound2,sudo,kmod,udev,"
    "procps,netbase,libpam-systemd,mosquitto,nftables,systemd-timesyncd,openssl"
)
_BOOT_S = 30
_REBOOT = 133  # systemd-nspawn's status where the container asked for it
_NETWORK = "[Match]\nName=host0\n[Network]\nAddress={address}/24\n"


def make_root(cache: Path) -> Path:
    """The system that every booth starts from; made once."""
    root = cache / "root"
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        aside = cache / "root.aside"
        shutil.rmtree(aside, ignore_errors=True)
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={PACKAGES}", "bookworm"]
        subprocess.run([*command, str(aside)], check=True)  # from where this machine gets its own packages
        aside.rename(root)
    return root


@contextlib.contextmanager
def network() -> Iterator[None]:
    """A switch of our own; the laptop is plugged in."""
    _ip("link", "add", BRIDGE, "type", "bridge")
    try:
        _ip("addr", "add", f"{LAPTOP}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        yield
    finally:
        _ip("link", "del", BRIDGE)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Booth:
    """A device that keeps its disk when its power is cut."""

    def __init__(self, root: Path, folder: Path, name: str, number: int, films: Path) -> None:
        self.name = name
        self.address = f"10.77.0.{number}"
        self._folder = folder / name
        self.disk = self._folder / "merged"
        self._films = films
        self._machine: subprocess.Popen[bytes] | None = None
        for part in ("upper", "work", "merged"):
            (self._folder / part).mkdir(parents=True)
        layers = f"lowerdir={root},upperdir={self._folder}/upper,workdir={self._folder}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(self.disk)], check=True)

    def flash(self, key: str, password: str = "") -> None:
        """Make it as a board comes: a user ``tech`` who may use sudo, an SSH key, an address."""
        (self.disk / "etc/systemd/network").mkdir(exist_ok=True)
        (self.disk / "etc/systemd/network/10-host0.network").write_text(_NETWORK.format(address=self.address))
        (self.disk / "etc/hostname").write_text(self.name)
        wants = self.disk / "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
        wants.symlink_to("/lib/systemd/system/systemd-networkd.service")
        for file in (self.disk / "etc/ssh").glob("ssh_host_*"):
            file.unlink()
        subprocess.run(["ssh-keygen", "-A", "-f", str(self.disk)], check=True, capture_output=True)
        self._chroot("useradd", "-m", "-s", "/bin/bash", "-G", "sudo", "tech")
        if password:
            self._chroot("chpasswd", text=f"tech:{password}\n")
        else:
            (self.disk / "etc/sudoers.d/tech").write_text("tech ALL=(ALL) NOPASSWD: ALL\n")
        keys = self.disk / "home/tech/.ssh/authorized_keys"
        keys.parent.mkdir()
        keys.write_text(key)
        self._chroot("chown", "-R", "tech:tech", "/home/tech/.ssh")

    def _chroot(self, *command: str, text: str = "") -> None:
        subprocess.run(["chroot", str(self.disk), *command], input=text, text=True, check=True, capture_output=True)

    def boot(self) -> None:
        """Switch it on, and wait until sshd answers."""
        self._start()
        until_s = time.monotonic() + _BOOT_S
        while time.monotonic() < until_s:
            if self.answers():
                return
            time.sleep(0.1)
        raise TimeoutError(f"{self.name} has not booted within {_BOOT_S} s")

    def _start(self) -> None:
        options = ["--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe", f"--network-bridge={BRIDGE}"]
        films = [f"--bind-ro={self._films}:/srv/films"]
        with (self._folder / "console").open("ab") as console:
            self._machine = subprocess.Popen(
                ["systemd-nspawn", "-D", str(self.disk), "-M", self.name, *options, *films],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )

    def answers(self) -> bool:
        """Whether sshd greets; a container that asked to reboot is switched on again here."""
        if self._machine is not None and self._machine.poll() == _REBOOT:
            self._start()
        shout = ["ssh-keyscan", "-T", "1", self.address]
        return b"ssh-" in subprocess.run(shout, capture_output=True, check=False).stdout

    def reboots(self) -> bool:
        """Switch it on again if it asked for that; whether it did."""
        asked = self._machine is not None and self._machine.poll() == _REBOOT
        if asked:
            self._start()
        return asked

    def cut(self) -> None:
        """Pull the plug: every process of it dies at once."""
        if self._machine is None or self._machine.poll() is not None:
            return
        children = Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self._machine.wait(_BOOT_S)

    def run(self, *command: str) -> str:
        """Run a command within it, as root, without the network; what it printed."""
        if self._machine is None:
            return ""
        children = Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children").read_text().split()
        enter = ["nsenter", "-t", children[0], "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return subprocess.run([*enter, *clean, *command], capture_output=True, text=True, check=False).stdout.strip()

    def scrap(self) -> None:
        """Switch it off and throw it away."""
        self.cut()
        subprocess.run(["umount", "--lazy", str(self.disk)], check=False)
        shutil.rmtree(self._folder, ignore_errors=True)
