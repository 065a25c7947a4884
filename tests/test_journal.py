import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import journal
from appliance.values import Event

SAY = "import sys; from appliance import journal; print(journal.handler() is not None)"


def made_where_stream_is(stream: str, error: Path) -> bool:
    with error.open("wb") as file:
        status = os.fstat(file.fileno())
        environment = {**os.environ, "JOURNAL_STREAM": stream.format(device=status.st_dev, inode=status.st_ino)}
        done = subprocess.run(
            [sys.executable, "-c", SAY], stdout=subprocess.PIPE, stderr=file, env=environment, check=True
        )
    return done.stdout == b"True\n"


def test_lines_go_to_the_journal_where_standard_error_does(tmp_path: Path) -> None:
    assert made_where_stream_is("{device}:{inode}", tmp_path / "error")


@pytest.mark.parametrize("stream", ["", "{device}:0", "nonsense"])
def test_lines_stay_lines_where_standard_error_leads_elsewhere(tmp_path: Path, stream: str) -> None:
    assert not made_where_stream_is(stream, tmp_path / "error")


def test_an_event_is_found_by_its_name_and_by_its_camera() -> None:
    fields = journal.fields(Event("camera_lost", {"camera": "cam0", "reason": "no picture for 2 s"}))

    assert fields == {"EVENT": "camera_lost", "CAMERA": "cam0"}


def test_an_event_is_a_line_that_reads_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    journal.note(Event("camera_lost", {"camera": "cam0", "reason": "no picture for 2 s"}))

    record = caplog.records[-1]
    assert record.getMessage() == "camera_lost: camera cam0, reason no picture for 2 s"
    assert record.levelno == logging.WARNING
    assert vars(record)["CAMERA"] == "cam0"


def test_every_field_has_a_name_that_the_journal_takes() -> None:
    details = dict.fromkeys(("camera", "microphone", "stream", "slot", "session", "level", "model"), 1)

    for name in journal.fields(Event("face_found", details)):
        assert name.isascii()
        assert name.isalpha()
        assert name.isupper()


def test_an_event_without_details_is_a_line_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    journal.note(Event("identified"))

    assert caplog.records[-1].getMessage() == "identified"
