"""Writes the generated part of api_docs/ from the table of commands and the stored answers to the examples."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from manager.api import openapi, pages
from manager.api.command import COMMANDS
from manager.api.commands import load_all
from manager.api.discovery import describe

FOLDER = Path("api_docs")
FILE = FOLDER / "commands.json"
GENERATED = ("commands", "responses")
"""The folders of which nothing is written by hand."""


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


def files(folder: Path = FOLDER) -> dict[str, str]:
    """The text of every generated file, by its path in `folder`, where guides, decisions and examples are read."""
    made = {"commands.json": _json(commands()), "openapi.json": _json(openapi.document())}
    made["index.md"] = pages.index(_titles(folder, "guides"), _titles(folder, "decisions"))
    examples = _examples(folder)
    made |= {f"commands/{name}.md": pages.command_page(COMMANDS[name], examples[name]) for name in sorted(COMMANDS)}
    made |= {f"responses/{name}.md": pages.response_page(shown) for name, shown in pages.responses().items()}
    return made


def stale(folder: Path = FOLDER) -> list[Path]:
    """Pages of what is there no more."""
    made = files(folder)
    found = [file for name in GENERATED for file in sorted((folder / name).glob("*.md"))]
    return [file for file in found if file.relative_to(folder).as_posix() not in made]


def write(folder: Path = FOLDER) -> None:
    for file in stale(folder):
        file.unlink()
    for name, text in files(folder).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _titles(folder: Path, name: str) -> dict[str, str]:
    found = {}
    for file in sorted((folder / name).glob("*.md")):
        found[f"{name}/{file.name}"] = file.read_text().split("\n", maxsplit=1)[0].lstrip("# ").strip()
    return found


def _examples(folder: Path) -> dict[str, list[pages.Example]]:
    """What was asked and answered, by command."""
    found: dict[str, list[pages.Example]] = defaultdict(list)
    for file in sorted((folder / "examples").glob("*.json")):
        for example in json.loads(file.read_text()):
            found[example["command"]].append(example)
    return found


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
