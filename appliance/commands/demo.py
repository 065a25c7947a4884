"""Show the whole product on this machine: a real face on a clip, the daemon, a broker, the web renderer."""

import argparse
import time
from contextlib import ExitStack
from dataclasses import replace

from appliance.demo import household
from appliance.demo.scene import DESK as DESK
from appliance.demo.scene import film, prepare
from appliance.demo.subscriber import Subscriber, await_first
from appliance.publish.wire import Topics
from appliance.settings import Settings

SETTINGS = "desk"
EXAMPLE = """
appliance demo
appliance demo --seconds 30 --port 8090
appliance demo --no-camera
"""

_STEP_S = 0.25


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the demonstration."""
    parser.add_argument("--seconds", type=float, metavar="S", help="end by itself after so long (default: at Ctrl-C)")
    parser.add_argument("--port", type=int, default=8080, help="the page's port, 0 for any (default: %(default)s)")
    parser.add_argument("--no-camera", action="store_true", help="the speech alone moves the mouth")
    parser.add_argument("--no-viewer", action="store_true", help="no web page: publish only")
    parser.add_argument("--broker", metavar="mqtt://HOST:PORT", help="a broker to publish to (default: its own)")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Start everything, wait, and sum up in one line."""
    with ExitStack() as parts:
        parts.enter_context(household.orderly())
        port = None if arguments.no_viewer else household.page_port(arguments.port)
        clip = prepare(settings, _say)
        url = arguments.broker or parts.enter_context(household.broker())
        filmed = film(settings, clip, url)
        filmed = replace(filmed, camera=()) if arguments.no_camera else filmed
        subscriber = parts.enter_context(Subscriber(filmed.broker, filmed.device))
        daemon = parts.enter_context(household.daemon(filmed, arguments.verbose))
        if port is not None:
            page = parts.enter_context(household.viewer(port, filmed.broker))
            _say(f"the avatar is at {page}")
        _say(f"frames are published to {url}, topic {_topic(filmed)}")
        await_first(subscriber, daemon)
        _wait(arguments.seconds, daemon)
        _say(_summary(subscriber))
    return 0


def _topic(filmed: Settings) -> str:
    streams = filmed.camera or filmed.microphone
    return Topics(filmed.device.site, filmed.device.name).frame(streams[0].name, 0)


def _wait(seconds: float | None, daemon: household.Process) -> None:
    """Let it play for so long, or until Ctrl-C."""
    ends_s = time.monotonic() + seconds if seconds is not None else float("inf")
    if seconds is None:
        _say("press Ctrl-C to end")
    try:
        while time.monotonic() < ends_s:
            time.sleep(min(_STEP_S, max(0.0, ends_s - time.monotonic())))
            household.check_running(daemon, "the daemon")
    except KeyboardInterrupt:
        print()


def _summary(subscriber: Subscriber) -> str:
    notes = subscriber.notes()
    p50_ms, p99_ms = notes.percentiles()["capture to subscriber"]
    return f"{notes.frames} frames, {notes.fps:.1f} fps, latency p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms"


def _say(line: str) -> None:
    print(line, flush=True)
