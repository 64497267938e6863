"""Values of storage that cross package borders. Sizes are in bytes; formats are recorded once and never probed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["qcow2", "raw"]


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A primary storage pool as a host reaches it; `driver` is a key of storage.primary.DRIVERS."""

    id: str
    driver: str
    path: str


@dataclass(frozen=True, slots=True)
class ImageStoreSpec:
    """A secondary storage; `driver` is a key of storage.images.DRIVERS, `path` a directory or URL for it."""

    id: str
    driver: str
    path: str


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """A template that lies ready in secondary storage.

    `checksum` is '{sha256}<hex>' of the stored file, `size` the virtual size, `physical_size` the file's.
    """

    id: str
    store: ImageStoreSpec
    format: Format
    size: int
    physical_size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A volume wanted in `pool`, empty or on top of a template."""

    id: str
    pool: PoolSpec
    size: int
    format: Format = "qcow2"
    image: ImageSpec | None = None


@dataclass(frozen=True, slots=True)
class DiskSource:
    """How a domain attaches a volume: a file path or block device, and the recorded format."""

    path: str
    format: Format
    kind: Literal["file", "block"] = "file"


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image proved to be when it was taken in: recorded once and passed to every later call."""

    format: Format
    size: int
    physical_size: int
    checksum: str
