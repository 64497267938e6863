"""INI files as CloudMonkey, cs and this shell write them: settings may stand before the first section."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

Sections = dict[str, dict[str, str]]


def read(path: Path) -> Sections:
    """Sections with their settings, names in lower case; those before the first section are in "". Absent: empty.

    Values are taken as they stand: a secret key may hold any of % ; # =.
    """
    found: Sections = {"": {}}
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    section = found[""]
    for line in map(str.strip, text.splitlines()):
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            section = found.setdefault(line[1:-1].strip(), {})
            continue
        name, sign, value = line.partition("=")
        if sign:
            section[name.strip().lower()] = value.strip()
    return found


def write(path: Path, sections: Sections) -> None:
    lines = []
    for section, values in sections.items():
        if section:
            lines.append(f"\n[{section}]")
        lines += [f"{name} = {value}" for name, value in values.items()]
    write_private(path, "\n".join(lines).lstrip("\n") + "\n")


def write_private(path: Path, text: str) -> None:
    """Put `text` in a file that only its owner may read, at once and whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
