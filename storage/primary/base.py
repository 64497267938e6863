"""What primary storage can do. Sizes are in bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from storage.types import DiskSource, VolumeSpec


class PrimaryStorage(Protocol):
    """Holds volumes. Creating twice, or deleting what is gone, is no error. Errors are of storage.errors."""

    def create(self, volume: VolumeSpec, image_file: Path | None = None) -> None:
        """Make a volume that is there whole or not at all, and leave one that is there alone.

        `image_file` is the template's file in secondary storage, read only when this pool has not cached it.
        :raises SizeRefused: the volume is smaller than its template
        """

    def delete(self, volume_id: str) -> None: ...

    def grow(self, volume_id: str, size: int) -> None:
        """Make a volume that no domain has open `size` bytes large. One that is as large already is left alone.

        :raises SizeRefused: it is larger
        :raises VolumeBusy: a domain has it open
        """

    def disk(self, volume_id: str) -> DiskSource:
        """How a domain attaches it.

        :raises NotFound: it is not there
        """

    def volumes(self) -> list[str]:
        """Identifiers of all volumes that are whole, sorted."""

    def usage(self) -> tuple[int, int]:
        """Total and used bytes of the pool."""
