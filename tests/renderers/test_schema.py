"""What ``appliance viewer --schema`` prints."""

import json

import pytest

from appliance.__main__ import main
from appliance.publish import wire


def test_all_schemas_are_printed_by_name(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["viewer", "--schema"]) == 0

    printed = json.loads(capfd.readouterr().out)
    assert tuple(printed) == wire.SCHEMAS
    assert {schema["$id"] for schema in printed.values()} == {
        f"urn:avatar-appliance:v1:{name}" for name in wire.SCHEMAS
    }


@pytest.mark.parametrize("name", wire.SCHEMAS)
def test_one_schema_is_printed_as_info_has_its_digest(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["viewer", "--schema", name]) == 0

    assert capfd.readouterr().out == wire.schema_text(name)


def test_no_other_schema_exists(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["viewer", "--schema", "pictures"])
    assert "invalid choice: 'pictures'" in capfd.readouterr().err
