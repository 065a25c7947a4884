"""What a process uses, sample by sample, and what a long run of samples says."""

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance.health.processes import tree

TENTHS = 10
GROWTH_LIMIT, LATENCY_LIMIT = 0.02, 0.20
_BIN_MS, _BINS = 0.05, 20_000  # latencies up to a second; what is longer counts as a second


@dataclass(frozen=True)
class Sample:
    """One look at the daemon, ``share`` of the way through the run."""

    share: float
    rss_mb: float  # of the daemon's own process
    tree_own_mb: float  # of all its processes, without the files they map, which they may share with any program
    descriptors: int
    threads: int


def look(pid: int, share: float) -> Sample | None:
    """Look at a process; ``None`` where it has just ended."""
    try:
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return None
    uses = tree(pid)
    if not uses:
        return None
    return Sample(share, uses[0].rss_mb, sum(own_mb(use.pid) for use in uses), descriptors, threads)


def own_mb(pid: int) -> float:
    """Memory that is a process's alone, and that of its rings; 0 for one that has just ended."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))) / 1024
    return 0.0


def open_kinds(pid: int) -> Counter[str]:
    """What a process holds open, by kind: so that what leaks has a name."""
    kinds: Counter[str] = Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            kinds[os.readlink(f"/proc/{pid}/fd/{number}").split(":[")[0]] += 1
    return kinds


class Latencies:
    """Latencies by tenth of the run, in memory that does not grow."""

    def __init__(self) -> None:
        self._counts: npt.NDArray[np.int64] = np.zeros((TENTHS, _BINS), np.int64)

    def add(self, share: float, latency_ms: float | npt.NDArray[np.float32]) -> None:
        """Count one or many, all of the same tenth."""
        bins = np.clip(np.asarray(latency_ms) / _BIN_MS, 0, _BINS - 1).astype(np.int64)
        np.add.at(self._counts[tenth_of(share)], bins, 1)

    def count(self) -> int:
        """How many there are."""
        return int(self._counts.sum())

    def percentile(self, tenth: int, percent: float) -> float:
        """A percentile of one tenth, ms; 0 where it has none."""
        cumulative = np.cumsum(self._counts[tenth])
        if cumulative[-1] == 0:
            return 0.0
        return float((np.searchsorted(cumulative, cumulative[-1] * percent / 100) + 1) * _BIN_MS)


def tenth_of(share: float) -> int:
    """Which tenth of the run a moment is in."""
    return min(TENTHS - 1, max(0, int(share * TENTHS)))


@dataclass
class Report:
    """What a run came to."""

    what: str
    hours: float  # simulated, or by the clock
    lasted_s: float
    frames: int
    samples: list[Sample]
    latencies: Mapping[str, Latencies]  # by what was measured
    rested: tuple[Sample, Sample] | None = None  # before the first fault and after the last, all devices well
    notes: dict[str, object] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)  # beside those that the numbers show

    def medians(self, name: str) -> list[float]:
        """The median of one field of the samples in each tenth; a tenth without samples takes the one before."""
        medians: list[float] = []
        for tenth in range(TENTHS):
            values = [getattr(sample, name) for sample in self.samples if tenth_of(sample.share) == tenth]
            medians.append(float(np.median(values)) if values else medians[-1] if medians else 0.0)
        return medians

    def verdicts(self) -> dict[str, tuple[float, float]]:
        """By what must hold: its figure, and the limit that it may not exceed."""
        memory, every = self.medians("rss_mb"), self.medians("tree_own_mb")
        found = {
            "memory growth of the daemon": (memory[-1] / memory[0] - 1, GROWTH_LIMIT),
            "memory growth of all its processes": (every[-1] / every[0] - 1, GROWTH_LIMIT),
            "descriptors more": (self._more("descriptors"), 0.0),
            "threads more": (self._more("threads"), 0.0),
        }
        for name, latencies in self.latencies.items():
            first, last = latencies.percentile(0, 99), latencies.percentile(TENTHS - 1, 99)
            found[f"change of p99, {name}"] = (last / first - 1 if first else 0.0, LATENCY_LIMIT)
        return found

    def _more(self, name: str) -> float:
        """How much more there is of a thing at the end, all being well; by the medians of tenths without such looks."""
        if self.rested:
            before, after = (getattr(sample, name) for sample in self.rested)
            return float(after - before)
        medians = self.medians(name)
        return medians[-1] - medians[0]

    def passed(self) -> bool:
        """Whether everything holds."""
        return not self.failures and all(figure <= limit for figure, limit in self.verdicts().values())

    def write(self, folder: Path) -> str:
        """Write ``report.md``, ``verdicts.json`` and ``samples.jsonl`` into a folder; return the report."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(asdict(sample)) for sample in self.samples]
        (folder / "samples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        told = {"verdicts": self.verdicts(), "failures": self.failures, "notes": self.notes}
        (folder / "verdicts.json").write_text(json.dumps(told, indent=2), encoding="utf-8")
        text = self.text()
        (folder / "report.md").write_text(text, encoding="utf-8")
        return text

    def text(self) -> str:
        """The report, in Markdown."""
        rows = [
            f"# {self.what}",
            "",
            f"{self.hours:g} hours in {self.lasted_s / 60:.1f} minutes, {self.frames} frames, ended "
            f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC.",
            "",
            *(f"- {name}: {value}" for name, value in self.notes.items()),
            "",
            *_table(("must hold", "figure", "limit", ""), self._judged()),
            "",
            *_table(self._columns(), self._by_tenth()),
        ]
        rows += ["", *(f"- FAILED: {failure}" for failure in self.failures)]
        return "\n".join((*rows, "", "passed" if self.passed() else "NOT PASSED")) + "\n"

    def _judged(self) -> list[Sequence[str]]:
        return [
            (name, f"{figure:+.3f}", f"{limit:g}", "" if figure <= limit else "MISSED")
            for name, (figure, limit) in self.verdicts().items()
        ]

    def _columns(self) -> Sequence[str]:
        latencies = [f"{name}, {percent} ms" for name in self.latencies for percent in ("p50", "p99")]
        return ("tenth", "daemon MB", "all MB", "descriptors", "threads", *latencies)

    def _by_tenth(self) -> list[Sequence[str]]:
        fields = ("rss_mb", "tree_own_mb", "descriptors", "threads")
        columns = [[f"{value:.1f}" for value in self.medians(name)] for name in fields]
        for latencies in self.latencies.values():
            for percent in (50, 99):
                columns.append([f"{latencies.percentile(tenth, percent):.2f}" for tenth in range(TENTHS)])
        return [(str(tenth + 1), *(column[tenth] for column in columns)) for tenth in range(TENTHS)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
