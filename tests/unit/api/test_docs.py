"""The checked-in reference of the API is the one that the declarations and the examples give."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from manager.api import docs, openapi
from manager.api.command import COMMANDS

STORED = Path(__file__).parents[3] / docs.FOLDER
MADE = docs.files(STORED)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("name", sorted(MADE))
def test_generated_files_are_up_to_date(name):
    """After a change of a command: ./dev docs."""
    assert (STORED / name).read_text() == MADE[name]


def test_there_are_no_pages_of_what_is_gone():
    assert docs.stale(STORED) == []


def test_writing_makes_what_is_missing_and_removes_what_is_stale(tmp_path):
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "listUnicorns.md").write_text("# listUnicorns\n")
    docs.write(tmp_path)
    assert not (tmp_path / "commands" / "listUnicorns.md").exists()
    assert (tmp_path / "commands.json").read_text() == MADE["commands.json"]
    assert (tmp_path / "commands" / "listZones.md").read_text().startswith("# listZones\n")


def test_every_command_and_parameter_is_described():
    for command in docs.commands():
        assert command["description"].strip(), command["name"]
        for parameter in command["params"]:
            assert parameter["description"].strip(), (command["name"], parameter["name"])


@pytest.mark.parametrize("file", sorted(STORED.rglob("*.md")), ids=lambda file: file.relative_to(STORED).as_posix())
def test_links_lead_somewhere(file):
    for target in LINK.findall(re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL)):
        assert (file.parent / target).exists(), target


def _references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _references(item)


def test_openapi_refers_only_to_what_it_holds():
    document = json.loads(MADE["openapi.json"])
    for reference in set(_references(document)):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    assert {path.rsplit("/", 1)[1] for path in document["paths"]} == set(COMMANDS)


def test_openapi_tells_types_limits_and_forms():
    paths = openapi.document()["paths"]
    listing = paths["/client/api/listZones"]["get"]
    tags = next(p for p in listing["parameters"] if p["name"] == "tags")
    assert list(tags["schema"]["patternProperties"]) == [r"^tags\[[0-9]+\]\..+$"]
    ids = next(p for p in listing["parameters"] if p["name"] == "ids")
    assert (ids["explode"], ids["schema"]["items"]["format"]) == (False, "uuid")
    form = paths["/client/api/createServiceOffering"]["post"]["requestBody"]["content"]
    schema = form["application/x-www-form-urlencoded"]["schema"]
    assert schema["required"] == ["name"]
    assert schema["properties"]["memory"] == {
        "type": "integer", "format": "int32", "minimum": 32, "maximum": 2**31 - 1, "description": "memory in MiB",
    }  # fmt: skip
    job = paths["/client/api/deployVirtualMachine"]["post"]["responses"]["200"]["content"]["application/json"]
    content = job["schema"]["properties"]["deployvirtualmachineresponse"]
    assert content["required"] == ["jobid", "id"]
    assert "virtualmachine" in content["x-jobresult"]["properties"]
