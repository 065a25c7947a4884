"""What a process has open, as the kernel tells it."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_WRITES = os.O_WRONLY | os.O_RDWR
_LISTENING, _ESTABLISHED = "0A", "01"


@dataclass(frozen=True)
class Opened:
    """A file that is open for writing."""

    path: str


@dataclass(frozen=True)
class Socket:
    """One end of a network connection, or something that waits for one."""

    protocol: str  # tcp, tcp6, udp, udp6
    local: str  # hexadecimal address:port, as the kernel writes it
    remote: str
    listens: bool

    @property
    def local_port(self) -> int:
        """The port on our side."""
        return int(self.local.rpartition(":")[2], 16)

    @property
    def remote_port(self) -> int:
        """The port on the other side."""
        return int(self.remote.rpartition(":")[2], 16)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        address = self.local.rpartition(":")[0]
        mapped = address.removeprefix("0000000000000000FFFF0000")  # 127.0.0.1 as an address of version 6
        return (mapped.endswith("7F") and len(mapped) == 8) or address == "00000000000000000000000001000000"


def opened(pid: int) -> set[Opened]:
    """The files that a process has open for writing; pipes, sockets and the like are none."""
    found = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                path = os.readlink(f"/proc/{pid}/fd/{name}")
                flags = int(Path(f"/proc/{pid}/fdinfo/{name}").read_text().split("flags:")[1].split()[0], 8)
                if path.startswith("/") and flags & _WRITES:
                    found.add(Opened(path))
    return found


def sockets(pid: int) -> set[Socket]:
    """The network sockets of a process."""
    links = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                links.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    found = set()
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{protocol}").read_text().splitlines()[1:]:
                words = line.split()
                if f"socket:[{words[9]}]" in links:
                    waits = words[3] == _LISTENING or (protocol.startswith("udp") and words[3] != _ESTABLISHED)
                    found.add(Socket(protocol, words[1], words[2], waits))
    return found


def written_bytes(pid: int) -> int:
    """How much a process has written to files and pipes since it began."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/io").read_text().split("wchar:")[1].split()[0])
    return 0
