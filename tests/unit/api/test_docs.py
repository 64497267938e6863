"""The checked-in description of the API is the one that the declarations give."""

from __future__ import annotations

import json
from pathlib import Path

from manager.api import docs

STORED = Path(__file__).parents[3] / docs.FILE


def test_commands_json_is_up_to_date(tmp_path):
    """After a change of a command: ./dev docs."""
    docs.write(tmp_path / "commands.json")
    assert STORED.read_text() == (tmp_path / "commands.json").read_text()


def test_every_command_and_parameter_is_described():
    for command in json.loads(STORED.read_text()):
        assert command["description"].strip(), command["name"]
        for parameter in command["params"]:
            assert parameter["description"].strip(), (command["name"], parameter["name"])
