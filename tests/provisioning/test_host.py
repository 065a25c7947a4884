"""The program that looks at a device and changes it, on a folder and as it is sent."""

import getpass
import grp
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provisioning import desired
from provisioning.device import host
from provisioning.examining import _diff, _why_enrol, without_secrets

ME = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}


@pytest.fixture(autouse=True)
def aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "STAMPS", tmp_path / "stamps")
    monkeypatch.setattr(host, "LOCK", tmp_path / "lock")


def file(path: Path, text: str = "new\n", **more: Any) -> dict[str, Any]:
    return {"kind": "file", "path": str(path), "mode": "0640", "text": text, **ME, **more}


def test_what_was_made_is_the_same_the_next_time(tmp_path: Path) -> None:
    resources = [
        {"kind": "directory", "path": str(tmp_path / "d"), "mode": "0750", **ME},
        file(tmp_path / "d/f"),
        {"kind": "link", "path": str(tmp_path / "l"), "target": "d/f"},
        {"kind": "command", "title": "touch", "stamp": "1", "do": ["touch", str(tmp_path / "touched")]},
    ]

    first = list(host.apply(resources))
    second = list(host.apply(resources))

    assert [step["number"] for step in first if step["state"] == "made"] == [0, 1, 2, 3]
    assert second == []
    assert (tmp_path / "l").read_text() == "new\n"
    assert (tmp_path / "d/f").stat().st_mode & 0o777 == 0o640


def test_a_file_that_differs_is_shown_and_a_secret_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old\n")

    assert host.compare(file(tmp_path / "f")) == {"same": False, "before": "old\n"}
    assert host.compare(file(tmp_path / "f", secret=True)) == {"same": False, "before": None}


def test_a_file_with_another_mode_is_not_the_same(tmp_path: Path) -> None:
    list(host.apply([file(tmp_path / "f")]))
    (tmp_path / "f").chmod(0o644)

    assert not host.compare(file(tmp_path / "f"))["same"]


def test_a_command_is_done_again_when_what_it_reads_has_changed(tmp_path: Path) -> None:
    count = tmp_path / "count"
    for stamp in ("1", "1", "2"):
        do = ["sh", "-c", f"echo x >> {count}"]
        list(host.apply([{"kind": "command", "title": "count", "stamp": stamp, "do": do}]))

    assert count.read_text() == "x\nx\n"


def test_a_command_that_fails_says_why_and_is_tried_again() -> None:
    resource = {"kind": "command", "title": "try", "stamp": "1", "do": ["sh", "-c", "echo no room >&2; exit 1"]}

    for _ in range(2):
        with pytest.raises(host.HostError, match=r"try: .* failed: no room"):
            list(host.apply([resource]))


def test_a_door_that_cannot_be_undone_is_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    door = {"kind": "command", "title": "shut", "stamp": "1", "do": ["touch", str(tmp_path / "shut")], "undo": ["true"]}
    (tmp_path / "touch").symlink_to("/usr/bin/touch")
    monkeypatch.setenv("PATH", str(tmp_path))  # where no systemd-run is

    with pytest.raises(host.HostError, match="left alone"):
        host.make(door)
    assert not (tmp_path / "shut").exists()


def test_a_folder_with_files_is_not_replaced_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/a").write_text("a")

    with pytest.raises(host.HostError, match="is a folder with files"):
        host.make({"kind": "link", "path": str(tmp_path / "models"), "target": "elsewhere"})


def test_a_cut_copy_goes_on_where_it_broke(tmp_path: Path) -> None:
    target = tmp_path / "incoming/b.bundle"
    for offset, content in ((0, b"abc"), (3, b"defgh")):
        request = {"path": str(target), "offset": offset, "size": 8}
        told = sent("receive", request, content)

    assert told == [{"size": 8}]
    assert target.read_bytes() == b"abcdefgh"


def test_the_key_is_made_on_the_device_and_stays_there(tmp_path: Path) -> None:
    resource = {"key": str(tmp_path / "k"), "certificate": str(tmp_path / "c"), "user": "lobby/orin-07", **ME}

    assert host.request_of(resource, make_key=False) == {"request": "", "certificate": ""}
    answer = host.request_of(resource, make_key=True)

    assert "CERTIFICATE REQUEST" in answer["request"]
    assert "PRIVATE" not in json.dumps(answer)
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    assert _why_enrol(answer, set()) == "it has no certificate"


def test_facts_are_told_on_any_machine() -> None:
    told = sent("facts", {}, b"")

    assert told[0]["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert told[0]["free_mb"] > 0


def sent(action: str, request: dict[str, Any], content: bytes) -> list[dict[str, Any]]:
    """Run the program as it is sent: from standard input, its request and bytes after it."""
    program = Path(host.__file__).read_bytes()
    words = f"import sys;exec(compile(sys.stdin.buffer.read({len(program)}),'host','exec'))"
    text = program + json.dumps(request).encode() + b"\n" + content
    done = subprocess.run([sys.executable, "-c", words, action], input=text, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_passwords_in_addresses_are_taken_out() -> None:
    text = 'source = "rtsp://guard:secret@door/1" and mqtts://broker:8884'

    assert without_secrets(text) == 'source = "rtsp://***@door/1" and mqtts://broker:8884'


def test_a_diff_shows_that_an_address_changes_and_not_its_password() -> None:
    lines = _diff("f", 'a = "rtsp://guard:old@door"\n', 'a = "rtsp://guard:new@gate"\n')

    assert any(line.startswith("+a = ") and "gate" in line for line in lines)
    assert not any("old@" in line or "new@" in line for line in lines)


def test_keeper_files_are_switched_by_one_link() -> None:
    resources = list(desired.keeper_resources("ssh-ed25519 AAAA"))

    kinds = [(resource["kind"], resource.get("path", "")) for resource in resources]
    switch = kinds.index(("link", "/usr/local/lib/avatar-appliance/current"))
    sources = [place for place, (_, path) in enumerate(kinds) if path.endswith(".py")]
    assert len(sources) == 6
    assert max(sources) < switch
