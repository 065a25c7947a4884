"""Run the daemon for a long time, and say whether it is as it was at the beginning.

``simulated`` runs it as fast as it goes: hours of frames, hundreds of visitors, and faults of camera, microphone and
broker at random from a seed, on any machine. ``device`` looks on while a real appliance works, for a week if you like.
Exit status 0 if memory, descriptors, threads and latency stayed as they were, else 1.
"""

import argparse
import sys
from pathlib import Path

from tests.soak.device import watch
from tests.soak.simulated import Haste, simulate


def main() -> int:
    """Run one form; print its report."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    forms = parser.add_subparsers(dest="form", required=True)
    hurried = forms.add_parser("simulated", help="as fast as it goes, with faults")
    hurried.add_argument("--hours", type=float, default=4.0, help="simulated hours of frames")
    hurried.add_argument("--fps", type=int, default=30, help="simulated pictures a second")
    hurried.add_argument("--seed", type=int, default=1)
    hurried.add_argument("--pause", type=float, default=7.0, help="mean seconds from one fault of a device to the next")
    patient = forms.add_parser("device", help="look on at a running appliance")
    patient.add_argument("--hours", type=float, default=168.0)
    patient.add_argument("--config", type=Path, help="the appliance's settings file", required=True)
    patient.add_argument("--pid", type=int, help="its process; else systemd is asked")
    for form in (hurried, patient):
        form.add_argument("--report", type=Path, default=Path("soak"), help="folder for report.md and samples.jsonl")
    words = parser.parse_args()
    if words.form == "simulated":
        report = simulate(Haste(words.hours, words.fps, words.seed, words.pause), words.report)
    else:
        report = watch(words.hours, words.config, words.pid)
    print(report.write(words.report))
    return 0 if report.passed() else 1


if __name__ == "__main__":
    sys.exit(main())
