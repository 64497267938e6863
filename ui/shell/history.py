"""The lines that were typed, kept for the user alone, without those that hold a secret."""

from __future__ import annotations

import os
from pathlib import Path

from ui.shell.client import is_secret
from ui.shell.grammar import split


def lines_of(path: Path) -> list[str]:
    """The kept lines, the oldest first."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def keep(path: Path, line: str) -> None:
    if not line.strip() or "\n" in line or has_secret(line):
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
        file.write(line + "\n")


def has_secret(line: str) -> bool:
    """Whether a word of the line is a secret: `password=x`, `set password x`, `-s x`."""
    words, _, _ = split(line)
    if words[:1] == ["set"] and any(is_secret(word) for word in words[1:2]):
        return True
    return any(word.startswith("-s") or ("=" in word and is_secret(word.partition("=")[0])) for word in words)
