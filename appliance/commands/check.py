"""Look at the whole device and say what would stop it: one line a finding, with the cure."""

import argparse
import json
import logging
from dataclasses import asdict

from rich.console import Console

from appliance.checks.finding import Finding, Verdict
from appliance.checks.look import look
from appliance.settings import Settings

EXAMPLE = """
appliance check
appliance check --config ./booth.toml --json
"""

_STYLES = {Verdict.FINE: "green", Verdict.WEAK: "yellow", Verdict.STOP: "bold red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the form of the report."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Report; 1 if anything would stop the appliance."""
    if arguments.verbose:
        return _report(arguments, settings)
    logging.disable(logging.ERROR)  # the report says it, with the cure
    try:
        return _report(arguments, settings)
    finally:
        logging.disable(logging.NOTSET)


def _report(arguments: argparse.Namespace, settings: Settings) -> int:
    console = Console(soft_wrap=True, highlight=False)
    findings: list[Finding] = []
    for finding in look(settings):
        findings.append(finding)
        if not arguments.json:
            _print(console, finding)
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    return int(any(finding.verdict is Verdict.STOP for finding in findings))


def _print(console: Console, finding: Finding) -> None:
    cure = f" -> {finding.cure}" if finding.cure else ""
    verdict = f"[{_STYLES[finding.verdict]}]{finding.verdict.value}[/]"
    console.print(f"{verdict}  {finding.subject}: ", end="")
    console.print(f"{finding.text}{cure}", markup=False)
