"""What is tried, and what must come of it."""

import argparse
import asyncio
import random
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provisioning.connection import Access, connected
from provisioning.errors import ProvisioningError

from .booth import Booth
from .laptop import WINDOW_S, Laptop
from .stand_in import bundle

_SYSTEMD = Path(__file__).parents[3] / "systemd"
_PLANTED = "planted-secret-5f1c"


@dataclass(frozen=True)
class Result:
    """One thing that was tried."""

    what: str
    found: str
    goal: str
    good: bool


def at_most(what: str, found_s: float, goal_s: float) -> Result:
    return Result(what, f"{found_s:.1f} s", f"{goal_s:g} s", found_s <= goal_s)


def holds(what: str, good: bool, found: str = "") -> Result:
    return Result(what, found or ("yes" if good else "no"), "yes", good)


class Stage:
    """A laptop and its booths."""

    def __init__(self, root: Path, folder: Path, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self._root = root
        self._folder = folder
        self.laptop = Laptop(folder / "laptop")
        self.booths: list[Booth] = []
        self._bundles = folder / "bundles"
        self._bundles.mkdir()

    def booth(self, password: str = "") -> Booth:
        number = len(self.booths) + 11
        films = self.arguments.films or self._folder
        booth = Booth(self._root, self._folder, f"booth-{number}", number, films)
        self.booths.append(booth)
        booth.flash(self.laptop.key("login"), password)
        return booth

    def bundle(self, version: str, key: str = "release", debs: Path | None = None) -> Path:
        path = self._bundles / f"{version}.bundle"
        if path.exists():
            return path
        pip = next(self._bundles.glob("pip-*.whl"), None)
        if pip is None:
            command = ["pip", "download", "--quiet", "--no-deps", "--dest", str(self._bundles), "pip"]
            subprocess.run([sys.executable, "-m", *command], check=True)
            pip = next(self._bundles.glob("pip-*.whl"))
        return bundle(self._bundles, version, self.laptop.folder / key, pip, _SYSTEMD, debs)

    def live(self, version: str) -> Booth:
        """A booth on which this release has proved itself."""
        booth = self.booth()
        booth.boot()
        self.laptop.write_site([booth], self.bundle(version))
        done = self.laptop.run("apply", "--accept-new")
        if done.status:
            raise AssertionError(done.output)
        return booth

    def clear(self) -> None:
        for booth in self.booths:
            booth.scrap()


def fresh(stage: Stage) -> Iterator[Result]:
    """A board as it comes, to live; a second apply; off and on."""
    booth = stage.booth()
    booth.boot()
    stage.laptop.trust(stage.arguments.signer)
    stage.laptop.write_site([booth], stage.arguments.bundle.absolute())
    began_s = time.monotonic()
    done = stage.laptop.run("apply", "--accept-new")
    proved = stage.laptop.run("verify")
    yield at_most(f"fresh to verified, {WINDOW_S} s on trial included", time.monotonic() - began_s, 180)
    yield holds("apply succeeds", done.status == 0, _last(done.output))
    yield holds("verify is green", proved.status == 0, proved.output.strip() if proved.status else "")
    installing = re.search(r"([0-9.]+) s  installing(?:.|\n)*?([0-9.]+) s  (?!copying|installing)", done.output)
    pip_s = float(installing[2]) - float(installing[1]) if installing else 0.0
    trial = re.search(r"([0-9.]+) s  on trial(?:.|\n)*?([0-9.]+) s  deployment", done.output)
    trial_s = float(trial[2]) - float(trial[1]) if trial else 0.0
    yield at_most("of which neither pip's nor the product's start and trial", done.took_s - pip_s - trial_s, 60)
    second = stage.laptop.run("apply")
    yield at_most("second apply", second.took_s, 10)
    yield holds("second apply changes nothing", "nothing to change" in second.output, _last(second.output))
    process = stage.laptop.start("verify", "--reboot")
    while process.poll() is None:
        booth.reboots()
        time.sleep(0.2)
    output = process.communicate()[0]
    yield holds("it is live again after a reboot", process.returncode == 0, "" if process.returncode == 0 else output)


def refused(stage: Stage) -> Iterator[Result]:
    """Whom the device and the laptop do not trust."""
    booth = stage.live("1.0.0")
    before = _tree(booth)
    yield from _refused_bundles(stage, booth)
    stage.laptop.write_site([booth], stage.bundle("1.0.0"))
    site = stage.laptop.folder / "site.toml"
    known = stage.laptop.folder / "known_hosts"
    kept = known.read_text()
    known.write_text(" ".join([booth.address, *stage.laptop.key("stranger").split()[:2]]) + "\n")
    done = stage.laptop.run("apply", "--accept-new")
    yield holds("a changed host key is refused", done.status == 1 and "host key" in done.output, _last(done.output))
    known.write_text(kept)
    text = site.read_text()
    site.write_text(text.replace('key_file = "login"', 'key_file = "stranger"'))
    done = stage.laptop.run("apply")
    yield holds("a wrong key is refused", done.status == 1 and "refuses the key" in done.output, _last(done.output))
    away = '[[device]]\nname = "away"\nhost = "10.77.0.99"\n[[device.camera]]\nname = "cam0"\nsource = "file:/x"\n'
    site.write_text(text + away)
    done = stage.laptop.run("apply")
    good = done.status == 1 and "away: " in done.output and "nothing was touched" in done.output
    yield holds("a device that is away is told before anything is touched", good, _last(done.output))
    site.write_text(text.replace('name = "cam0"', 'nome = "cam0"').replace("window_s = 5", "window_s = 1"))
    done = stage.laptop.run("apply")
    good = (
        done.status == 78 and "nome" in done.output and "window_s" in done.output and "name is missing" in done.output
    )
    yield holds("every mistake in the site file is told at once", good, f"{len(done.output.splitlines())} lines")
    yield holds("none of it changed anything on the device", _tree(booth) == before)


def _refused_bundles(stage: Stage, booth: Booth) -> Iterator[Result]:
    stage.laptop.write_site([booth], stage.bundle("1.0.1", key="stranger"))
    done = stage.laptop.run("apply")
    yield holds("a bundle that a stranger signed is refused", "not of a signer" in done.output, _last(done.output))
    tampered = stage.bundle("1.0.2")
    content = bytearray(tampered.read_bytes())
    with tarfile.open(tampered) as archive:
        wheel = next(member for member in archive if "avatar_appliance" in member.name)
    content[wheel.offset_data + wheel.size // 2] ^= 1
    tampered.write_bytes(content)
    stage.laptop.write_site([booth], tampered)
    done = stage.laptop.run("apply")
    yield holds("a bundle with one flipped bit is refused", "was changed" in done.output, _last(done.output))
    booth.run("mount", "-t", "tmpfs", "-o", "size=1m", "none", "/var/lib/avatar-provision")
    stage.laptop.write_site([booth], stage.bundle("1.0.3"))
    done = stage.laptop.run("apply")
    yield holds("a full disk is told", "MB are free" in done.output, _last(done.output))
    booth.run("umount", "/var/lib/avatar-provision")


def bad_releases(stage: Stage) -> Iterator[Result]:
    """Releases that must not stay, and one that must; then back by hand."""
    booth = stage.live("1.0.0")
    for kind, why in (
        ("crash", "ended by itself"),
        ("mute", "publishes no health"),
        ("slow", "latency"),
        ("wrong", "failed"),
    ):
        version = f"2.0.0+{kind}"
        stage.laptop.write_site([booth], stage.bundle(version))
        done = stage.laptop.run("apply")
        status = stage.laptop.statuses()[booth.name]
        switched = re.search(r"([0-9.]+) s  on trial(?:.|\n)*?([0-9.]+) s  failed", done.output)
        took_s = float(switched[2]) - float(switched[1]) if switched else 999.0
        good = (
            done.status == 1
            and why in status["last"]
            and status["release"] == "1.0.0"
            and status["service"] == "active"
        )
        yield holds(f"a release that is {kind} goes back by itself", good, status["last"])
        limit_s = (
            20 if kind in ("mute", "slow") else WINDOW_S
        ) + 10  # start_s is the window of what never becomes well
        yield at_most(f"{kind}: from the switch to the old one running", took_s, limit_s)
    stage.laptop.write_site([booth], stage.bundle("2.0.0"))
    done = stage.laptop.run("apply")
    yield holds("a good release stays", stage.laptop.statuses()[booth.name]["release"] == "2.0.0", _last(done.output))
    done = stage.laptop.run("rollback")
    time.sleep(2)
    status = stage.laptop.statuses()[booth.name]
    yield holds("rollback goes back", (status["release"], status["service"]) == ("1.0.0", "active"), status["last"])
    yield at_most("rollback by hand", done.took_s, 10)


def cuts(stage: Stage) -> Iterator[Result]:
    """The plug, the network cable or the keeper's life, at random moments of an update."""
    chance = random.Random(stage.arguments.seed)
    booth = stage.live("1.0.0")
    ends: list[str] = []
    began_s = time.monotonic()
    stage.laptop.write_site([booth], stage.bundle("1.0.1"))
    stage.laptop.run("apply")
    whole_s = time.monotonic() - began_s
    for number in range(stage.arguments.cuts):
        old, new = stage.laptop.statuses()[booth.name]["release"], f"1.1.{number}"
        stage.laptop.write_site([booth], stage.bundle(new))
        process = stage.laptop.start("apply")
        kind = ("plug", "cable", "keeper")[number % 3]
        time.sleep(chance.uniform(0.3, whole_s))
        _cut(kind, booth, process)
        problem = _settled(stage, booth, old, new)
        now = stage.laptop.statuses()[booth.name].get("release", "?")
        ends.append(now if not problem else f"{kind}: {problem}")
        print(f"  cut {number}: {kind}, {old} -> {new}: {ends[-1]}", flush=True)
    good = [end for end in ends if ":" not in end]
    yield Result("interruptions that end in old or new", f"{len(good)} of {len(ends)}", "all", len(good) == len(ends))
    done = stage.laptop.run("apply")
    yield holds("and applying again completes the last", done.status == 0, _last(done.output))


def _cut(kind: str, booth: Booth, process: "subprocess.Popen[str]") -> None:
    if kind == "plug":
        booth.cut()
        process.kill()
        process.communicate()
        booth.boot()
        return
    if kind == "keeper":
        booth.run("sh", "-c", "kill -9 $(pgrep -f 'avatar-keeper (install|deploy)') 2>/dev/null")
    process.kill()  # the laptop is gone, its connections with it
    process.communicate()


def _settled(stage: Stage, booth: Booth, old: str, new: str) -> str:
    """What is wrong with the device once things are calm; empty where all of it is of one release."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        status = stage.laptop.statuses()[booth.name]
        if status and not status["on_trial"] and status["service"] == "active" and _busy(booth) == "":
            break
        time.sleep(1)
    else:
        return f"not calm within 60 s: {status}"
    release = status["release"]
    if release not in (old, new):
        return f"neither old nor new: {release}"
    current = booth.run("readlink", "/opt/avatar-appliance/current")
    process = booth.run(
        "sh",
        "-c",
        "readlink /proc/$(systemctl show -P MainPID avatar-appliance)/cwd; "
        "tr '\\0' ' ' < /proc/$(systemctl show -P MainPID avatar-appliance)/cmdline",
    )
    said = booth.run("/opt/avatar-appliance/current/bin/python", "-c", "import stand_in; print(stand_in.VERSION)")
    if current != f"releases/{release}" or said != release:
        return f"{release}, but the link is {current} and the program says {said} ({process})"
    return ""


def _busy(booth: Booth) -> str:
    """What of an apply still works on the device, now that the laptop is gone."""
    return booth.run("pgrep", "-f", "avatar-keeper (install|deploy)")


def fleet(stage: Stage) -> Iterator[Result]:
    """Several devices at once, one of them dead."""
    booths = [stage.booth() for _ in range(stage.arguments.devices)]
    dead = booths[-1]
    for booth in booths[:-1]:
        booth.boot()
    stage.laptop.write_site(booths, stage.bundle("1.0.0"))
    done = stage.laptop.run("apply", "--accept-new", "--skip-unreachable")
    alive = f"{len(booths) - 1} devices at once beside a dead one"
    yield Result(f"{alive}: apply", f"{done.took_s:.1f} s, status {done.status}", "status 0", done.status == 0)
    statuses = stage.laptop.statuses()
    live = [name for name, row in statuses.items() if row.get("service") == "active" and row["release"] == "1.0.0"]
    yield Result(f"{alive}: live", str(len(live)), str(len(booths) - 1), len(live) == len(booths) - 1)
    yield holds("the dead one is named", f"{dead.name}: " in done.output)
    second = stage.laptop.run("apply", "--skip-unreachable")
    yield at_most(f"{alive}: second apply, all of it", second.took_s, 10 * len(booths))
    empty = second.output.count("nothing to change") >= len(booths) - 1
    yield holds(f"{alive}: second apply changes nothing", empty, _last(second.output))


def secrets(stage: Stage) -> Iterator[Result]:
    """Passwords and keys stay out of logs, command lines and files that others can read."""
    booth = stage.booth()
    booth.boot()
    address = f"rtsp://guard:{_PLANTED}@10.0.0.1/door"
    stage.laptop.write_site([booth], stage.bundle("1.0.0"), source=address)
    process = stage.laptop.start("apply", "--accept-new")
    seen = set[str]()
    while process.poll() is None:
        seen |= set(booth.run("sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'").splitlines())
        time.sleep(0.3)
    outputs = [process.communicate()[0]]
    outputs += [stage.laptop.run(*words).output for words in (["logs"], ["status"], ["collect"], ["plan"])]
    stage.laptop.write_site([booth], stage.bundle("1.0.0"), source=address.replace("door", "gate"))
    outputs.append(stage.laptop.run("plan").output)
    collected = next(stage.laptop.folder.glob("lobby-*.tar.gz"))
    with tarfile.open(collected) as archive:
        outputs += [file.read().decode() for member in archive if (file := archive.extractfile(member))]
    private = booth.run("cat", "/etc/avatar-appliance/client.key").splitlines()[1]
    hidden = (_PLANTED, private, "BEGIN EC PRIVATE")
    leaks = [secret for secret in hidden if any(secret in text for text in outputs)]
    yield holds("no secret in what the commands print and collect", not leaks, ", ".join(leaks))
    yield holds("no secret on a command line", not any(secret in word for secret in hidden for word in seen))
    journal = booth.run("journalctl", "--no-pager")
    yield holds("no secret in the journal", not any(secret in journal for secret in hidden))
    look = (
        f"find / -xdev -type f -perm /004 -size -2M 2>/dev/null | xargs -d '\\n' grep -lsF -e {_PLANTED} -e '{private}'"
    )
    found = booth.run("sh", "-c", look)
    yield holds("no secret in a file that everybody can read", found == "", found)
    yield holds("the support bundle is its owner's alone", collected.stat().st_mode & 0o077 == 0)
    keys = [path for path in (stage.laptop.folder / "authority").glob("*.key") if path.stat().st_mode & 0o077]
    yield holds("the authority's keys are their owner's alone", not keys)
    copied = any(
        private in path.read_text(errors="replace") for path in stage.laptop.folder.rglob("*") if path.is_file()
    )
    yield holds("the device's key never came to the laptop", not copied)


def packages(stage: Stage) -> Iterator[Result]:
    """A system package that the device lacks comes out of the bundle: it has no network to fetch one from."""
    debs = stage.laptop.folder / "debs"
    debs.mkdir()
    subprocess.run(["apt-get", "download", "--quiet", "tree"], cwd=debs, check=True)
    booth = stage.booth()
    booth.boot()
    stage.laptop.write_site([booth], stage.bundle("1.0.0", debs=debs))
    done = stage.laptop.run("apply", "--accept-new")
    yield holds("a package out of the bundle is installed", booth.run("which", "tree") != "", _last(done.output))
    second = stage.laptop.run("apply")
    yield holds("and is there the next time", "nothing to change" in second.output, _last(second.output))


def passwords(stage: Stage) -> Iterator[Result]:
    """A board as it is flashed: one user with a password, for SSH and for sudo, and no key."""
    booth = stage.booth(password=_PLANTED)
    (booth.disk / "home/tech/.ssh/authorized_keys").unlink()
    booth.boot()
    known = stage.laptop.folder / "known_hosts"
    refusal = "refuses the key or password"
    for word, password, reason in (
        ("its password", _PLANTED, ""),
        ("another", "wrong", refusal),
        ("none", "", refusal),
    ):
        access = Access("tech", booth.address, 22, str(stage.laptop.folder / "login"), known, password, accept_new=True)
        found = asyncio.run(_user(access))
        yield holds(f"logging in with {word}: {reason or 'let in'}", reason in found, found)
    booth.run("sh", "-c", "echo 'tech ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/tech")
    found = asyncio.run(_user(Access("tech", booth.address, 22, "", known, _PLANTED)))
    yield holds("a password where sudo asks for none", found == "tech", found)


async def _user(access: Access) -> str:
    try:
        async with connected(access) as link:
            return str((await link.ask("facts"))["user"])
    except ProvisioningError as error:
        return str(error)


def _tree(booth: Booth) -> str:
    look = (
        "find /etc /opt/avatar-appliance /usr/local -type f ! -name .lock ! -name '*.pyc' -printf '%p %s %T@\\n' | sort"
    )
    return booth.run("sh", "-c", look)


def _last(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if any(map(str.isalpha, line))]  # a table ends in a frame
    told = [line for line in lines if "failed:" in line or "appliance-provision:" in line]
    return (told or lines or [""])[-1][:200]
