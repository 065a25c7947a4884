"""A trial: watch a new deployment, and commit it or go back."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .releases import SERVICE, Keeper, Run

SICK_S = 10.0  # a well appliance may be unwell this long
_STEP_S = 1.0

ReadHealth = Callable[[float], dict[str, Any]]
"""The next health within so many seconds; empty where none came."""


@dataclass(frozen=True)
class Limits:
    """What a deployment must keep to be well, and for how long."""

    window_s: float = 120.0
    start_s: float = 60.0  # from start to the first sign of health
    latency_ms: float = 0.0  # p99 of the whole; 0: no limit
    memory_mb: float = 0.0  # of all its processes; 0: no limit


@dataclass(frozen=True)
class Look:
    """What one look at the appliance found."""

    active: bool
    failed: bool
    restarts: int
    health: dict[str, Any] = field(default_factory=dict)


@dataclass
class Trial:
    """How a trial goes; times in seconds since its watch began."""

    limits: Limits
    well_since_s: float | None = None
    last_well_s: float | None = None

    def judge(self, now_s: float, look: Look) -> str | None:
        """Why to go back; empty: commit; ``None``: watch on."""
        if look.failed:
            return "the service failed"
        if look.restarts > 0:
            return f"the appliance ended by itself, restarts: {look.restarts}"
        unwell = why_unwell(look, self.limits)
        if not unwell:
            self.well_since_s = now_s if self.well_since_s is None else self.well_since_s
            self.last_well_s = now_s
            return "" if now_s - self.well_since_s >= self.limits.window_s else None
        if self.last_well_s is None:
            return f"not well within {self.limits.start_s:.0f} s: {unwell}" if now_s > self.limits.start_s else None
        return f"unwell for {SICK_S:.0f} s: {unwell}" if now_s - self.last_well_s > SICK_S else None


def why_unwell(look: Look, limits: Limits) -> str:
    """What is wrong with an appliance; empty where it is well."""
    if not look.active:
        return "the service is not active"
    if not look.health:
        return "it publishes no health"
    fps = look.health.get("fps") or {}
    if not any(fps.values()):
        return "it publishes no frames"
    silent = [stream for stream, rate in fps.items() if not rate and stream.endswith("/0")]
    if silent:
        return f"no frames of {', '.join(silent)}"
    latency_ms = ((look.health.get("stages") or {}).get("total") or {}).get("p99_ms", 0.0)
    if limits.latency_ms and latency_ms > limits.latency_ms:
        return f"latency {latency_ms:.0f} ms is above {limits.latency_ms:.0f}"
    memory_mb = look.health.get("rss_mb") or 0.0
    if limits.memory_mb and memory_mb > limits.memory_mb:
        return f"memory {memory_mb:.0f} MB is above {limits.memory_mb:.0f}"
    return ""


def watch(keeper: Keeper, listen: Callable[[dict[str, Any]], ReadHealth]) -> None:
    """See a trial to its end; ``listen`` makes what reads the health from the deployment's broker."""
    with keeper.alone():  # who deploys has done so
        keeper.mend()
        state = keeper.state()
    if not state.on_trial:
        return
    deployment = keeper.deployment(state.active)
    read_health = listen(deployment["broker"])
    trial = Trial(Limits(**deployment["limits"]))
    began_s = time.monotonic()
    while True:
        health = read_health(2 * _STEP_S)
        verdict = trial.judge(time.monotonic() - began_s, _look(keeper.run, health))
        with keeper.alone():
            now = keeper.state()
            if now.active != state.active or not now.on_trial:
                return  # another deployment took its place: its own watch follows
            if verdict is not None:
                keeper.back(verdict) if verdict else keeper.commit()
                return
        time.sleep(_STEP_S / 4)


def _look(run: Run, health: dict[str, Any]) -> Look:
    answer = run(["systemctl", "show", SERVICE, "-p", "ActiveState,NRestarts"]).stdout
    shown = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    state = shown.get("ActiveState", "")
    return Look(state == "active", state == "failed", int(shown.get("NRestarts") or 0), health)
