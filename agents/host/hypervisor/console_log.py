"""What guests wrote to their serial consoles, bounded in size.

QEMU appends to `<vm id>.log`; when that has grown past the bound it is copied to `<vm id>.old` and cut to nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from storage.files import NAME


class ConsoleLogs:
    """The logs below `directory`; up to twice `bound` bytes are kept of each console."""

    def __init__(self, directory: Path, bound: int) -> None:
        self.directory = directory
        self._bound = bound

    def prepare(self, vm_id: str) -> None:
        """Begin the log of a new boot, with the former boot's kept as the old part."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        current = self._current(vm_id)
        if current.exists():
            current.replace(self._old(vm_id))

    def trim(self) -> None:
        """Cut the logs that have grown past the bound; QEMU goes on at their new end."""
        if not self.directory.is_dir():
            return
        for path in self.directory.glob("*.log"):
            try:
                if path.stat().st_size > self._bound:
                    self._keep_tail(path)
                    os.truncate(path, 0)
            except FileNotFoundError:  # removed since it was listed
                continue

    def _keep_tail(self, path: Path) -> None:
        with path.open("rb") as source, path.with_suffix(".old").open("wb") as target:
            source.seek(-self._bound, os.SEEK_END)
            shutil.copyfileobj(source, target)

    def read(self, vm_id: str, limit: int) -> str:
        """The last `limit` bytes as text."""
        if NAME.fullmatch(vm_id) is None:
            return ""
        current = _tail(self._current(vm_id), limit)
        missing = limit - len(current)
        old = _tail(self._old(vm_id), missing) if missing > 0 else b""
        return (old + current).decode("utf-8", errors="replace")

    def remove(self, vm_id: str) -> None:
        if NAME.fullmatch(vm_id) is None:
            return
        self._current(vm_id).unlink(missing_ok=True)
        self._old(vm_id).unlink(missing_ok=True)

    def _current(self, vm_id: str) -> Path:
        return self.directory / f"{vm_id}.log"

    def _old(self, vm_id: str) -> Path:
        return self.directory / f"{vm_id}.old"


def _tail(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(max(0, length - limit))
            return file.read(limit)
    except FileNotFoundError:
        return b""
