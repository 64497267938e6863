"""Images in a directory, local or a mounted share: `<image id>/image` and beside it `facts.json`.

An image is made below `.staging` and its directory gets its name when all of it is on disk and proved good.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import msgspec

from storage import qemu_img
from storage.addresses import split_url
from storage.checksums import Digests, checksum_of, copy_sparse, parse_checksum
from storage.errors import ImageRefused, NotFound, PoolUnavailable, SourceRefused, VolumeBusy
from storage.files import NAME, checked_name, io_errors, lock, sync_directory, sync_file
from storage.images.base import ImageRequest, Progress, no_progress
from storage.images.fetch import FetchLimits, fetch
from storage.inspect import inspect_image
from storage.types import DiskSource, Format, ImageFacts, ImageStoreSpec

OVERHEAD = 64 << 20
REMOVE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class DirectorySettings:
    """What images may come from, and their bounds.

    `allow_networks` are CIDRs opened to downloads beside all public addresses; `allowed_directories` are those
    that file URLs may name, none by default; `max_bytes` bounds a stored file, `seconds` one download.
    """

    allow_networks: tuple[str, ...] = ()
    allowed_directories: tuple[str, ...] = ()
    max_bytes: int = 1 << 40
    seconds: float = 1500
    idle_seconds: float = 30


class DirectoryStore:
    """Secondary storage in a directory, which must be there."""

    def __init__(self, store: ImageStoreSpec, settings: DirectorySettings | None = None) -> None:
        self._root = Path(store.path)
        self._name = f"Image store {store.id}"
        self._staging = self._root / ".staging"
        self._settings = settings or DirectorySettings()
        self._networks = tuple(ipaddress.ip_network(text) for text in self._settings.allow_networks)

    def register(self, image: ImageRequest, progress: Progress = no_progress) -> ImageFacts:
        digests = Digests(parse_checksum(image.checksum))

        def fetch_into(file: Path) -> str:
            with file.open("wb") as target:
                self._obtain(image, target, digests, progress)
            digests.verify(f"image {image.id}")
            return digests.recorded()

        return self._keep(image.id, image.format, image.max_size, fetch_into)

    def capture(self, image_id: str, source: DiskSource, size: int) -> ImageFacts:
        def copy_into(file: Path) -> str:
            qemu_img.convert((Path(source.path), source.format), (file, "qcow2"))
            sync_file(file)
            return checksum_of(file)

        return self._keep(image_id, "qcow2", size, copy_into)

    def _keep(self, image_id: str, image_format: Format, max_size: int, fill: Callable[[Path], str]) -> ImageFacts:
        """The facts of the image, which `fill` writes into a file, giving its checksum, when it is not there."""
        checked_name(image_id)
        with io_errors(self._name):
            self._staging.mkdir(mode=0o700, exist_ok=True)
            with lock(self._staging / f"{image_id}.lock", self._settings.seconds):
                recorded = self._recorded(image_id)
                if recorded is not None:
                    return recorded
                self._sweep_staging()
                return self._take_in(image_id, image_format, max_size, fill)

    def _take_in(self, image_id: str, image_format: Format, max_size: int, fill: Callable[[Path], str]) -> ImageFacts:
        folder = self._staging / image_id
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o755)
        try:
            file = folder / "image"
            checksum = fill(file)
            size = inspect_image(file, image_format, max_size)
            facts = ImageFacts(image_format, size, file.stat().st_size, checksum)
            self._publish(folder, image_id, facts)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return facts

    def _publish(self, folder: Path, image_id: str, facts: ImageFacts) -> None:
        (folder / "image").chmod(0o444)
        record = folder / "facts.json"
        record.write_bytes(msgspec.json.encode(facts))
        sync_file(record)
        sync_directory(folder)
        target = self._root / image_id
        # A directory that has the name without being whole was left by a removal.
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
        sync_directory(self._root)

    def _obtain(self, image: ImageRequest, target: BinaryIO, digests: Digests, progress: Progress) -> int:
        parts = split_url(image.url)
        bound = min(self._settings.max_bytes, image.max_size + OVERHEAD)
        if parts.scheme != "file":
            limits = FetchLimits(self._networks, bound, self._settings.seconds, self._settings.idle_seconds)
            return fetch(image.url, target, limits, digests, progress)
        if parts.netloc not in {"", "localhost"}:
            raise SourceRefused("A file URL must not name a host.")
        with self._open_allowed(unquote(parts.path)) as source:
            expected = os.fstat(source.fileno()).st_size
            if expected > bound:
                raise ImageRefused(f"The image has {expected} bytes, more than the {bound} allowed.")
            return copy_sparse(source, target, digests, lambda seen: progress(seen, expected))

    @contextmanager
    def _open_allowed(self, name: str) -> Iterator[BinaryIO]:
        """A regular file below an allowed directory, judged by where the open file really is."""
        refusal = SourceRefused("The file URL names no regular file in a directory that is open to images.")
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (OSError, ValueError):
            raise refusal from None
        try:
            real = Path(f"/proc/self/fd/{handle}").readlink()
            allowed = (Path(os.path.realpath(folder)) for folder in self._settings.allowed_directories)
            if not stat.S_ISREG(os.fstat(handle).st_mode) or not any(real.is_relative_to(one) for one in allowed):
                raise refusal
            with os.fdopen(handle, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(handle)

    def remove(self, image_id: str) -> None:
        if NAME.fullmatch(image_id) is None:
            return
        with io_errors(self._name):
            self._staging.mkdir(mode=0o700, exist_ok=True)
            with lock(self._staging / f"{image_id}.lock", REMOVE_SECONDS):
                # Without its facts it counts no more, so a kill half way leaves nothing that is taken for whole.
                (self._root / image_id / "facts.json").unlink(missing_ok=True)
                shutil.rmtree(self._root / image_id, ignore_errors=True)

    def path(self, image_id: str) -> Path:
        with io_errors(self._name):
            if self._recorded(checked_name(image_id)) is None:
                raise NotFound(f"Image {image_id} is not in {self._root}.")
        return self._root / image_id / "image"

    def images(self) -> list[str]:
        with io_errors(self._name):
            found = [path for path in self._root.iterdir() if NAME.fullmatch(path.name)]
            return sorted(path.name for path in found if (path / "facts.json").exists())

    def _recorded(self, image_id: str) -> ImageFacts | None:
        """The facts of an image that is whole."""
        try:
            facts = msgspec.json.decode((self._root / image_id / "facts.json").read_bytes(), type=ImageFacts)
            length = (self._root / image_id / "image").lstat().st_size
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise PoolUnavailable(f"The facts of image {image_id} cannot be read: {error}.") from error
        return facts if length == facts.physical_size else None

    def _sweep_staging(self) -> None:
        """Remove what killed calls left; what another process is taking in now stays, for it holds the lock."""
        for folder in self._staging.iterdir():
            if not folder.is_dir():
                continue
            try:
                with lock(self._staging / f"{folder.name}.lock", 0):
                    shutil.rmtree(folder, ignore_errors=True)
            except VolumeBusy:
                continue
