"""A device that can be switched on, looked into, and have its power cut."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import cv2

from appliance.demo.clip import VIDEO
from appliance.values import Image
from tests.devices.vcam import VirtualCamera, build

from .group import ControlGroup
from .network import BRIDGE, Network
from .root import furnish_state

HERE = Path(__file__).parent
PACED_PCM = HERE.parent / "devices" / "paced_pcm.c"
SERVICE = "avatar-appliance.service"
DISK_MB = 192
_NUMBERS = count(1)
_FILM_PICTURES = 60
_WAIT_S = 30.0


class Devices:
    """Camera, microphone and wall clock of the device, as libraries and files that it sees in ``/run/devices``."""

    def __init__(self, folder: Path, clip: Path) -> None:
        self.folder = folder
        folder.mkdir()
        build(folder)
        self.camera = VirtualCamera(folder, _film(clip / VIDEO))
        for words in (
            f"-DPIC -o libasound_module_pcm_paced.so {PACED_PCM} -lasound",
            f"-o clock.so {HERE / 'clock.c'}",
        ):
            subprocess.run(["gcc", "-O2", "-shared", "-fPIC", *words.split()], cwd=folder, check=True)
        plugin = "/run/devices/libasound_module_pcm_paced.so"
        (folder / "asound.conf").write_text(
            f'pcm_type.paced {{ lib "{plugin}" }}\npcm.mic {{ type paced control "/run/devices/mic" }}\n'
        )
        (folder / "mic").mkdir()
        (folder / "clock").write_bytes(bytes(8))
        for path in (folder, *folder.iterdir()):
            path.chmod(0o777)

    def set_clock(self, ahead_s: int) -> None:
        """Put the wall clock of the appliance ahead of the real one, or behind it."""
        with (self.folder / "clock").open("r+b") as file:  # in place: it is mapped
            file.write(ahead_s.to_bytes(8, "little", signed=True))


def _film(path: Path) -> list[Image]:
    video = cv2.VideoCapture(str(path))
    pictures = [video.read()[1] for _ in range(_FILM_PICTURES)]
    video.release()
    return [picture for picture in pictures if picture is not None]


class Disk:
    """The device's own disk: a file with a real file system, so that a cut leaves what a disk would hold."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._image = folder / "disk-0"
        self.path = folder / "disk"
        self.path.mkdir()
        subprocess.run(["truncate", "-s", f"{DISK_MB}M", self._image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self._image], check=True)
        self._mount()

    def lose_power(self) -> None:
        """Keep what had reached the disk and nothing of what was still in memory."""
        left = self._folder / f"disk-{next(_NUMBERS)}"
        for _ in range(5):
            before = _writes(self._image)
            subprocess.run(["cp", "--sparse=always", self._image, left], check=True)
            if _writes(self._image) == before:  # nothing moved while we copied
                break
        self._unmount()
        self._image.unlink()
        self._image = left
        self._mount()

    def close(self) -> None:
        self._unmount()

    def _mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", self._image, self.path], check=True)

    def _unmount(self) -> None:
        for _ in range(100):  # a killed container lets go a moment later
            if subprocess.run(["umount", self.path], check=False, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.path} stays in use")


def _writes(image: Path) -> str:
    """How often the loop device of an image was written to."""
    for loop in Path("/sys/block").glob("loop*"):
        with contextlib.suppress(OSError):
            if (loop / "loop/backing_file").read_text().strip() == str(image):
                return (loop / "stat").read_text().split()[4]
    return ""


class Machine:
    """One device. ``start`` is the power switch, ``cut`` the pulled plug."""

    def __init__(self, root: Path, folder: Path, network: Network, clip: Path) -> None:
        self.folder = folder
        self.network = network
        self.disk = Disk(folder)
        self.devices = Devices(folder / "devices", clip)
        furnish_state(self.disk.path, root, network.secrets)
        self._root = root
        self._group = ControlGroup(f"avatar-boot-{os.getpid()}")
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def start(self, *options: str) -> int:
        """Switch on; return when that was (CLOCK_MONOTONIC)."""
        disk = self.disk.path
        binds = {disk / "etc": "/etc/avatar-appliance", disk / "lib": "/var/lib/avatar-appliance"}
        binds |= {disk / "log": "/var/log/journal", self.devices.folder: "/run/devices"}
        command = [*self.network.join, "systemd-nspawn", "--quiet", "-D", str(self._root), "--boot", "--register=no"]
        command += ["--keep-unit", f"--machine=booth-{os.getpid()}", f"--network-bridge={BRIDGE}", "--console=pipe"]
        command += [f"--bind={outside}:{inside}" for outside, inside in binds.items()]
        command += options or ("--volatile=overlay",)
        with (self.folder / "console.log").open("ab") as console:
            started_ns = time.monotonic_ns()
            command = self._group.joined(command)
            self._nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        return started_ns

    def first_frame_ns(self, after_ns: int, limit_s: float = _WAIT_S) -> int:
        """Return when the first frame after a moment was heard outside; an error if none comes."""
        frame = self.network.first("cam0/0/frame", after_ns, limit_s)
        if frame is None:
            raise RuntimeError(f"no frame came within {limit_s:g} s; the device says:\n{self.journal()}")
        return frame.at_ns

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command inside and return what it printed."""
        inside = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command]
        words = ["nsenter", "-t", str(self.leader()), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", *inside]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed inside: {done.stdout}{done.stderr}")
        return (done.stdout + done.stderr).strip()

    def shown(self, name: str, unit: str = SERVICE) -> str:
        """Return one property of a unit."""
        return self.run("systemctl", "show", "-P", name, unit)

    def wait_until(self, name: str, wanted: Sequence[str], limit_s: float = _WAIT_S, unit: str = SERVICE) -> str:
        """Return a property of a unit once it is one of those wanted; the last one when it does not become so."""
        ends_s = time.monotonic() + limit_s
        while (now := self.shown(name, unit)) not in wanted and time.monotonic() < ends_s:
            time.sleep(0.1)
        return now

    def main_pid(self) -> int:
        """Return the daemon's process number as seen from outside."""
        return self._outside(self.shown("MainPID"), 0)

    def journal(self, *words: str) -> str:
        """Return what the appliance wrote to the journal in this boot."""
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            return self.run("journalctl", "-b", "--no-pager", "-o", "cat", "-n", "40", *(words or ("-u", "avatar-*")))
        return (self.folder / "console.log").read_text(errors="replace")[-4000:]

    def cut(self) -> None:
        """Pull the plug: everything dies at once, and what was not on the disk is lost."""
        self._end()
        self.disk.lose_power()

    def cool(self) -> None:
        """Drop what memory holds of the device's files, as if it had been off for a night."""
        for path in (*self._root.rglob("*"), *self.folder.glob("disk-*")):
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        self._end()
        self._group.remove()
        self.disk.close()

    def _end(self) -> None:
        if self._nspawn is not None:
            self._group.kill()
            self._nspawn.wait()
        self._nspawn, self._leader = None, 0

    def leader(self) -> int:
        """Return the number, outside, of the container's first process."""
        if self._nspawn is None:
            raise RuntimeError("the device is off")
        if not self._leader:
            self._leader = self._outside("1", 10)
        return self._leader

    def _outside(self, inside: str, limit_s: float) -> int:
        """Return the number, outside, of the process that has this one inside."""
        ends_s = time.monotonic() + limit_s
        while True:
            for process in self._group.processes():
                with contextlib.suppress(OSError):
                    status = Path(f"/proc/{process}/status").read_text()
                    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
                    if numbers[2:] == [inside]:
                        return process
            if time.monotonic() > ends_s:
                raise RuntimeError(f"no process is {inside} inside")
            time.sleep(0.01)


def fill(path: Path) -> None:
    """Write a file until its disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            continue


def free_mb(path: Path) -> float:
    return shutil.disk_usage(path).free / 2**20
