"""What ``systemctl status`` says of a running appliance, in one line."""

from collections.abc import Iterator, Mapping, Sequence

from appliance.capture.captured import CameraStatus
from appliance.listening.ears import Listening
from appliance.publish.mqtt import PublisherStatus


def one_line(
    broker: PublisherStatus, fps: Mapping[str, float], cameras: Mapping[str, CameraStatus], ears: Sequence[Listening]
) -> str:
    """What is sent, and what is wrong; the worst first, since a terminal cuts the end off."""
    return "; ".join([*_troubles(broker, cameras, ears), _sending(fps)])


def _sending(fps: Mapping[str, float]) -> str:
    streams = [f"{stream} {rate:.0f}" for stream, rate in fps.items() if rate]
    return f"sending {', '.join(streams)} frames/s" if streams else "sending nothing"


def _troubles(broker: PublisherStatus, cameras: Mapping[str, CameraStatus], ears: Sequence[Listening]) -> Iterator[str]:
    if not broker.connected:
        yield broker.problem or "no broker yet"
    for name, camera in cameras.items():
        if not camera.live:
            yield f"camera {name}: {camera.error or 'no picture yet'}"
    for ear in ears:
        status = ear.status()
        if status.last_error or not status.blocks:
            yield status.last_error or f"microphone {ear.name}: no sound yet"
