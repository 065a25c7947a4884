"""The service manager's notification protocol: sd_notify(3). Silent where nobody listens."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

_FRACTION = 4  # beats in one watchdog interval; systemd asks for at least two


class Watchdog:
    """Tells systemd that the program is ready, alive, and what it does.

    ``alive`` belongs in the main loop and nowhere else; it costs a clock reading unless a beat is due.
    """

    def __init__(self) -> None:
        self._send = _sender(os.environ)
        self._beat_ns = _interval_ns(os.environ) // _FRACTION
        self._last_ns = 0
        self._tell: Callable[[], str] | None = None

    def ready(self, tell: Callable[[], str] | None = None) -> None:
        """Say that start-up is over; from now on every beat also says what ``tell`` has to say."""
        self._tell = tell
        self._send("READY=1")

    def alive(self) -> None:
        """Say that the main loop turns."""
        now_ns = time.monotonic_ns()
        if self._beat_ns and now_ns - self._last_ns >= self._beat_ns:
            self._last_ns = now_ns
            self._send("WATCHDOG=1")
            if self._tell is not None:
                self.status(self._tell())

    def status(self, text: str) -> None:
        """Say in one line what the program does, for ``systemctl status``."""
        self._send("STATUS=" + " ".join(text.split()))

    def stopping(self) -> None:
        """Say that the program is about to end."""
        self._send("STOPPING=1")


def _interval_ns(environment: Mapping[str, str]) -> int:
    """The watchdog's interval; 0 where there is none, or where it watches another process."""
    interval_us, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not interval_us.isdigit() or pid not in ("", str(os.getpid())):
        return 0
    return int(interval_us) * 1000


def _sender(environment: Mapping[str, str]) -> Callable[[str], None]:
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return lambda _: None
    notify = _library() or _datagram(address)

    def send(message: str) -> None:
        # a service manager that is busy or gone must not stop us; a beat it misses it will judge itself
        with contextlib.suppress(OSError):
            notify(message)

    return send


def _library() -> Callable[[str], object] | None:
    """systemd's own library, which finds the socket by itself, where it is installed."""
    try:
        from systemd import daemon
    except ImportError:
        return None
    notify: Callable[[str], object] = daemon.notify
    return notify


def _datagram(address: str) -> Callable[[str], object]:
    """The protocol as sd_notify(3) documents it for programs without the library."""
    # "@" stands for the null byte of Linux's abstract socket names
    target = "\0" + address[1:] if address.startswith("@") else address
    notifier = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    notifier.setblocking(False)
    return lambda message: notifier.sendto(message.encode(), target)
