"""Show devices' health to Prometheus or Home Assistant: a separate process that reads MQTT."""

import argparse
import contextlib
import signal
import threading
import time
from importlib.util import find_spec
from types import FrameType

from appliance.errors import ApplianceError, BrokerError
from appliance.publish import wire
from appliance.publish.connection import subscriber
from appliance.renderers.exporters import home_assistant
from appliance.renderers.fleet import LEAVES, Fleet
from appliance.settings import Settings

EXAMPLE = """
appliance exporter prometheus --port 9473 --set broker.url=mqtt://renderer.local
appliance exporter homeassistant --site lobby
appliance exporter homeassistant --remove
"""

STEP_S = 1.0
GATHER_S = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument(
        "target",
        choices=("prometheus", "homeassistant"),
        metavar="TARGET",
        help="prometheus: metrics on HTTP; homeassistant: sensors by its MQTT discovery",
    )
    parser.add_argument("--site", default="+", help="this site alone (default: all on the broker)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="prometheus: the address to serve on (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=9473, help="prometheus: its port (default: %(default)s)")
    parser.add_argument(
        "--prefix", default=home_assistant.PREFIX, help="homeassistant: its discovery prefix (default: %(default)s)"
    )
    parser.add_argument("--remove", action="store_true", help="homeassistant: take the sensors back, and end")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Export until told to end."""
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    if arguments.target == "prometheus":
        _serve_metrics(arguments, settings, stop)
    else:
        _announce(arguments, settings, stop)
    return 0


def _serve_metrics(arguments: argparse.Namespace, settings: Settings, stop: threading.Event) -> None:
    if find_spec("prometheus_client") is None:
        raise ApplianceError("prometheus_client is not installed; pip install 'avatar-appliance[prometheus]'")
    from appliance.renderers.exporters import prometheus  # an optional part

    if not 0 <= arguments.port <= 65535:
        raise ApplianceError(f"a port is between 0 and 65535, got {arguments.port}; see --port")
    fleet = Fleet()
    topics = [f"{wire.ROOT}/{arguments.site}/+/{leaf}" for leaf in LEAVES]
    connection = subscriber(settings.broker, "avatar-prometheus", topics, fleet.hear)
    server = prometheus.serve(fleet, arguments.host, arguments.port)
    with contextlib.closing(connection):
        connection.start()
        print(f"metrics: http://{arguments.host}:{server.server_port}/metrics", flush=True)
        stop.wait()
    server.shutdown()
    server.server_close()


def _announce(arguments: argparse.Namespace, settings: Settings, stop: threading.Event) -> None:
    announcer = home_assistant.Announcer(settings.broker, arguments.site, arguments.prefix)
    with contextlib.closing(announcer):
        announcer.start()
        if arguments.remove:
            _gather(announcer, stop)
            print(f"{announcer.remove()} sensors taken back", flush=True)
            return
        while not stop.wait(STEP_S):
            count = announcer.step()
            if count:
                print(f"{count} sensors told to Home Assistant", flush=True)


def _gather(announcer: home_assistant.Announcer, stop: threading.Event) -> None:
    """Hear of every device there is: what is retained comes at once, health each second."""
    end_s = time.monotonic() + GATHER_S
    while time.monotonic() < end_s and not stop.wait(0.05):
        if announcer.problem:
            raise BrokerError(announcer.problem)
