"""Make a device what the site file says: what looking found, done in order. Cut anywhere, it is begun again."""

import asyncio
import json
import time
from collections.abc import Callable

from provisioning import authority, desired
from provisioning.connection import Access, CutError, DeviceError, Link, connected
from provisioning.desired import Content, Resource, Table
from provisioning.examining import Finding, Identity, examine
from provisioning.site import Device, Site

Say = Callable[[str], None]

_POLL_S = 1.0
_PAUSES_S = (2, 5, 15)
_SPARE_S = 30.0  # what a switch takes beside its trial


async def apply(access: Access, site: Site, device: Device, content: Content, say: Say) -> int:
    """Change what differs; answer how many things that were."""
    signer = site.path(site.release.signer).read_text(encoding="utf-8")
    async with connected(access) as link:
        found = await examine(link, site, device, content, signer)
        total = len(found.changes)
        say(f"{total} changes" if total else "nothing to change")
        await _make(link, found.keeper, say)
        if found.install:
            await _install(link, site, content, say)
        await _make(link, found.system, say)
        await _enrol(link, site, found.enrol, say)
        await _make(link, _with_restart(found), say)
        if found.deploy:
            await _deploy(link, found.deploy, say)
        if found.deploy or found.facts["keeper"].get("on_trial"):
            await _await_trial(link, site, say)
        await _shut_doors(link, access, found.doors, say)
    return total


async def apply_patiently(access: Access, site: Site, device: Device, content: Content, say: Say) -> int:
    """Apply, and where the connection breaks come back and go on."""
    for pause_s in _PAUSES_S:
        try:
            return await apply(access, site, device, content, say)
        except CutError as error:
            say(f"{error}; again in {pause_s} s")
            await asyncio.sleep(pause_s)
    return await apply(access, site, device, content, say)


async def _make(link: Link, resources: list[Resource], say: Say) -> None:
    if not resources:
        return
    finished = False
    async for step in link.stream("apply", resources=resources):
        if step["state"] == "begun":
            say(_name(resources[step["number"]]))
        finished = finished or step["state"] == "done"
    if not finished:
        raise DeviceError("it ended before all was done; apply again resumes")


def _name(resource: Resource) -> str:
    return str(resource.get("title") or resource.get("path") or ", ".join(resource.get("names", [])))


async def _install(link: Link, site: Site, content: Content, say: Say) -> None:
    bundle = site.path(site.release.bundle)
    target = f"{desired.INCOMING}/{content.manifest_sha256}.bundle"
    shown = -1

    def told(fraction: float) -> None:
        nonlocal shown
        if int(fraction * 10) > shown:
            shown = int(fraction * 10)
            say(f"copying {bundle.name}: {shown * 10} %")

    await link.send(bundle, target, told)
    say(f"installing release {content.version}")
    try:
        await keep(link, "install", target)
    finally:
        # whole or refused, it is not needed again; a cut copy is another matter, and stays
        await link.ask("run", command=["find", desired.INCOMING, "-name", "*.bundle", "-delete"])


async def keep(link: Link, *words: str, text: str = "") -> str:
    """Call the keeper of a device; ``DeviceError`` has its last word."""
    answer = await link.ask("run", command=["/usr/local/sbin/avatar-keeper", *words], input=text)
    if answer["status"]:
        lines = answer["error_output"].strip().splitlines()
        raise DeviceError(lines[-1] if lines else f"avatar-keeper {words[0]} ended with status {answer['status']}")
    return str(answer["output"])


async def _enrol(link: Link, site: Site, wanted: list[Identity], say: Say) -> None:
    for identity in wanted:
        say(f"enrolling {identity.role.value} {identity.name}")
        answer = await link.ask("request", resource=identity.resource, make_key=True)
        folder = site.path(site.site.authority)
        signed = authority.enrol(folder, answer["request"].encode(), identity.role, identity.name, identity.hosts)
        place = {"path": identity.resource["certificate"], "text": signed.decode(), "mode": "0600"}
        owner = {key: identity.resource[key] for key in ("owner", "group")}
        await _make(link, [{"kind": "file", **place, **owner}], say)


def _with_restart(found: Finding) -> list[Resource]:
    """Credentials that differ; a broker with a new certificate reads it only when it starts."""
    renewed = any(identity.hosts for identity in found.enrol)
    there = {resource.get("title") for resource in found.credentials}
    if renewed and "restart the broker" not in there:
        restart = ["systemctl", "restart", "mosquitto.service"]
        title = "restart the broker with its new certificate"
        return [*found.credentials, {"kind": "command", "title": title, "check": ["false"], "do": restart}]
    return found.credentials


async def _deploy(link: Link, deployment: Table, say: Say) -> None:
    say(f"switching to release {deployment['release']}")
    await keep(link, "deploy", text=json.dumps(deployment))


async def _await_trial(link: Link, site: Site, say: Say) -> None:
    """Wait until the device has made up its mind; it does so without us, too."""
    limit_s = site.release.window_s + site.release.start_s + _SPARE_S
    say(f"on trial: it must be well for {site.release.window_s} s")
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        status = json.loads(await keep(link, "status"))
        if not status["on_trial"]:
            if "proved itself" not in status["last"]:
                raise DeviceError(status["last"])
            say(status["last"])
            return
        await asyncio.sleep(_POLL_S)
    raise DeviceError(f"its trial has not ended within {limit_s:.0f} s; look at: appliance-provision logs")


async def _shut_doors(link: Link, access: Access, doors: list[Resource], say: Say) -> None:
    """Shut each door, then come in anew through what is left; where that fails it opens by itself."""
    await _make(link, doors, say)
    to_confirm = [door for door in doors if "undo" in door]
    if not to_confirm:
        return
    async with connected(access) as anew:
        for door in to_confirm:
            await anew.ask("confirm", resource=door)


async def back(access: Access, say: Say) -> None:
    """Go back to the deployment before."""
    async with connected(access) as link:
        say("going back")
        await keep(link, "rollback")
        say(json.loads(await keep(link, "status"))["last"])
