"""Writes api_docs/commands.json, the description of every command, from the table of commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from manager.api.command import COMMANDS
from manager.api.commands import load_all
from manager.api.discovery import describe

FILE = Path("api_docs/commands.json")


def commands() -> list[dict[str, Any]]:
    """All commands in the order of their names, with what listApis does not tell: roles, shape, keys, event."""
    load_all()
    described = []
    for name in sorted(COMMANDS):
        api = COMMANDS[name]
        extra = {
            "roles": list(api.roles),
            "shape": api.shape,
            "wrapper": api.wrapper,
            "objectkey": api.object_key,
            "event": api.event,
            "creates": api.creates,
        }
        described.append(describe(api) | extra)
    return described


def write(file: Path = FILE) -> None:
    file.write_text(json.dumps(commands(), indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
