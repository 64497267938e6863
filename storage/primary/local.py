"""Volumes as files below a directory: qcow2 overlays on templates that the pool caches.

`volumes/<id>` is a volume and `volumes/.<id>.json` records its format; `templates/<image id>` is a template, copied
from secondary storage once. A file has its name only when it is whole; `locks/` holds what is being made.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from storage import qemu_img
from storage.checksums import Digests, copy_sparse, parse_checksum
from storage.errors import ChecksumMismatch, NotFound, PoolUnavailable, SizeRefused, VolumeBusy
from storage.files import NAME, checked_name, io_errors, lock, place, sync_file, write_whole
from storage.types import DiskSource, Format, ImageSpec, PoolSpec, VolumeSpec

COPY_SECONDS = 1500
CHANGE_SECONDS = 60


class Record(msgspec.Struct):
    """What is recorded once about a volume; `image_id` is '' when it has no template."""

    format: Format
    image_id: str = ""


class LocalStorage:
    """A directory on this host. It must be there: a file system that is not mounted is never written beside."""

    def __init__(self, pool: PoolSpec) -> None:
        self._root = Path(pool.path)
        self._name = f"Pool {pool.id}"
        self._volumes = self._root / "volumes"
        self._templates = self._root / "templates"
        self._locks = self._root / "locks"

    def create(self, volume: VolumeSpec, image_file: Path | None = None) -> None:
        path = self._volume(volume.id)
        image = volume.image
        if image is not None and volume.size < image.size:
            raise SizeRefused(
                f"Volume {volume.id} of {volume.size} bytes is smaller than its template {image.id} of {image.size}."
            )
        self._open()
        with io_errors(self._name), lock(self._locks / f"volume-{volume.id}", CHANGE_SECONDS + COPY_SECONDS):
            if path.exists():
                return
            template = self._template(image, image_file) if image is not None else None
            self._make(volume, path, template)

    def _make(self, volume: VolumeSpec, path: Path, template: Path | None) -> None:
        temporary = path.with_name(f".{volume.id}.partial")
        temporary.unlink(missing_ok=True)
        image = volume.image
        kind = volume.provisioning
        if template is None or image is None:
            qemu_img.create(temporary, volume.format, volume.size, provisioning=kind)
        elif volume.format == "qcow2" and kind == "thin":
            backing = (f"../{template.parent.name}/{template.name}", image.format)
            qemu_img.create(temporary, "qcow2", volume.size, backing)
        else:
            qemu_img.convert((template, image.format), (temporary, volume.format), provisioning=kind)
            qemu_img.resize(temporary, volume.format, volume.size, kind)
        sync_file(temporary)
        record = Record(volume.format, image.id if image is not None else "")
        write_whole(self._record(volume.id), msgspec.json.encode(record))
        place(temporary, path)

    def delete(self, volume_id: str) -> None:
        if NAME.fullmatch(volume_id) is None:
            return
        self._open()
        with io_errors(self._name), lock(self._locks / f"volume-{volume_id}", CHANGE_SECONDS):
            self._volume(volume_id).unlink(missing_ok=True)
            (self._volumes / f".{volume_id}.partial").unlink(missing_ok=True)
            self._record(volume_id).unlink(missing_ok=True)

    def grow(self, volume_id: str, size: int) -> None:
        source = self.disk(volume_id)
        path = Path(source.path)
        with io_errors(self._name), lock(self._locks / f"volume-{volume_id}", CHANGE_SECONDS):
            present = qemu_img.info(path, source.format).virtual_size
            if size < present:
                raise SizeRefused(f"Volume {volume_id} of {present} bytes cannot shrink to {size}.")
            if size > present:
                qemu_img.resize(path, source.format, size)

    def disk(self, volume_id: str) -> DiskSource:
        path = self._volume(volume_id)
        self._open()
        with io_errors(self._name):
            try:
                is_file = stat.S_ISREG(path.lstat().st_mode)
                record = msgspec.json.decode(self._record(volume_id).read_bytes(), type=Record)
            except FileNotFoundError:
                raise NotFound(f"Volume {volume_id} is not in pool {self._root}.") from None
            except msgspec.MsgspecError as error:
                raise PoolUnavailable(f"The record of volume {volume_id} cannot be read: {error}.") from error
        if not is_file:
            raise NotFound(f"Volume {volume_id} in pool {self._root} is not a regular file.")
        return DiskSource(str(path), record.format)

    def volumes(self) -> list[str]:
        self._open()
        with io_errors(self._name):
            return sorted(path.name for path in self._volumes.iterdir() if NAME.fullmatch(path.name))

    def usage(self) -> tuple[int, int]:
        with io_errors(self._name):
            facts = os.statvfs(self._root)
        return facts.f_blocks * facts.f_frsize, (facts.f_blocks - facts.f_bavail) * facts.f_frsize

    def _volume(self, volume_id: str) -> Path:
        return self._volumes / checked_name(volume_id)

    def _record(self, volume_id: str) -> Path:
        return self._volumes / f".{volume_id}.json"

    def _open(self) -> None:
        with io_errors(self._name):
            for path in (self._volumes, self._templates, self._locks):
                path.mkdir(mode=0o711, exist_ok=True)

    def _template(self, image: ImageSpec, source: Path | None) -> Path:
        """The template's file in this pool, copied by the first caller while the others wait."""
        path = self._templates / checked_name(image.id)
        if self._is_whole(path, image):
            return path
        with lock(self._locks / f"template-{image.id}", COPY_SECONDS):
            if not self._is_whole(path, image):
                self._sweep_partials()
                self._copy(image, source, path)
        return path

    @staticmethod
    def _is_whole(path: Path, image: ImageSpec) -> bool:
        try:
            return path.lstat().st_size == image.physical_size
        except FileNotFoundError:
            return False

    @staticmethod
    def _copy(image: ImageSpec, source: Path | None, path: Path) -> None:
        if source is None:
            raise NotFound(f"Template {image.id} is not in this pool and secondary storage gave no file for it.")
        temporary = path.with_name(f".{image.id}.partial")
        digests = Digests(parse_checksum(image.checksum))
        try:
            with source.open("rb") as reader, temporary.open("wb") as writer:
                length = copy_sparse(reader, writer, digests, lambda _: None)
            digests.verify(f"template {image.id}")
            if length != image.physical_size:
                raise ChecksumMismatch(f"Template {image.id} has {length} bytes instead of {image.physical_size}.")
            temporary.chmod(0o444)
            place(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def _sweep_partials(self) -> None:
        """Remove what killed copies left; what another process is copying now stays, for it holds the lock."""
        for partial in self._templates.glob(".*.partial"):
            image_id = partial.name.removeprefix(".").removesuffix(".partial")
            try:
                with lock(self._locks / f"template-{image_id}", 0):
                    partial.unlink(missing_ok=True)
            except VolumeBusy:
                continue
