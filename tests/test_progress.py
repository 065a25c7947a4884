"""How long work says how far it is."""

import pytest

from appliance import progress
from appliance.progress import Progress


def test_a_log_gets_a_plain_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s)

    with Progress() as shown:
        for second in range(31):
            now_s = float(second)
            shown.show(f"{second} of 30")

    assert capsys.readouterr().err == "10 of 30\n20 of 30\n30 of 30\n"


def test_a_terminal_has_one_line_that_is_gone_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)

    with Progress() as shown:
        now_s = 1.0
        shown.show("half")
        shown.show("too soon to see")

    assert capsys.readouterr().err == "\r\x1b[Khalf\r\x1b[K"
