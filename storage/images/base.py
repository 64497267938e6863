"""What secondary storage can do. Sizes are in bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage.types import DiskSource, Format, ImageFacts

Progress = Callable[[int, int], None]
"""Called with the bytes received so far and the bytes expected, 0 when that is unknown."""


def no_progress(received: int, expected: int) -> None:
    """For callers that do not watch."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """An image to take in.

    `url` is http, https or file; `checksum` is '' or as storage.checksums.parse_checksum reads it; `max_size` bounds
    the virtual size.
    """

    id: str
    url: str
    format: Format
    checksum: str
    max_size: int


class ImageStore(Protocol):
    """Holds images. Registering twice, or removing what is gone, is no error. Errors are of storage.errors."""

    def register(self, image: ImageRequest, progress: Progress = no_progress) -> ImageFacts:
        """Fetch, verify, inspect and keep an image; one that is there is left alone and its recorded facts given.

        :raises ImageRefused, SourceRefused, ChecksumMismatch, DownloadFailed: nothing is kept
        """

    def capture(self, image_id: str, source: DiskSource, size: int) -> ImageFacts:
        """Keep the contents of a disk of `size` bytes as a qcow2 image without a backing file; one that is there is
        left alone.

        :raises VolumeBusy: a domain has the disk open
        """

    def remove(self, image_id: str) -> None: ...

    def path(self, image_id: str) -> Path:
        """The image's file, to read only.

        :raises NotFound: it is not there
        """

    def images(self) -> list[str]:
        """Identifiers of all images that are whole, sorted."""
