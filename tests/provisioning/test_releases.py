"""Releases on a folder that stands for a device, with the power cut before and after every change of a file."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provisioning.keeper.releases import BOOTS_ON_TRIAL, Disk, Keeper, KeeperError
from provisioning.keeper.trial import Limits, Look, Trial, watch

OLD, NEW = "1.0.0", "2.0.0"
UNIT = "/etc/systemd/system/avatar-appliance.service"
EXTRA = "/etc/systemd/system/avatar-extra.service"
SETTINGS = "/etc/avatar-appliance/appliance.toml"
WELL = {"fps": {"cam0/0": 30.0}, "stages": {"total": {"p99_ms": 12.0}}, "rss_mb": 300.0}


class PowerCutError(BaseException):
    """Nothing may catch it."""


class MortalDisk(Disk):
    """Loses power before or after its n-th change."""

    def __init__(self, cut_at: int, after: bool) -> None:
        self._left = cut_at
        self._after = after

    def write(self, path: Path, text: str, mode: int = 0o644, owner: str = "", group: str = "") -> None:
        self._change(lambda: Disk.write(self, path, text, mode))

    def link(self, path: Path, target: str) -> None:
        self._change(lambda: Disk.link(self, path, target))

    def remove(self, path: Path) -> None:
        self._change(lambda: Disk.remove(self, path))

    def _change(self, change: Callable[[], None]) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise PowerCutError
        change()
        if self._left == 0:
            raise PowerCutError


class Units:
    """Stands for systemctl: it notes what it is told."""

    def __init__(self, failing: str = "") -> None:
        self.commands: list[str] = []
        self._failing = failing

    def __call__(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        self.commands.append(" ".join(command))
        status = int(bool(self._failing) and self._failing in self.commands[-1])
        return subprocess.CompletedProcess(command, status, "ActiveState=active\nNRestarts=0\n", "out of memory")


def keeper(root: Path, disk: Disk | None = None, units: Units | None = None) -> Keeper:
    return Keeper(root, disk or MortalDisk(0, after=False), units or Units())


def deployment(release: str, *extra: str) -> dict[str, Any]:
    files = [{"path": path, "mode": "0644", "text": f"{path} of {release}"} for path in (SETTINGS, UNIT, *extra)]
    return {"release": release, "files": files, "limits": {"window_s": 0.1, "start_s": 0.2}, "broker": {}}


def install(root: Path, release: str) -> None:
    folder = root / "opt/avatar-appliance/releases" / release
    folder.mkdir(parents=True)
    (folder / "release.json").write_text(json.dumps({"version": release, "manifest_sha256": release}))


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device on which the old release has proved itself, and the new one is installed."""
    install(tmp_path, OLD)
    keeper(tmp_path).deploy(deployment(OLD))
    keeper(tmp_path).commit()
    install(tmp_path, NEW)
    return tmp_path


def live(root: Path) -> str:
    """The release that everything on the device belongs to; fails where things are between."""
    link = (root / "opt/avatar-appliance/current").readlink().name
    for path in (SETTINGS, UNIT):
        assert (root / path.lstrip("/")).read_text() == f"{path} of {link}"
    assert (root / EXTRA.lstrip("/")).exists() == (link == NEW)
    assert (root / "opt/avatar-appliance/releases" / link / "release.json").exists()
    assert keeper(root).status()["release"] == link
    return link


def test_a_new_release_brings_its_settings_and_units_with_it(device: Path) -> None:
    keeper(device).deploy(deployment(NEW, EXTRA))

    assert live(device) == NEW
    assert keeper(device).state().on_trial


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_power_cut_at_any_change_of_a_switch_leaves_old_or_new(
    device: Path, after: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ends = set()
    for step in range(1, 100):
        root = _copied(device, tmp_path_factory)
        try:
            keeper(root, MortalDisk(step, after)).deploy(deployment(NEW, EXTRA))
        except PowerCutError:
            keeper(root).guard()
            ends.add(live(root))
        else:
            assert step > 5  # the record, the truth, two files, the link at least
            break

    assert ends == {OLD, NEW}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_power_cut_at_any_change_of_going_back_leaves_the_way_back_open(
    device: Path, after: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keeper(device).deploy(deployment(NEW, EXTRA))
    for step in range(1, 100):
        root = _copied(device, tmp_path_factory)
        try:
            keeper(root, MortalDisk(step, after)).back("it is not well")
        except PowerCutError:
            keeper(root).guard()
            assert live(root) in (OLD, NEW)
            if live(root) == NEW:  # it was cut before anything was decided: the trial goes on
                keeper(root).back("it is still not well")
        else:
            assert step > 3
            break
        assert live(root) == OLD


def test_power_cut_while_the_boot_mends_a_cut_is_mended_by_the_next_boot(
    device: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(PowerCutError):
        keeper(device, MortalDisk(4, after=True)).deploy(deployment(NEW, EXTRA))
    for step in range(1, 100):
        root = _copied(device, tmp_path_factory)
        try:
            keeper(root, MortalDisk(step, after=False)).guard()
        except PowerCutError:
            keeper(root).guard()
            assert live(root) in (OLD, NEW)
        else:
            break
    assert step > 3


def test_the_second_boot_within_a_trial_goes_back(device: Path) -> None:
    keeper(device).deploy(deployment(NEW, EXTRA))
    for _ in range(BOOTS_ON_TRIAL - 1):
        keeper(device).guard()
        assert live(device) == NEW

    keeper(device).guard()

    assert live(device) == OLD
    assert "booted 2 times" in keeper(device).state().last


def test_a_boot_leaves_what_a_person_changed_by_hand(device: Path) -> None:
    (device / SETTINGS.lstrip("/")).write_text("changed by hand")

    keeper(device).guard()

    assert (device / SETTINGS.lstrip("/")).read_text() == "changed by hand"


def test_a_boot_stops_nothing_for_the_appliance_waits_to_be_started(device: Path) -> None:
    with pytest.raises(PowerCutError):
        keeper(device, MortalDisk(3, after=True)).deploy(deployment(NEW, EXTRA))
    units = Units()

    keeper(device, units=units).guard()

    assert units.commands == ["systemctl daemon-reload"]


def test_a_killed_keeper_is_mended_without_a_boot(device: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    for step in range(1, 100):
        root = _copied(device, tmp_path_factory)
        try:
            keeper(root, MortalDisk(step, after=True)).deploy(deployment(NEW, EXTRA))
        except PowerCutError:
            watch(keeper(root), lambda _: lambda _: WELL)
            assert live(root) in (OLD, NEW)
            assert not keeper(root).state().on_trial
        else:
            break


def test_a_board_has_its_engines_before_anything_is_stopped(device: Path) -> None:
    (device / "etc/nv_tegra_release").write_text("# R36")
    units = Units()

    keeper(device, units=units).deploy(deployment(NEW, EXTRA))

    built = next(place for place, command in enumerate(units.commands) if "engines prepare" in command)
    assert built < units.commands.index("systemctl stop avatar-appliance.service")
    assert (device / f"opt/avatar-appliance/releases/{NEW}/storage/models").readlink() == Path("../models")


def test_engines_of_old_and_new_lie_in_one_store_outside_the_releases(device: Path) -> None:
    (device / "etc/nv_tegra_release").write_text("# R36")
    store = Path("/var/lib/avatar-appliance/engines")
    plan = device / "var/lib/avatar-appliance/engines/old.plan"
    plan.parent.mkdir(parents=True, exist_ok=True)
    plan.write_bytes(b"of the old JetPack")

    keeper(device).deploy(deployment(NEW, EXTRA))
    keeper(device).back("not well")

    assert (device / f"opt/avatar-appliance/releases/{NEW}/storage/engines").readlink() == store
    assert (live(device), plan.read_bytes()) == (OLD, b"of the old JetPack")


def test_a_board_that_cannot_build_engines_keeps_what_it_has(device: Path) -> None:
    (device / "etc/nv_tegra_release").write_text("# R36")

    with pytest.raises(KeeperError, match="cannot be built: out of memory; nothing changed"):
        keeper(device, units=Units("engines prepare")).deploy(deployment(NEW, EXTRA))

    assert live(device) == OLD
    assert not keeper(device).state().on_trial


def test_a_release_that_is_not_whole_is_refused(device: Path) -> None:
    (device / "opt/avatar-appliance/releases" / NEW / "release.json").unlink()

    with pytest.raises(KeeperError, match=r"2\.0\.0 is not installed"):
        keeper(device).deploy(deployment(NEW))
    assert live(device) == OLD


def test_only_what_runs_and_the_way_back_are_kept(device: Path) -> None:
    keeper(device).deploy(deployment(NEW, EXTRA))
    keeper(device).commit()
    install(device, "3.0.0")

    keeper(device).deploy(deployment("3.0.0"))

    assert sorted(keeper(device).installed()) == [NEW, "3.0.0"]


def test_a_deployment_that_never_proved_itself_is_no_way_back(device: Path) -> None:
    keeper(device).deploy(deployment(NEW, EXTRA))
    install(device, "3.0.0")
    keeper(device).deploy(deployment("3.0.0"))

    keeper(device).back("it is not well")

    assert keeper(device).status()["release"] == OLD


def test_without_a_way_back_a_bad_release_stays_and_says_so(tmp_path: Path) -> None:
    install(tmp_path, OLD)
    keeper(tmp_path).deploy(deployment(OLD))

    assert not keeper(tmp_path).back("the service failed")

    assert "none was before it: the service failed" in keeper(tmp_path).state().last


def test_a_well_release_is_kept_and_a_silent_one_is_not(device: Path) -> None:
    keeper(device).deploy(deployment(NEW, EXTRA))
    watch(keeper(device), lambda _: lambda _: {})
    assert live(device) == OLD
    assert "it publishes no health" in keeper(device).state().last

    keeper(device).deploy(deployment(NEW, EXTRA))
    watch(keeper(device), lambda _: lambda _: WELL)
    assert live(device) == NEW
    assert not keeper(device).state().on_trial


def judged(*looks: tuple[float, Look], limits: Limits | None = None) -> str | None:
    trial = Trial(limits or Limits(window_s=60, start_s=30, latency_ms=50, memory_mb=900))
    verdict = None
    for at_s, look in looks:
        verdict = trial.judge(at_s, look)
    return verdict


RUNNING = Look(active=True, failed=False, restarts=0, health=WELL)
STARTING = Look(active=False, failed=False, restarts=0)


@pytest.mark.parametrize(
    ("looks", "verdict"),
    [
        ([(1, STARTING)], None),
        ([(31, STARTING)], "not well within 30 s: the service is not active"),
        ([(5, RUNNING), (64, RUNNING)], None),
        ([(5, RUNNING), (65, RUNNING)], ""),
        ([(5, RUNNING), (9, STARTING), (14, RUNNING)], None),
        ([(5, RUNNING), (16, STARTING)], "unwell for 10 s: the service is not active"),
        ([(5, Look(False, True, 0))], "the service failed"),
        ([(5, RUNNING), (6, Look(True, False, 2, WELL))], "the appliance ended by itself, restarts: 2"),
        ([(31, Look(True, False, 0))], "not well within 30 s: it publishes no health"),
        (
            [(31, Look(True, False, 0, {**WELL, "fps": {"cam0/0": 0.0}}))],
            "not well within 30 s: it publishes no frames",
        ),
        (
            [(31, Look(True, False, 0, {**WELL, "fps": {"cam0/0": 30.0, "cam1/0": 0.0}}))],
            "not well within 30 s: no frames of cam1/0",
        ),
        (
            [(31, Look(True, False, 0, {**WELL, "stages": {"total": {"p99_ms": 51.0}}}))],
            "not well within 30 s: latency 51 ms is above 50",
        ),
        ([(31, Look(True, False, 0, {**WELL, "rss_mb": 901.0}))], "not well within 30 s: memory 901 MB is above 900"),
    ],
)
def test_a_trial_is_judged_by_what_is_seen(looks: list[tuple[float, Look]], verdict: str | None) -> None:
    assert judged(*looks) == verdict


def _copied(device: Path, factory: pytest.TempPathFactory) -> Path:
    root = factory.mktemp("device")
    subprocess.run(["cp", "-a", f"{device}/.", str(root)], check=True)
    return root
