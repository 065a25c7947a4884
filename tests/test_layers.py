"""Which package may import which, and which module may import what leads outside."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A library that reaches hardware, a driver or a network is imported where it is used and nowhere else.
HOMES = {
    "tensorrt": {"engines/tensorrt_runner.py", "engines/build.py"},
    "pycuda": {"engines/tensorrt_runner.py", "engines/gpu_crop.py"},
    "openvino": {"engines/openvino_runner.py"},
    "onnxruntime": {"engines/onnxruntime_runner.py", "engines/training/evaluate_network.py"},
    "alsaaudio": {"appliance/listening/alsa.py"},
    "paho": {"appliance/publish/connection.py", "appliance/publish/mqtt.py"},
    "systemd": {"appliance/watchdog.py", "appliance/journal.py"},
    "jtop": {"appliance/health/jtop.py"},
    "prometheus_client": {"appliance/renderers/exporters/prometheus.py"},
    "amqtt": {"appliance/demo/broker.py"},
    "asyncssh": {"provisioning/connection.py"},
    "aiohttp": {"appliance/renderers/viewer.py", "appliance/renderers/bridges/vtubestudio.py"},
}

# Scripts that made our weights look at the program from outside; nothing imports them.
TRAINING = ROOT / "engines" / "training"

PACKAGES = ("appliance", "calibration", "engines", "provisioning")
ALLOWED = {
    "appliance": {"appliance", "calibration", "engines"},
    "calibration": {"calibration", "engines"},
    "engines": {"engines"},
    "provisioning": {"provisioning"},
}


def modules(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_between_packages_point_one_way(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        if not path.is_relative_to(TRAINING)
        for name in imports(path)
        if name.split(".")[0] in PACKAGES and name.split(".")[0] not in ALLOWED[package]
    ]
    assert wrong == []


@pytest.mark.parametrize("library", HOMES)
def test_a_library_that_leads_outside_is_imported_in_its_home_alone(library: str) -> None:
    homes = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in modules(package)
        if library in {name.split(".")[0] for name in imports(path)}
    }
    assert homes <= HOMES[library]


def test_renderers_know_the_wire_format_and_nothing_else_of_the_daemon() -> None:
    wire_format = (
        "appliance.publish.wire",
        "appliance.publish.packed",
        "appliance.values",
        "appliance.avatar.channels",
    )
    known = (*wire_format, "appliance.publish.connection", "appliance.errors", "appliance.settings")
    wrong = [
        f"{path.name} imports {name}"
        for path in modules("appliance/renderers")
        for name in imports(path)
        if name.startswith("appliance.") and not name.startswith((*known, "appliance.renderers"))
    ]
    assert wrong == []


def test_stages_do_not_know_those_after_them() -> None:
    order = ("capture", "listening", "face", "avatar", "publish")
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for rank, stage in enumerate(order)
        for path in modules(f"appliance/{stage}")
        for name in imports(path)
        if any(name.startswith(f"appliance.{later}") for later in order[rank + 1 :])
        and not name.startswith("appliance.avatar.channels")
    ]
    assert wrong == []


def test_nothing_of_the_program_needs_the_training_scripts() -> None:
    users = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package in PACKAGES
        for path in modules(package)
        if not path.is_relative_to(TRAINING)
        for name in imports(path)
        if name.startswith("engines.training")
    ]
    assert users == []
