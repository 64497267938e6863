"""The facts of CloudStack 4.22 that the contract test needs, cut out of a fuller description of its API.

`python -m tests.unit.api.facts SOURCE` writes cloudstack_facts.json beside this file. For each command:
[asynchronous, creates, wrapper, shape, object key, response class, {parameter: type, with * where required}]; for
each response class {field: JSON type}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("cloudstack_facts.json")


def compact(source: dict[str, Any]) -> dict[str, Any]:
    commands = {
        name: _command(command) for name, command in sorted(source["commands"].items()) if command.get("in_4_22")
    }
    used = {entry[5] for entry in commands.values()}
    responses = {
        name: {field["name"]: field["json"] for field in response["fields"] if field.get("in_4_22", True)}
        for name, response in sorted(source["responses"].items())
        if name in used
    }
    return {"commands": commands, "responses": responses}


def _command(command: dict[str, Any]) -> list[Any]:
    answer = command["response"]
    parameters = {
        p["name"]: p["type"] + ("*" if p.get("required_4_22", p["required"]) else "")
        for p in [*command["params"], *command.get("params_4_22_only", [])]
        if p.get("in_4_22", True)
    }
    return [
        command.get("isasync_4_22", command["isasync"]),
        command["async_create"],
        answer.get("wrapper", ""),
        answer["shape"],
        answer.get("object_key", ""),
        answer.get("class", ""),
        parameters,
    ]


if __name__ == "__main__":
    facts = compact(json.loads(Path(sys.argv[1]).read_text()))
    FILE.write_text(json.dumps(facts, separators=(",", ":"), sort_keys=True) + "\n")
