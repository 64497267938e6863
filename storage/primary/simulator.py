"""Volumes without data: one small file each below the pool's directory, so that a killed process finds them again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from storage.errors import NotFound, SizeRefused
from storage.files import NAME, checked_name, io_errors
from storage.types import DiskSource, Format, PoolSpec, VolumeSpec

TOTAL = 100 << 40


class Record(msgspec.Struct):
    """A volume: its size in bytes and its format."""

    size: int
    format: Format


class SimulatorStorage:
    """Behaves like a pool of 100 TiB; the directory is made when it is not there. Sizes count as used in full."""

    def __init__(self, pool: PoolSpec) -> None:
        self._root = Path(pool.path)
        self._name = f"Pool {pool.id}"

    def create(self, volume: VolumeSpec, image_file: Path | None = None) -> None:  # noqa: ARG002 - holds no data
        path = self._root / checked_name(volume.id)
        if volume.image is not None and volume.size < volume.image.size:
            raise SizeRefused(f"Volume {volume.id} is smaller than its template {volume.image.id}.")
        with io_errors(self._name):
            self._root.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                self._write(path, Record(volume.size, volume.format))

    def delete(self, volume_id: str) -> None:
        if NAME.fullmatch(volume_id) is not None:
            with io_errors(self._name):
                (self._root / volume_id).unlink(missing_ok=True)

    def grow(self, volume_id: str, size: int) -> None:
        record = self._read(volume_id)
        if size < record.size:
            raise SizeRefused(f"Volume {volume_id} of {record.size} bytes cannot shrink to {size}.")
        with io_errors(self._name):
            self._write(self._root / volume_id, Record(size, record.format))

    def disk(self, volume_id: str) -> DiskSource:
        return DiskSource(str(self._root / volume_id), self._read(volume_id).format)

    def volumes(self) -> list[str]:
        with io_errors(self._name):
            if not self._root.is_dir():
                return []
            return sorted(path.name for path in self._root.iterdir() if NAME.fullmatch(path.name))

    def usage(self) -> tuple[int, int]:
        used = 0
        for volume_id in self.volumes():
            try:
                used += self._read(volume_id).size
            except NotFound:  # deleted since it was listed
                continue
        return TOTAL, used

    def _read(self, volume_id: str) -> Record:
        with io_errors(self._name):
            try:
                content = (self._root / checked_name(volume_id)).read_bytes()
            except FileNotFoundError:
                raise NotFound(f"Volume {volume_id} is not in pool {self._root}.") from None
        return msgspec.json.decode(content, type=Record)

    @staticmethod
    def _write(path: Path, record: Record) -> None:
        temporary = path.with_name(f".{path.name}.partial")
        temporary.write_bytes(msgspec.json.encode(record))
        temporary.replace(path)
