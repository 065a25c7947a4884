"""The whole look at a device, area by area."""

from collections.abc import Iterator
from pathlib import Path

from appliance.checks.broker import broker
from appliance.checks.cameras import no_camera, see
from appliance.checks.clock import clock
from appliance.checks.device import platform
from appliance.checks.finding import Finding
from appliance.checks.memory import memory
from appliance.checks.microphones import listen
from appliance.checks.models_and_engines import engines, models, runtime
from appliance.checks.power import heat, power_mode
from appliance.checks.service import service
from appliance.checks.storage import disk
from appliance.checks.telling import tell
from appliance.settings import Settings


def look(settings: Settings, root: Path = Path("/")) -> Iterator[Finding]:
    """Yield every finding, as each is made; opens the cameras and microphones for a moment."""
    yield tell(settings, root)
    yield platform(root)
    yield runtime(settings.engines)
    yield power_mode(settings.storage.engines, root)
    yield heat(root)
    yield from models(settings)
    yield from engines(settings)
    if not settings.camera:
        yield no_camera(settings)
    for camera in settings.camera:
        yield see(camera)
    for microphone in settings.microphone:
        yield listen(microphone)
    yield from broker(settings)
    yield clock(root)
    yield disk(Path(settings.storage.directory).expanduser())
    yield memory(settings.memory, root)
    yield service(root)
