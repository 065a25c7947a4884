"""Prometheus: what every device last said, as metrics on HTTP; read from MQTT, by a process of its own.

Names and units follow Prometheus' own rules: base units (seconds, bytes, watts), ``_total`` for what only grows.
Every metric has the labels ``site`` and ``device``.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from appliance.errors import ApplianceError
from appliance.renderers.fleet import Device, Fleet, inner, number, numbers

PORT = 9473

_MB = 2.0**20
_LEVELS = ("normal", "high", "critical")

# name, what it is, its label beside site and device, its place in ``health``, what makes it a base unit
_GAUGES: tuple[tuple[str, str, str, tuple[str, ...], float], ...] = (
    ("avatar_uptime_seconds", "since the program started", "", ("uptime_s",), 1),
    ("avatar_first_frame_seconds", "from start to the first published frame", "", ("first_frame_s",), 1),
    ("avatar_frames_per_second", "published over the last seconds", "stream", ("fps",), 1),
    ("avatar_memory_available_bytes", "main memory that is available", "", ("ram", "available_mb"), _MB),
    ("avatar_memory_total_bytes", "main memory", "", ("ram", "total_mb"), _MB),
    ("avatar_memory_resident_bytes", "of the program's processes", "", ("rss_mb",), _MB),
    ("avatar_memory_largest_free_block_bytes", "largest free block of memory", "", ("lfb_mb",), _MB),
    ("avatar_swap_used_bytes", "swap in use", "", ("swap", "used_mb"), _MB),
    ("avatar_memory_some_stalled_ratio", "of the last 10 s", "", ("pressure", "some_avg10"), 0.01),
    ("avatar_memory_full_stalled_ratio", "of the last 10 s", "", ("pressure", "full_avg10"), 0.01),
    ("avatar_temperature_celsius", "by sensor", "sensor", ("temperatures_c",), 1),
    ("avatar_fan_ratio", "how hard the fan is driven", "", ("fan_percent",), 0.01),
    ("avatar_power_watts", "by rail", "rail", ("rails_mw",), 0.001),
    ("avatar_clock_hertz", "by unit", "unit", ("clocks_mhz",), 1e6),
)
_COUNTERS = (("captured", "pictures"), ("blocks", "blocks of sound"), ("dropped", "pictures never processed")) + (
    ("overruns", "times sound was lost"),
    ("restarts", "times it was opened again"),
)


class Metrics(Collector):
    """Makes the metrics of a fleet anew at every scrape."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of every device."""
        devices = self._fleet.devices()
        yield from _presence(devices)
        for name, about, label, place, unit in _GAUGES:
            gauge = GaugeMetricFamily(name, about, labels=["site", "device", *([label] if label else [])])
            for device in devices:
                for values, value in _values(device.health, label, place):
                    gauge.add_metric([device.site, device.name, *values], unit * value)
            yield gauge
        yield _stages(devices)
        yield from _sources(devices)


def serve(fleet: Fleet, host: str, port: int) -> Any:
    """Answer scrapes in threads of their own; return the server. ``ApplianceError`` where the port is taken."""
    registry = CollectorRegistry()
    registry.register(Metrics(fleet))
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise ApplianceError(f"cannot serve on {host} port {port}: {error.strerror}; see --host and --port") from None
    return server


def _values(health: Mapping[str, Any], label: str, place: tuple[str, ...]) -> Iterator[tuple[Sequence[str], float]]:
    if label:
        for name, value in numbers(health, place[0]).items():
            yield [name], value
        return
    single = number(inner(health, *place[:-1]), place[-1])
    if single is not None:
        yield [], single


def _presence(devices: list[Device]) -> Iterator[Metric]:
    labels = ["site", "device"]
    up = GaugeMetricFamily("avatar_up", "1 while the broker holds the device for connected", labels=labels)
    age = GaugeMetricFamily("avatar_health_age_seconds", "since the device last spoke of its health", labels=labels)
    alarms = GaugeMetricFamily("avatar_alarms", "how many things need looking after", labels=labels)
    level = GaugeMetricFamily("avatar_memory_level", "0 normal, 1 high, 2 critical", labels=labels)
    dropped = CounterMetricFamily("avatar_frames_dropped", "not published since start", labels=labels)
    state = GaugeMetricFamily("avatar_tracking_state", "1 for the state it is in", labels=[*labels, "stream", "state"])
    for device in devices:
        who = [device.site, device.name]
        up.add_metric(who, float(device.online))
        alarms.add_metric(who, len(device.alarms()))
        if device.health_age_s is not None:
            age.add_metric(who, device.health_age_s)
        if device.health.get("level") in _LEVELS:
            level.add_metric(who, _LEVELS.index(device.health["level"]))
        lost = number(device.health, "dropped")
        if lost is not None:
            dropped.add_metric(who, lost)
        for stream, word in device.states.items():
            state.add_metric([*who, stream, word], 1)
    yield from (up, age, alarms, level, dropped, state)


def _stages(devices: list[Device]) -> Metric:
    stages = GaugeMetricFamily(
        "avatar_stage_seconds", "by stage over the last seconds", labels=["site", "device", "stage", "quantile"]
    )
    for device in devices:
        for stage in inner(device.health, "stages"):
            for quantile, name in (("0.5", "p50_ms"), ("0.99", "p99_ms")):
                value = number(inner(device.health, "stages", stage), name)
                if value is not None:
                    stages.add_metric([device.site, device.name, stage, quantile], value / 1000)
    return stages


def _sources(devices: list[Device]) -> Iterator[Metric]:
    """Cameras and microphones: whether each works, and what it counts."""
    for kind, singular in (("cameras", "camera"), ("microphones", "microphone")):
        labels = ["site", "device", singular]
        working = GaugeMetricFamily(f"avatar_{singular}_working", "0 while an error is reported", labels=labels)
        for device in devices:
            for name, status in inner(device.health, kind).items():
                if isinstance(status, Mapping):
                    working.add_metric([device.site, device.name, name], float(not status.get("error")))
        yield working
        for key, about in _COUNTERS:
            counter = CounterMetricFamily(f"avatar_{singular}_{key}", f"{about} since start", labels=labels)
            for device in devices:
                for name in inner(device.health, kind):
                    value = number(inner(device.health, kind, name), key)
                    if value is not None:
                        counter.add_metric([device.site, device.name, name], value)
            if counter.samples:
                yield counter
