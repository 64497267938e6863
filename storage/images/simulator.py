"""Images without data: nothing is fetched, and the facts are made up from the request."""

from __future__ import annotations

from pathlib import Path

import msgspec

from storage.addresses import split_url
from storage.checksums import Checksum, parse_checksum
from storage.errors import NotFound
from storage.files import NAME, checked_name, io_errors
from storage.images.base import ImageRequest, Progress, no_progress
from storage.types import DiskSource, ImageFacts, ImageStoreSpec

SIZE = 1 << 30
PHYSICAL_SIZE = 64 << 20
CHECKSUM = str(Checksum("sha256", "0" * 64))


class SimulatorStore:
    """One small file of facts per image; the directory is made when it is not there."""

    def __init__(self, store: ImageStoreSpec) -> None:
        self._root = Path(store.path)
        self._name = f"Image store {store.id}"

    def register(self, image: ImageRequest, progress: Progress = no_progress) -> ImageFacts:
        split_url(image.url)
        wanted = parse_checksum(image.checksum)
        recorded = str(wanted) if wanted is not None and wanted.algorithm == "sha256" else CHECKSUM
        facts = self._keep(image.id, ImageFacts(image.format, min(SIZE, image.max_size), PHYSICAL_SIZE, recorded))
        progress(PHYSICAL_SIZE, PHYSICAL_SIZE)
        return facts

    def capture(self, image_id: str, source: DiskSource, size: int) -> ImageFacts:  # noqa: ARG002 - it holds no data
        return self._keep(image_id, ImageFacts("qcow2", size, PHYSICAL_SIZE, CHECKSUM))

    def _keep(self, image_id: str, facts: ImageFacts) -> ImageFacts:
        """The facts of the image that is there, else these."""
        path = self._root / checked_name(image_id)
        with io_errors(self._name):
            if path.exists():
                return msgspec.json.decode(path.read_bytes(), type=ImageFacts)
            self._root.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{image_id}.partial")
            temporary.write_bytes(msgspec.json.encode(facts))
            temporary.replace(path)
        return facts

    def remove(self, image_id: str) -> None:
        if NAME.fullmatch(image_id) is not None:
            with io_errors(self._name):
                (self._root / image_id).unlink(missing_ok=True)

    def path(self, image_id: str) -> Path:
        path = self._root / checked_name(image_id)
        if not path.exists():
            raise NotFound(f"Image {image_id} is not in {self._root}.")
        return path

    def images(self) -> list[str]:
        with io_errors(self._name):
            if not self._root.is_dir():
                return []
            return sorted(path.name for path in self._root.iterdir() if NAME.fullmatch(path.name))
