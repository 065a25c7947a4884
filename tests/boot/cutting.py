"""Power cuts at random moments: the device comes back by itself, with everything that it had kept."""

import contextlib
import hashlib
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from engines.errors import EngineError
from engines.fetch import is_ready
from engines.ranges import ranges_for
from engines.store import Store

from .churn import KEY, ONNX_SHA256, ranges_file
from .machine import Machine
from .results import Result, at_most

LATEST_CUT_S = 8.0
BACK_LIMIT_S = 6.0
CHURN = """[Unit]
Description=Keeps engines and calibration all the time
After=basic.target
[Service]
User=avatar
ExecStart=/opt/avatar-appliance/current/bin/python /run/devices/churn.py
"""


def cuts(machine: Machine, times: int, seed: int) -> Iterator[Result]:
    """Cut the power again and again while engines and calibration are being kept."""
    chance = random.Random(seed)
    lib, kept = machine.disk.path / "lib", machine.devices.folder / "kept"
    settings = _sha256(machine.disk.path / "etc/appliance.toml")
    (machine.devices.folder / "churn.py").write_bytes(Path(__file__).with_name("churn.py").read_bytes())
    lost: list[str] = []
    moments_s: list[float] = []
    backs_s: list[float] = []
    numbers = 0
    for cut in range(times):
        kept.write_text("0")
        kept.chmod(0o666)
        on_ns = machine.start()
        moment_s = chance.uniform(0.0, LATEST_CUT_S)
        moments_s.append(moment_s)
        _churn(machine)
        time.sleep(max(0.0, moment_s - (time.monotonic_ns() - on_ns) / 1e9))
        machine.cut()
        said = int(kept.read_text())
        numbers += said
        lost += [f"cut {cut + 1} at {moment_s:.1f} s: {what}" for what in damage(lib, said)]
        if _sha256(machine.disk.path / "etc/appliance.toml") != settings:
            lost.append(f"cut {cut + 1}: settings")
        on_ns = machine.start()
        frame = machine.network.first("cam0/0/frame", on_ns, 20)
        if frame is None:
            lost.append(f"cut {cut + 1}: no frame afterwards: {machine.journal()}")
        else:
            backs_s.append((frame.at_ns - on_ns) / 1e9)
        machine.cut()
    spread = f"{min(moments_s):.1f} to {max(moments_s):.1f} s after power-on, {numbers} engines kept in between"
    survived = times - len({line.split(":")[0].split(" at")[0] for line in lost})
    yield Result(f"power cuts survived ({spread})", f"{survived} of {times} {lost or ''}", f"{times}", not lost)
    if backs_s:
        text = f"power-on to first frame after a cut, slowest (median {statistics.median(backs_s):.2f} s)"
        yield at_most(text, max(backs_s), BACK_LIMIT_S)


def _churn(machine: Machine) -> None:
    """Begin to keep things as soon as the system can start a service; a cut may come first."""
    for _ in range(40):
        with contextlib.suppress(RuntimeError):
            machine.run("sh", "-c", f"cat > /run/systemd/system/churn.service <<'END'\n{CHURN}END")
            machine.run("systemctl", "--no-block", "start", "churn.service")
            return
        time.sleep(0.05)


def damage(lib: Path, said: int) -> Iterator[str]:
    """What is not as it was said to be kept."""
    for name in ("face_detector", "face_landmarks"):
        if not is_ready(lib / "models", name):
            yield f"model {name}"
    record = Store(lib / "engines").find(KEY)
    if record is not None and not Store(lib / "engines").is_whole(KEY):
        yield "engine damaged"
    if said and (record is None or record.build_s < said):
        yield f"engine {said} was kept and is not there"
    if not said and not ranges_file(lib).exists():
        return
    try:
        samples = ranges_for(ranges_file(lib), KEY.model, ONNX_SHA256).samples
    except EngineError as error:
        yield f"calibration: {error}"
        return
    if samples < said:
        yield f"calibration {said} was kept and is not there"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
