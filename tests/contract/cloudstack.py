"""The facts of CloudStack 4.22's API that tests hold Pileus against, and how they are cut out of its description.

`python -m tests.contract.cloudstack DESCRIPTION CLIENTS` writes cloudstack-4.22.json.xz beside this file. DESCRIPTION
has the names, types and flags of Apache CloudStack 4.22's listApis; CLIENTS is a JSON list of the commands that
apache-libcloud 3.9.1, Ansible's ngine_io.cloudstack (in ansible 12.3) or the Terraform provider call. The file holds

- `commands`: name -> [asynchronous, creates, wrapper, shape, object key, response class, {parameter: type}], with
  * after the type of a parameter that is required, and `list uuid` for a list of identifiers;
- `responses`: class -> {field: JSON type}, with the class after `array` or `object` where its fields are declared;
- `later`: the commands that only a later version has, and `clients`: the commands that clients call.
"""

from __future__ import annotations

import json
import lzma
import sys
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("cloudstack-4.22.json.xz")


@cache
def facts() -> dict[str, Any]:
    return json.loads(lzma.decompress(FILE.read_bytes()))


def compact(source: dict[str, Any], clients: list[str]) -> dict[str, Any]:
    there = {name: command for name, command in sorted(source["commands"].items()) if command["in_4_22"]}
    commands = {name: _command(command) for name, command in there.items()}
    responses: dict[str, dict[str, str]] = {}
    open_ = {entry[5] for entry in commands.values()} & set(source["responses"])
    while open_:
        name = open_.pop()
        responses[name] = _fields(source["responses"], name)
        nested = {kind.partition(" ")[2] for kind in responses[name].values()} - {""}
        open_ |= nested - set(responses)
    later = sorted(set(source["commands"]) - set(there))
    return {"commands": commands, "responses": responses, "later": later, "clients": sorted(clients)}


def _command(command: dict[str, Any]) -> list[Any]:
    answer = command["response"]
    parameters = {
        p["name"]: _type(p) + ("*" if p.get("required_4_22", p["required"]) else "")
        for p in [*command["params"], *command.get("params_4_22_only", [])]
        if p.get("in_4_22", True)
    }
    return [
        command.get("isasync_4_22", command["isasync"]), command["async_create"], answer.get("wrapper", ""),
        answer["shape"], answer.get("object_key", ""), answer.get("class", ""), parameters,
    ]  # fmt: skip


def _type(parameter: dict[str, Any]) -> str:
    return "list uuid" if parameter.get("collection_type") == "uuid" else parameter["type"]


def _fields(responses: dict[str, Any], name: str) -> dict[str, str]:
    fields = {}
    for field in responses[name]["fields"]:
        if field.get("in_4_22", True):
            inner = field.get("object", "") if field["json"] in ("array", "object") else ""
            fields[field["name"]] = f"{field['json']} {inner}" if inner in responses else field["json"]
    return fields


if __name__ == "__main__":
    description, clients = (json.loads(Path(argument).read_text()) for argument in sys.argv[1:3])
    text = json.dumps(compact(description, clients), separators=(",", ":"), sort_keys=True)
    FILE.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
