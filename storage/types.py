"""Values of storage that cross package borders. Sizes are in bytes; formats are recorded once and never probed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["qcow2", "raw"]
Provisioning = Literal["thin", "sparse", "fat"]
"""thin takes the space that is written; sparse has its tables made whole; fat has all its space reserved."""
CacheMode = Literal["none", "writeback", "writethrough"]


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
    provisioning: Provisioning = "thin"


@dataclass(frozen=True, slots=True)
class DiskSource:
    """How a domain attaches a volume: a file path or block device, and the recorded format."""

    path: str
    format: Format
    kind: Literal["file", "block"] = "file"


@dataclass(frozen=True, slots=True)
class IoLimits:
    """What a guest may do with a disk, in bytes and operations per second; 0 for no limit.

    Up to a `_max` it may go for `_max_length` seconds, before it is held to the limit itself.
    """

    read_bytes: int = 0
    write_bytes: int = 0
    read_iops: int = 0
    write_iops: int = 0
    read_bytes_max: int = 0
    write_bytes_max: int = 0
    read_iops_max: int = 0
    write_iops_max: int = 0
    read_bytes_max_length: int = 0
    write_bytes_max_length: int = 0
    read_iops_max_length: int = 0
    write_iops_max_length: int = 0


UNLIMITED = IoLimits()


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image proved to be when it was taken in: recorded once and passed to every later call."""

    format: Format
    size: int
    physical_size: int
    checksum: str
