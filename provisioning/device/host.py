"""Look at a device and make it as asked. Stands alone: it is sent over SSH and run there, never installed.

``host.py ACTION`` reads one JSON document from standard input (``receive`` reads its header line and then
bytes) and writes JSON lines. What was asked for is a list of resources, in order, each a table with a ``kind``:

file       path, mode, owner, group, text; ``secret`` keeps the text out of every answer
directory  path, mode, owner, group
link       path, target
package    names, folder (of .deb files; empty: from the network)
command    title, do (a command line), and either ``check`` (a command line that succeeds where nothing is
           to be done) or ``stamp`` (done once for each value); ``undo``: see below

A command with ``undo`` could lock us out: it is undone after ``UNDO_AFTER_S`` unless the laptop logs in anew
and confirms it. Everything is written aside and renamed, so a cut leaves the old or the new, and is resumed
by asking again. A lost connection does not stop what was begun.
"""

import contextlib
import fcntl
import grp
import hashlib
import json
import os
import platform
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Resource = dict[str, Any]

STAMPS = Path("/var/lib/avatar-provision/stamps")
LOCK = Path("/run/avatar-provision.lock")
KEEPER = Path("/usr/local/sbin/avatar-keeper")
UNDO_AFTER_S = 60
_LIMIT_S = 14400  # a small board may build engines for two hours, in both precisions
_WAIT_S = 600
_TOOLS = ("nft", "ssh-keygen", "mosquitto", "nvpmodel", "openssl", "systemd-run", "timedatectl", "apt-get")


class HostError(Exception):
    """Something that an operator can mend."""


def facts() -> dict[str, Any]:
    """What there is: board, system, room, devices, clock, tools, releases."""
    release = _text("/etc/nv_tegra_release").splitlines()
    return {
        "hostname": platform.node(),
        "arch": platform.machine(),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "system": _os_name(),
        "board": _text("/proc/device-tree/model").strip("\0\n"),
        "l4t": release[0].lstrip("# ") if release else "",
        "jetpack": _answer(["dpkg-query", "-W", "-f", "${Version}", "nvidia-jetpack"]),
        "power_mode": _power_mode(),
        "free_mb": _free_mb("/opt"),
        "state_free_mb": _free_mb("/var/lib"),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
        "cameras": sorted(str(path) for path in Path("/dev").glob("video*")),
        "microphones": [line.strip() for line in _text("/proc/asound/cards").splitlines() if "[" in line],
        "utc_ns": time.time_ns(),
        "clock_synchronised": Path("/run/systemd/timesync/synchronized").exists(),
        "boot_id": _text("/proc/sys/kernel/random/boot_id").strip(),
        "tools": [name for name in _TOOLS if shutil.which(name)],
        "groups": [name for name in ("video", "audio", "render") if _group_exists(name)],
        "user": os.environ.get("SUDO_USER", "root"),
        "keeper": _keeper_status(),
    }


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _power_mode() -> str:
    lines = _answer(["nvpmodel", "-q"]).splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if "Power Mode:" in line), "")


def _free_mb(folder: str) -> int:
    return shutil.disk_usage(folder if Path(folder).exists() else "/").free // 1_000_000


def _group_exists(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return grp.getgrnam(name) is not None
    return False


def _keeper_status() -> dict[str, Any]:
    if not KEEPER.exists():
        return {}
    with contextlib.suppress(ValueError):
        status = json.loads(_answer([str(KEEPER), "status"]) or "{}")
        return status if isinstance(status, dict) else {}
    return {}


def compare(resource: Resource) -> dict[str, Any]:
    """Whether a resource is as asked: ``same``, and of a file that differs what it holds (``before``)."""
    kind = resource["kind"]
    if kind == "package":
        return _compare_packages(resource)
    if kind == "command":
        return {"same": _is_done(resource)}
    path = Path(resource["path"])
    if kind == "link":
        found = os.readlink(path) if path.is_symlink() else None
        return {"same": found == resource["target"], "before": found}
    if kind == "directory":
        return {"same": path.is_dir() and not path.is_symlink() and _owned(path, resource), "before": None}
    text = _text(str(path)) if path.is_file() and not path.is_symlink() else None
    same = text == resource["text"] and _owned(path, resource)
    return {"same": same, "before": None if same or resource.get("secret") else text}


def _compare_packages(resource: Resource) -> dict[str, Any]:
    answer = _answer(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *resource["names"]])
    there = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    missing = [name for name in resource["names"] if name not in there]
    return {"same": not missing, "missing": missing}


def _is_done(resource: Resource) -> bool:
    if "check" in resource:
        return _run(resource["check"]).returncode == 0
    return _text(str(_stamp_path(resource))) == str(resource["stamp"])


def _stamp_path(resource: Resource) -> Path:
    return STAMPS / hashlib.sha256(resource["title"].encode()).hexdigest()[:16]


def _owned(path: Path, resource: Resource) -> bool:
    status = path.stat()
    try:
        owner, group = pwd.getpwnam(resource["owner"]).pw_uid, grp.getgrnam(resource["group"]).gr_gid
    except KeyError:
        return False  # the user comes with an earlier resource
    return (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (int(resource["mode"], 8), owner, group)


def make(resource: Resource) -> None:
    """Make a resource as asked; the caller knows that it is not."""
    kind = resource["kind"]
    if kind == "package":
        _install(resource)
    elif kind == "command":
        _do(resource)
    elif kind == "link":
        _link(Path(resource["path"]), resource["target"])
    elif kind == "directory":
        path = Path(resource["path"])
        path.mkdir(parents=True, exist_ok=True)
        _own(path, resource)
    else:
        _write(Path(resource["path"]), resource)


def _install(resource: Resource) -> None:
    missing = _compare_packages(resource)["missing"]
    folder = Path(resource["folder"]) if resource["folder"] else None
    debs = sorted(str(path) for path in folder.glob("*.deb")) if folder and folder.is_dir() else []
    wanted = debs or missing
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--no-install-recommends"]
    done = _run([*quiet, *wanted])
    if done.returncode:
        raise HostError(f"the packages {', '.join(missing)} cannot be installed: {_last_line(done)}")


def _do(resource: Resource) -> None:
    if "undo" in resource:
        unit = undo_unit(resource["title"])
        _run(["systemctl", "stop", f"{unit}.timer"])
        timer = ["systemd-run", f"--unit={unit}", f"--on-active={UNDO_AFTER_S}", "--collect", "--quiet"]
        armed = _run([*timer, *resource["undo"]])
        if armed.returncode:
            raise HostError(f"{resource['title']}: it was left alone, for it cannot be undone: {_last_line(armed)}")
    done = _run(resource["do"])
    if done.returncode:
        raise HostError(f"{resource['title']}: {' '.join(resource['do'])} failed: {_last_line(done)}")
    if "stamp" in resource and "undo" not in resource:
        confirm(resource)


def undo_unit(title: str) -> str:
    """The name of the timer that undoes a command."""
    return "avatar-undo-" + "".join(letter if letter.isalnum() else "-" for letter in title)


def confirm(resource: Resource) -> None:
    """Remember that a command was done; what would undo it is called off."""
    if "undo" in resource:
        _run(["systemctl", "stop", f"{undo_unit(resource['title'])}.timer"])
    path = _stamp_path(resource)
    path.parent.mkdir(parents=True, exist_ok=True)
    stamp = {"mode": "0644", "owner": "root", "group": "root", "text": resource["stamp"]}
    _write(path, stamp)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        try:
            path.rmdir()
        except OSError:
            raise HostError(f"{path} must be a link to {target}, and is a folder with files: move them away") from None
    aside = path.with_name(f".{path.name}.aside")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    aside.replace(path)


def _write(path: Path, resource: Resource) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # of mode 0600
    aside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(resource["text"])
            file.flush()
            os.fsync(file.fileno())
        _own(aside, resource)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _own(path: Path, resource: Resource) -> None:
    try:
        shutil.chown(path, resource["owner"], resource["group"])
    except LookupError as error:
        raise HostError(f"{resource['path']}: {error}") from None
    path.chmod(int(resource["mode"], 8))


def apply(resources: list[Resource]) -> Iterator[dict[str, Any]]:
    """Make what differs, in order; one line before each, and one when it is done."""
    with _alone():
        for number, resource in enumerate(resources):
            if compare(resource)["same"]:
                continue
            yield {"number": number, "state": "begun"}
            make(resource)
            yield {"number": number, "state": "made", "unconfirmed": "undo" in resource}


def receive(path: Path, offset: int, size: int) -> dict[str, Any]:
    """Append bytes from standard input to a file, from ``offset`` on; answer its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("r+b" if path.exists() else "xb") as file:
            file.truncate(offset)
            file.seek(offset)
            while file.tell() < size and (block := sys.stdin.buffer.read(min(1 << 20, size - file.tell()))):
                file.write(block)
    except OSError as error:
        free_mb = _free_mb(str(path.parent))
        raise HostError(f"{path.parent} cannot take {size / 1e6:.0f} MB, {free_mb} MB are free: {error}") from None
    return {"size": path.stat().st_size}


def request_of(resource: Resource, make_key: bool) -> dict[str, Any]:
    """The signing request of this device's own key, and the certificate it has; the key never leaves.

    ``make_key``: make one where there is none, of the curve P-256, with mode 0600 from its first byte.
    """
    key, certificate = Path(resource["key"]), Path(resource["certificate"])
    if not key.exists() and make_key:
        made = _run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"])
        if made.returncode:
            raise HostError(f"no key can be made: {_last_line(made)}")
        _write(key, {**resource, "path": str(key), "mode": "0600", "text": made.stdout})
    if not key.exists():
        return {"request": "", "certificate": ""}
    subject = "/CN=" + resource["user"].replace("/", r"\/")
    asked = _run(["openssl", "req", "-new", "-key", str(key), "-subj", subject])
    if asked.returncode:
        raise HostError(f"{key} is no key: {_last_line(asked)}; remove it, and apply makes another")
    return {"request": asked.stdout, "certificate": _text(str(certificate))}


def sha256(path: Path) -> str:
    """The SHA-256 of a file; empty where there is none."""
    if not path.is_file():
        return ""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the device; another tech's apply waits, and in the end gives up."""
    with LOCK.open("w") as lock:
        until_s = time.monotonic() + _WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until_s:
                    raise HostError("another apply is at work on this device; try again when it is over") from None
                time.sleep(0.2)
        yield


def _run(command: list[str], text: str | None = None) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command, input=text or "", capture_output=True, text=True, timeout=_LIMIT_S, check=False, cwd="/"
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]} is not installed")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"did not end within {_LIMIT_S} s")


def _answer(command: list[str]) -> str:
    return _run(command).stdout


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _say(answer: dict[str, Any]) -> None:
    # the laptop may be gone: what was begun goes on
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main(action: str, request: dict[str, Any]) -> int:
    """Do one action; what an operator can mend is a line with ``error``."""
    for number in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    try:
        if action == "facts":
            _say(facts())
        elif action == "compare":
            _say({"found": [compare(resource) for resource in request["resources"]]})
        elif action == "apply":
            for step in apply(request["resources"]):
                _say(step)
            _say({"state": "done"})
        elif action == "confirm":
            confirm(request["resource"])
            _say({})
        elif action == "request":
            _say(request_of(request["resource"], request["make_key"]))
        elif action == "receive":
            _say(receive(Path(request["path"]), request["offset"], request["size"]))
        elif action == "sha256":
            path = Path(request["path"])
            _say({"sha256": sha256(path), "size": path.stat().st_size if path.exists() else 0})
        elif action == "run":
            done = _run(request["command"], request.get("input"))
            _say({"status": done.returncode, "output": done.stdout, "error_output": done.stderr})
    except (HostError, OSError) as error:
        _say({"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    # over SSH this text is what standard input began with: see provisioning/connection.py
    sys.exit(main(sys.argv[1], json.loads(sys.stdin.buffer.readline() or b"{}")))
