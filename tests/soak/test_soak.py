"""The short form of the soak, and whether its judge would see what grows."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .observing import TENTHS, Latencies, Report, Sample

REPOSITORY = Path(__file__).parents[2]


def a_report(growth_mb: float = 0.0, leaked: int = 0, slower: float = 1.0) -> Report:
    shares = np.linspace(0, 0.999, 200)
    samples = [
        Sample(share, 300 + growth_mb * share, 340 + growth_mb * share, 13 + round(leaked * share), 16)
        for share in shares
    ]
    latencies = Latencies()
    for tenth in range(TENTHS):
        spread_ms = np.linspace(2, 8, 1000, dtype=np.float32)
        latencies.add((tenth + 0.5) / TENTHS, spread_ms * (slower if tenth == TENTHS - 1 else 1))
    return Report("test", 1.0, 60.0, 1000, samples, {"a turn": latencies})


def test_a_run_that_stays_as_it_was_passes() -> None:
    assert a_report().passed()


@pytest.mark.parametrize(
    ("report", "missed"),
    [
        (a_report(growth_mb=9), "memory growth of the daemon"),
        (a_report(leaked=3), "descriptors more"),
        (a_report(slower=1.3), "change of p99, a turn"),
    ],
    ids=["memory", "descriptors", "latency"],
)
def test_what_grows_is_seen(report: Report, missed: str) -> None:
    figure, limit = report.verdicts()[missed]

    assert figure > limit
    assert not report.passed()
    assert "MISSED" in report.text()


def test_a_percentile_is_what_it_is_of_all_values() -> None:
    latencies = Latencies()
    values_ms = np.random.default_rng(1).uniform(1, 20, 10_000).astype(np.float32)

    latencies.add(0.05, values_ms)

    assert latencies.percentile(0, 99) == pytest.approx(float(np.percentile(values_ms, 99)), abs=0.06)
    assert latencies.count() == 10_000


@pytest.mark.usefixtures("clip")
def test_half_a_minute_with_faults_leaves_the_daemon_as_it_was(tmp_path: Path) -> None:
    # Latency is judged by the long form alone: so short a run on a shared machine says nothing of it.
    options = ["--hours", "0.008", "--seed", "3", "--pause", "0.7", "--report", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "simulated", *options], cwd=REPOSITORY, capture_output=True, text=True
    )

    assert (tmp_path / "verdicts.json").exists(), done.stderr
    told = json.loads((tmp_path / "verdicts.json").read_text())
    assert told["failures"] == []
    assert told["notes"]["faults"] > 0  # how many fit in depends on how fast the machine is
    missed = {name for name, (figure, limit) in told["verdicts"].items() if figure > limit}
    assert missed <= {name for name in told["verdicts"] if "p99" in name}, done.stdout
