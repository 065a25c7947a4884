"""One SSH connection to a device, and what is asked over it.

Every question is one program (``device/host.py``) that goes in on standard input with its request, runs under
sudo where the login is not root, and answers in JSON lines. Nothing secret is ever on a command line.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from provisioning.errors import ProvisioningError
from provisioning.site import Device, Site

CONNECT_S = 10
_KEEPALIVE_S = 5
_KEEPALIVES_LOST = 4  # a link that is silent for so many is dead
_BLOCK = 1 << 18
_PROGRAM = (Path(__file__).parent / "device/host.py").read_bytes()

Answer = dict[str, Any]


class LinkError(ProvisioningError):
    """A device cannot be reached, or does not let us in: look at the network, the key, the host key."""


class DeviceError(ProvisioningError):
    """A device could not do what was asked; its own words are in the message."""


class CutError(LinkError):
    """The connection broke: what was begun goes on there, and asking again resumes."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to log in: the password is for SSH and for sudo; empty where keys and sudo need none."""

    user: str
    host: str
    port: int
    key_file: str
    known_hosts: Path
    password: str = ""
    accept_new: bool = False


def access_of(site: Site, device: Device, password: str, accept_new: bool) -> Access:
    """How to log in to a device of a site."""
    login = site.ssh
    key_file = str(site.path(login.key_file)) if login.key_file else ""
    user, port = device.user or login.user, device.port or login.port
    return Access(user, device.host, port, key_file, site.path(login.known_hosts), password, accept_new)


class Link:
    """An open connection."""

    def __init__(self, connection: asyncssh.SSHClientConnection, access: Access) -> None:
        self._connection = connection
        self._access = access
        self.by_key = not access.password  # without one, nothing but a key can have let us in

    async def ask(self, action: str, **request: Any) -> Answer:
        """Ask one thing; its one answer."""
        async with contextlib.aclosing(self.stream(action, **request)) as answers:
            async for answer in answers:
                return answer
        raise DeviceError(f"no answer to {action}")

    async def stream(self, action: str, **request: Any) -> AsyncGenerator[Answer, None]:
        """Ask one thing; its answers as they come."""
        async with self._begun(action, request) as process:
            process.stdin.write_eof()
            answered = False
            async for line in process.stdout:
                if line:  # at its end the reader gives an empty one
                    answered = True
                    yield _checked(line)
            if not answered:
                await self._explain(process)

    async def send(self, source: Path, target: str, told: Callable[[float], None]) -> None:
        """Copy a file; what an earlier, cut copy brought is kept. ``told`` hears the fraction that is there."""
        size = source.stat().st_size
        there = await self.ask("sha256", path=target)
        offset = there["size"] if there["size"] < size else 0
        async with self._begun("receive", {"path": target, "offset": offset, "size": size}) as process:
            # a device that gives up hangs up; its reason is in its answer
            with source.open("rb") as file, contextlib.suppress(BrokenPipeError):
                file.seek(offset)
                while block := file.read(_BLOCK):
                    process.stdin.write(block)
                    await process.stdin.drain()
                    told(file.tell() / size)
                process.stdin.write_eof()
            if not _checked(await process.stdout.readline() or b"{").get("size") == size:
                raise CutError("the copy was cut; apply again resumes")

    @contextlib.asynccontextmanager
    async def _begun(self, action: str, request: Answer) -> AsyncIterator[asyncssh.SSHClientProcess[bytes]]:
        # sudo takes the password's line only where it needs one: what is before "begin" is passed over
        skip = "b=sys.stdin.buffer;[0 for _ in iter(b.readline,b'begin\\n')]"
        program = f"import sys;{skip};exec(compile(b.read({len(_PROGRAM)}),'host','exec'))"
        command = f'python3 -c "{program}" {action}'
        sudo_password = b""
        if self._access.user != "root":
            command = f"sudo {'-S' if self._access.password else '-n'} -p '' -- {command}"
            sudo_password = f"{self._access.password}\n".encode() if self._access.password else b""
        try:
            async with self._connection.create_process(command, encoding=None) as process:
                process.stdin.write(sudo_password + b"begin\n" + _PROGRAM + json.dumps(request).encode() + b"\n")
                await process.stdin.drain()
                yield process
        except (asyncssh.Error, OSError) as error:
            raise CutError(f"the connection broke ({error or type(error).__name__}); apply again resumes") from None

    async def _explain(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        lines = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
        await process.wait_closed()
        if process.exit_status is None:
            raise CutError("the connection broke; apply again resumes")
        user = self._access.user
        if any("password" in line or "sudo" in line for line in lines):
            raise LinkError(f"{user} may not use sudo without a password, or it is wrong: give it with --ask-password")
        raise DeviceError(lines[-1] if lines else f"python3 ended with status {process.exit_status}")


def _checked(line: bytes) -> Answer:
    try:
        answer: Answer = json.loads(line)
    except ValueError:
        raise CutError("the connection broke; apply again resumes") from None
    if "error" in answer:
        raise DeviceError(str(answer["error"]))
    return answer


@contextlib.asynccontextmanager
async def connected(access: Access) -> AsyncIterator[Link]:
    """Log in; ``LinkError`` says why not."""
    where = f"{access.user}@{access.host}:{access.port}"
    if access.accept_new:
        await _accept(access, where)
    known = str(access.known_hosts) if access.known_hosts.exists() else ()
    try:
        connection = await asyncssh.connect(
            access.host,
            access.port,
            username=access.user,
            password=access.password or None,
            client_keys=[access.key_file] if access.key_file else (),
            known_hosts=known,
            connect_timeout=CONNECT_S,
            login_timeout=CONNECT_S,
            keepalive_interval=_KEEPALIVE_S,
            keepalive_count_max=_KEEPALIVES_LOST,
        )
    except asyncssh.HostKeyNotVerifiable:
        raise LinkError(
            f"{where}: its host key is not the one in {access.known_hosts}: another machine answers, or it was "
            "flashed anew. Compare the fingerprint on the device (ssh-keygen -l), then remove its line, or take a "
            "first one with --accept-new"
        ) from None
    except asyncssh.PermissionDenied:
        raise LinkError(f"{where} refuses the key or password: give ssh.key_file or --ask-password") from None
    except (asyncssh.Error, OSError, TimeoutError) as error:
        reason = str(error) or f"no answer within {CONNECT_S} s"
        raise LinkError(f"{where} cannot be reached: {reason}; is it switched on, and in this network?") from None
    async with connection:
        yield Link(connection, access)


async def _accept(access: Access, where: str) -> None:
    """Keep the host key of a device that was never seen; a known one stays what it is."""
    name = access.host if access.port == 22 else f"[{access.host}]:{access.port}"
    lines = access.known_hosts.read_text(encoding="utf-8").splitlines() if access.known_hosts.exists() else []
    if any(line.split(" ")[0] == name for line in lines):
        return
    try:
        key = await asyncio.wait_for(asyncssh.get_server_host_key(access.host, access.port), CONNECT_S)
    except (asyncssh.Error, OSError, asyncio.TimeoutError) as error:
        raise LinkError(f"{where} cannot be reached: {str(error) or 'no answer'}") from None
    if key is not None:
        with access.known_hosts.open("a", encoding="utf-8") as file:
            file.write(f"{name} {key.export_public_key('openssh').decode().strip()}\n")
