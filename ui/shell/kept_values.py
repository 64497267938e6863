"""Rows for completion in other shells, which must answer at once: kept in a file, renewed by a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ui.shell import ini

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ui.shell.rows import Row

FRESH = 30.0  # seconds
USABLE = 3600.0  # seconds that kept rows are shown while newer ones are fetched
PAUSE = 5.0  # seconds between two attempts to renew the same rows
_ASKED = "asked "  # before the key of rows: when they were asked for last


class KeptValues:
    def __init__(self, path: Path, renewal: list[str]) -> None:
        self.path, self._renewal = path, renewal

    def __call__(self, name: str, sent: Mapping[str, str], value: str) -> list[Row]:  # noqa: ARG002 - as Values has it
        key = "&".join([name, *(f"{one}={sent[one]}" for one in sorted(sent))])
        known = self._read()
        at, rows = known.get(key, (0.0, []))
        now = time.time()
        asked_at, _ = known.get(_ASKED + key, (0.0, []))
        if now - at > FRESH and now - asked_at > PAUSE:
            self.keep(_ASKED + key, [])
            self._renew(key)
        return rows if now - at < USABLE else []

    def keep(self, key: str, rows: list[Row]) -> None:
        with contextlib.suppress(OSError):  # where nothing can be kept, nothing is completed
            ini.write_private(self.path, json.dumps({**self._read(), key: (time.time(), rows)}))

    def _read(self) -> dict[str, tuple[float, list[Row]]]:
        try:
            found: dict[str, tuple[float, list[Row]]] = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return found

    def _renew(self, key: str) -> None:
        """Begin what subprocess.Popen would begin, whose import alone takes as long as all the rest of an answer."""
        quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
        words = [sys.executable, "-m", "ui.shell", *self._renewal, key]
        os.posix_spawn(sys.executable, words, os.environ, file_actions=quiet, setsid=True)
