"""What each command of the technician does with a site's devices."""

import argparse
import asyncio
import io
import json
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from provisioning import applying, verifying
from provisioning.bundle import read
from provisioning.connection import Access, Link, LinkError, access_of, connected
from provisioning.errors import ProvisioningError
from provisioning.examining import Finding, examine, without_secrets
from provisioning.fleet import Outcome, Say, in_turn, together, waves
from provisioning.site import Device, Site, SiteError

SUMMARIES = {
    "plan": "Log in, look, and print what would change; change nothing.",
    "apply": "Make the devices what the site file says; again and again gives the same.",
    "verify": "Prove from outside that devices are live and locked.",
    "status": "Say of each device what runs, since when, and how it is.",
    "rollback": "Go back to the release before.",
    "logs": "Print the devices' newest log lines.",
    "collect": "Write a support bundle a device: no pictures, no secrets.",
}
_BOOT_S = 180
_START_S = 60
_UNITS = ("avatar-appliance", "avatar-engines", "appliance-keeper", "appliance-keeper-guard", "mosquitto")


class Desk:
    """One command at work on a site."""

    def __init__(self, arguments: argparse.Namespace, site: Site, password: str) -> None:
        self.arguments = arguments
        self.site = site
        self.content = read(site.path(site.release.bundle))
        self.signer = site.path(site.release.signer).read_text(encoding="utf-8")
        self._password = password

    def access(self, device: Device) -> Access:
        """How to log in to a device."""
        return access_of(self.site, device, self._password, self.arguments.accept_new)


async def run(arguments: argparse.Namespace, site: Site, password: str) -> int:
    """Run a command on the devices it is for; 1 where one of them failed."""
    desk = Desk(arguments, site, password)
    groups = _chosen(site, arguments.device)
    if arguments.command in ("plan", "apply"):
        groups = await _reachable(desk, groups)
    act = {
        "plan": _plan,
        "apply": _apply,
        "verify": _verify,
        "status": _status,
        "rollback": _rollback,
        "logs": _logs,
        "collect": _collect,
    }
    return await act[arguments.command](desk, groups)


def _chosen(site: Site, names: Sequence[str]) -> list[list[Device]]:
    known = {device.name for device in site.device}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SiteError(f"--device: {', '.join(unknown)} is not in the site file; there: {', '.join(sorted(known))}")
    return [[device for device in wave if not names or device.name in names] for wave in waves(site)]


async def _reachable(desk: Desk, groups: list[list[Device]]) -> list[list[Device]]:
    """Log in to all before anything is touched; every one that cannot be used is told at once."""
    devices = [device for group in groups for device in group]

    async def look(device: Device, say: Say) -> str:
        async with connected(desk.access(device)) as link:
            return _why_impossible(desk, await link.ask("facts"))

    outcomes = await together(devices, look, lambda _: None)
    wrong = {outcome.device.name: outcome.error or outcome.result for outcome in outcomes}
    wrong = {name: why for name, why in wrong.items() if why}
    for name, why in wrong.items():
        print(f"appliance-provision: {name}: {why}", file=sys.stderr)
    if wrong and not desk.arguments.skip_unreachable:
        raise LinkError(
            f"nothing was touched: {len(wrong)} of {len(devices)} devices cannot be used (see above); "
            "--skip-unreachable goes on without them"
        )
    return [[device for device in group if device.name not in wrong] for group in groups]


def _why_impossible(desk: Desk, facts: dict[str, Any]) -> str:
    """Why a release cannot run on a device; empty where it can."""
    target = desk.content.target
    if (facts["arch"], facts["python"]) != (target["arch"], target["python"]):
        here = f"{facts['arch']} with Python {facts['python']}"
        return f"release {desk.content.version} is for {target['arch']} with Python {target['python']}, this is {here}"
    keeper, version = facts["keeper"], desk.content.version
    other = keeper.get("installed", {}).get(version, desk.content.manifest_sha256) != desk.content.manifest_sha256
    if other and version in (keeper["release"], keeper["previous_release"]):
        return f"another bundle of release {version} is in use there; give the new one a version of its own"
    lacking = [tool for tool in ("ssh-keygen", "openssl", "systemd-run") if tool not in facts["tools"]]
    return f"it lacks {', '.join(lacking)}" if lacking else ""


async def _plan(desk: Desk, groups: list[list[Device]]) -> int:
    async def look(device: Device, say: Say) -> Finding:
        async with connected(desk.access(device)) as link:
            return await examine(link, desk.site, device, desk.content, desk.signer)

    outcomes = await together([device for group in groups for device in group], look, _tell)
    if desk.arguments.json:
        rows = {o.device.name: [asdict(change) for change in o.result.changes] for o in outcomes if not o.error}
        print(json.dumps(rows, indent=2))
        return int(any(outcome.error for outcome in outcomes))
    for outcome in outcomes:
        if outcome.error:
            continue
        changes = outcome.result.changes
        print(f"{outcome.device.name} ({_about(outcome.result.facts)}): {len(changes)} changes")
        for change in changes:
            print(f"  {change.title}")
            for line in change.details:
                print(f"      {line}")
    return int(any(outcome.error for outcome in outcomes))


def _about(facts: dict[str, Any]) -> str:
    jetpack = f"JetPack {facts['jetpack']}" if facts["jetpack"] else facts["system"]
    parts = [facts["board"] or facts["arch"], jetpack, facts["power_mode"], f"{facts['free_mb']} MB free"]
    seen = [f"{len(facts['cameras'])} cameras", f"{len(facts['microphones'])} microphones"]
    clock = "" if facts["clock_synchronised"] else "clock not synchronised"
    return ", ".join(part for part in [*parts, *seen, clock] if part)


async def _apply(desk: Desk, groups: list[list[Device]]) -> int:
    async def change(device: Device, say: Say) -> int:
        return await applying.apply_patiently(desk.access(device), desk.site, device, desk.content, say)

    outcomes = await in_turn(groups, change, _tell)
    _report(desk, outcomes, lambda outcome: f"{outcome.result} changes" if outcome.result else "nothing to change")
    return int(any(outcome.error for outcome in outcomes))


def _report(desk: Desk, outcomes: Sequence[Outcome], word: Any) -> None:
    if desk.arguments.json:
        rows = [
            {"device": o.device.name, "took_s": round(o.took_s, 1), "result": o.result, "error": o.error}
            for o in outcomes
        ]
        print(json.dumps(rows, indent=2))
        return
    grid = Grid("device", "took", "result")
    for outcome in outcomes:
        text = f"failed: {outcome.error}" if outcome.error else word(outcome)
        grid.add_row(outcome.device.name, f"{outcome.took_s:.1f} s", text)
    Console().print(grid, markup=False)


async def _verify(desk: Desk, groups: list[list[Device]]) -> int:
    async def look(device: Device, say: Say) -> list[verifying.Proof]:
        if desk.arguments.reboot:
            await _reboot(desk.access(device), say)
        async with connected(desk.access(device)) as link:
            facts = await link.ask("facts")
            active = await _service_state(link)
            told = await _calibration(link, facts)
        return await asyncio.to_thread(lambda: list(verifying.prove(desk.site, device, facts["keeper"], active, told)))

    outcomes = await together([device for group in groups for device in group], look, _tell)
    if desk.arguments.json:
        print(json.dumps({o.device.name: [asdict(proof) for proof in o.result or []] for o in outcomes}, indent=2))
    else:
        for outcome in outcomes:
            for proof in outcome.result or []:
                mark = "good" if proof.good else "BAD "
                print(f"{outcome.device.name}  {mark}  {proof.subject}: {proof.text}")
    return int(any(o.error or not all(proof.good for proof in o.result) for o in outcomes))


async def _calibration(link: Link, facts: dict[str, Any]) -> str:
    """What a board says of engines without the calibration they should have; nothing else runs engines."""
    if not facts["l4t"]:
        return ""
    return verifying.fallbacks((await link.ask("run", command=_COLLECTED["engines.json"]))["output"])


async def _service_state(link: Link) -> str:
    """The state of the appliance's service; one that is starting is given time."""
    until_s = time.monotonic() + _START_S
    while True:
        command = ["systemctl", "is-active", "avatar-appliance.service"]
        state = str((await link.ask("run", command=command))["output"]).strip()
        if state != "activating" or time.monotonic() > until_s:
            return state
        await asyncio.sleep(0.5)


async def _reboot(access: Access, say: Say) -> None:
    """Restart a device and wait until it has booted anew."""
    async with connected(access) as link:
        before = (await link.ask("facts"))["boot_id"]
        started = (await link.ask("run", command=["systemctl", "show", "-P", "UserspaceTimestampMonotonic"]))["output"]
        say("rebooting")
        await link.ask("run", command=["systemd-run", "--on-active=1", "--quiet", "systemctl", "reboot"])
    until_s = time.monotonic() + _BOOT_S
    while time.monotonic() < until_s:
        await asyncio.sleep(1)
        try:
            async with connected(access) as link:
                show = ["systemctl", "show", "-P", "UserspaceTimestampMonotonic"]
                now = (await link.ask("run", command=show))["output"]
                # a container keeps its host's boot_id: its own start is what tells
                if (await link.ask("facts"))["boot_id"] != before or now != started:
                    say("booted")
                    return
        except ProvisioningError:
            continue
    raise LinkError(f"it has not come back within {_BOOT_S} s; look at its power and its network")


async def _status(desk: Desk, groups: list[list[Device]]) -> int:
    async def look(device: Device, say: Say) -> dict[str, Any]:
        async with connected(desk.access(device)) as link:
            facts = await link.ask("facts")
            show = ["systemctl", "show", "avatar-appliance.service", "-p", "ActiveState,StatusText,NRestarts"]
            shown = (await link.ask("run", command=show))["output"]
            told = await _calibration(link, facts)
        keeper = facts["keeper"]
        service = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        return {
            "release": keeper.get("release", ""),
            "last": keeper.get("last", ""),
            "on_trial": keeper.get("on_trial", False),
            "service": service.get("ActiveState", ""),
            "says": service.get("StatusText", ""),
            "restarts": int(service.get("NRestarts") or 0),
            "free_mb": facts["free_mb"],
            "power_mode": facts["power_mode"],
            "calibration": told,
        }

    outcomes = await together([device for group in groups for device in group], look, lambda _: None)
    _report(
        desk,
        outcomes,
        lambda o: (
            f"{o.result['release'] or 'no release'}, {o.result['service']} "
            f"{o.result['says']}; {o.result['last']}; {o.result['free_mb']} MB free"
            + (f"; {o.result['calibration']}" if o.result["calibration"] else "")
        ),
    )
    return int(any(outcome.error for outcome in outcomes))


async def _rollback(desk: Desk, groups: list[list[Device]]) -> int:
    async def back(device: Device, say: Say) -> None:
        await applying.back(desk.access(device), say)

    outcomes = await together([device for group in groups for device in group], back, _tell)
    _report(desk, outcomes, lambda _: "went back")
    return int(any(outcome.error for outcome in outcomes))


async def _logs(desk: Desk, groups: list[list[Device]]) -> int:
    async def read_log(device: Device, say: Say) -> str:
        async with connected(desk.access(device)) as link:
            return await _journal(link, desk.arguments.lines)

    outcomes = await together([device for group in groups for device in group], read_log, lambda _: None)
    for outcome in outcomes:
        for line in (outcome.result or outcome.error).splitlines():
            print(f"{outcome.device.name}  {line}")
    return int(any(outcome.error for outcome in outcomes))


async def _journal(link: Link, lines: int) -> str:
    units = [f"--unit={unit}.service" for unit in _UNITS]
    command = ["journalctl", "--no-pager", "--output=short-iso", f"--lines={lines}", *units]
    return without_secrets((await link.ask("run", command=command))["output"])


_COLLECTED = {
    "check.json": ["/opt/avatar-appliance/current/bin/appliance", "check", "--json"],
    "engines.json": ["/opt/avatar-appliance/current/bin/appliance", "engines", "list", "--json"],
    "units.txt": ["systemctl", "status", "--no-pager", "--full", "--lines=0", *(f"{unit}.service" for unit in _UNITS)],
    "failed.txt": ["systemctl", "list-units", "--failed", "--no-pager", "--no-legend"],
    "disk.txt": ["df", "-h"],
    "memory.txt": ["cat", "/proc/meminfo"],
    "files.txt": ["ls", "-lR", "/etc/avatar-appliance", "/opt/avatar-appliance/releases", "--ignore=lib"],
}


async def _collect(desk: Desk, groups: list[list[Device]]) -> int:
    async def gather(device: Device, say: Say) -> str:
        async with connected(desk.access(device)) as link:
            facts = await link.ask("facts")
            texts = {"facts.json": json.dumps(facts, indent=1), "journal.txt": await _journal(link, 5000)}
            for name, command in _COLLECTED.items():
                answer = await link.ask("run", command=command)
                texts[name] = answer["output"] or answer["error_output"]
        path = desk.arguments.output / f"{desk.site.site.name}-{device.name}-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz"
        path.touch(mode=0o600)
        with tarfile.open(path, "w:gz") as archive:
            for name, text in texts.items():
                content = without_secrets(text).encode()
                member = tarfile.TarInfo(f"{device.name}/{name}")
                member.size, member.mtime = len(content), int(time.time())
                archive.addfile(member, io.BytesIO(content))
        return str(path)

    outcomes = await together([device for group in groups for device in group], gather, _tell)
    _report(desk, outcomes, lambda outcome: outcome.result)
    return int(any(outcome.error for outcome in outcomes))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
