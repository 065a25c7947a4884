"""What ``appliance viewer --schema`` prints."""

import json

import pytest

from appliance.__main__ import main
from appliance.publish import wire


def test_all_schemas_are_printed_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["viewer", "--schema"]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert tuple(printed) == wire.SCHEMAS
    assert {schema["$id"] for schema in printed.values()} == {
        f"urn:avatar-appliance:v1:{name}" for name in wire.SCHEMAS
    }


@pytest.mark.parametrize("name", wire.SCHEMAS)
def test_one_schema_is_printed_as_info_has_its_digest(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["viewer", "--schema", name]) == 0

    assert capsys.readouterr().out == wire.schema_text(name)


def test_no_other_schema_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["viewer", "--schema", "pictures"])
    assert "invalid choice: 'pictures'" in capsys.readouterr().err
