"""A volume captured into secondary storage is an image of its own, with the template's bytes and the guest's."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from storage import qemu_img
from storage.checksums import checksum_of
from storage.errors import ImageRefused, NotFound
from storage.images.directory import DirectoryStore
from storage.primary import open_pool
from storage.types import ImageSpec, ImageStoreSpec, PoolSpec, VolumeSpec

MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    (tmp_path / "images").mkdir()
    return DirectoryStore(ImageStoreSpec("store", "directory", str(tmp_path / "images")))


@pytest.fixture
def overlay(tmp_path: Path):
    """The disk of an 8 MiB volume on a raw template of 1 MiB whose bytes are all 1."""
    file = tmp_path / "template"
    file.write_bytes(b"\x01" * MIB)
    (tmp_path / "pool").mkdir()
    pool = PoolSpec("pool", "local", str(tmp_path / "pool"))
    where = ImageStoreSpec("store", "directory", str(tmp_path / "images"))
    image = ImageSpec(str(uuid.uuid4()), where, "raw", MIB, MIB, checksum_of(file))
    volume = VolumeSpec(str(uuid.uuid4()), pool, 8 * MIB, "qcow2", image)
    open_pool(pool).create(volume, file)
    return open_pool(pool).disk(volume.id)


def test_the_image_stands_alone(store: DirectoryStore, overlay, tmp_path: Path) -> None:
    facts = store.capture("image", overlay, 8 * MIB)
    path = store.path("image")
    assert (facts.format, facts.size, facts.physical_size) == ("qcow2", 8 * MIB, path.stat().st_size)
    assert facts.checksum == checksum_of(path)
    assert qemu_img.info(path, "qcow2").backing_filename is None
    plain = tmp_path / "plain"
    qemu_img.convert((path, "qcow2"), (plain, "raw"))
    content = plain.read_bytes()
    assert (content[:MIB], content[MIB:]) == (b"\x01" * MIB, bytes(7 * MIB))
    inode = path.stat().st_ino
    assert store.capture("image", overlay, 8 * MIB) == facts
    assert store.path("image").stat().st_ino == inode


def test_what_is_larger_than_told_is_refused_and_leaves_nothing(store: DirectoryStore, overlay, tmp_path: Path) -> None:
    with pytest.raises(ImageRefused):
        store.capture("image", overlay, MIB)
    assert store.images() == []
    assert [path.name for path in (tmp_path / "images" / ".staging").iterdir() if path.is_dir()] == []
    with pytest.raises(NotFound):
        store.capture("../escape", overlay, 8 * MIB)
