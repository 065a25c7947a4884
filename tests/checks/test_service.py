from pathlib import Path

import pytest

from appliance.checks.finding import Verdict
from appliance.checks.service import judge, service

RUNNING = {
    "LoadState": "loaded",
    "UnitFileState": "enabled",
    "ActiveState": "active",
    "Result": "success",
    "ExecMainStatus": "0",
    "NRestarts": "0",
    "StatusText": "sending cam0/0 30 frames/s",
}


@pytest.mark.parametrize(
    ("differing", "verdict", "words"),
    [
        ({}, Verdict.FINE, "active: sending cam0/0 30 frames/s"),
        ({"UnitFileState": "disabled"}, Verdict.FINE, "active"),  # the kiosk's target wants it
        ({"LoadState": "not-found"}, Verdict.WEAK, "not installed"),
        ({"ActiveState": "inactive"}, Verdict.FINE, "inactive"),
        ({"ActiveState": "inactive", "UnitFileState": "disabled"}, Verdict.WEAK, "nothing starts it"),
        ({"NRestarts": "3"}, Verdict.WEAK, "after 3 restarts"),
        (
            {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"},
            Verdict.STOP,
            "exit-code, status 78",
        ),
        ({"ActiveState": "failed", "Result": "watchdog"}, Verdict.STOP, "watchdog"),
    ],
)
def test_what_systemd_says_is_judged(differing: dict[str, str], verdict: Verdict, words: str) -> None:
    finding = judge({**RUNNING, **differing})

    assert finding.verdict is verdict
    assert words in finding.text
    assert bool(finding.cure) == (verdict is not Verdict.FINE)


def test_a_systemd_that_says_nothing_has_no_unit() -> None:
    assert judge({}).verdict is Verdict.WEAK


def test_a_machine_without_systemd_needs_no_service(tmp_path: Path) -> None:
    finding = service(tmp_path)

    assert finding.verdict is Verdict.FINE
    assert "by hand" in finding.text
