"""What every driver of primary storage must do; then what a directory of files adds."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from storage import qemu_img
from storage.errors import ChecksumMismatch, NotFound, PoolUnavailable, SizeRefused, VolumeBusy
from storage.primary import DRIVERS, open_pool
from storage.primary.base import PrimaryStorage
from storage.types import Format, ImageSpec, ImageStoreSpec, PoolSpec, VolumeSpec

MIB = 1 << 20
CONTENT = bytes(range(256)) * 4096
CREATE_SLOWLY = """
import sys, time
from pathlib import Path
import msgspec
from storage import checksums
from storage.primary import open_pool
from storage.types import VolumeSpec

write = checksums.write_sparse

def slowly(target, chunk):
    write(target, chunk)
    target.flush()
    time.sleep(0.3)

checksums.write_sparse = slowly
volume = msgspec.json.decode(sys.argv[1], type=VolumeSpec)
open_pool(volume.pool).create(volume, Path(sys.argv[2]))
"""


@dataclass
class Lab:
    """A driver over a pool, and a template for it."""

    storage: PrimaryStorage
    pool: PoolSpec
    image: ImageSpec
    image_file: Path

    def volume(self, size: int = 8 * MIB, **changes: object) -> VolumeSpec:
        return replace(VolumeSpec(str(uuid.uuid4()), self.pool, size), **changes)


def make_image(directory: Path, image_format: Format = "raw") -> tuple[ImageSpec, Path]:
    path = directory / f"template.{image_format}"
    plain = directory / "plain"
    plain.write_bytes(CONTENT * 3)
    if image_format == "raw":
        plain.replace(path)
    else:
        qemu_img.convert((plain, "raw"), (path, "qcow2"))
    digest = "{sha256}" + hashlib.sha256(path.read_bytes()).hexdigest()
    store = ImageStoreSpec("store", "directory", str(directory))
    return ImageSpec(str(uuid.uuid4()), store, image_format, 3 * MIB, path.stat().st_size, digest), path


def lab_of(driver: str, tmp_path: Path, image_format: Format = "raw") -> Lab:
    directory = tmp_path / "pool"
    directory.mkdir()
    pool = PoolSpec("pool", driver, str(directory))
    return Lab(open_pool(pool), pool, *make_image(tmp_path, image_format))


@pytest.fixture(params=DRIVERS)
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    return lab_of(request.param, tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> Lab:
    return lab_of("local", tmp_path)


@pytest.fixture(params=["raw", "qcow2"])
def local_formats(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    return lab_of("local", tmp_path, request.param)


@pytest.mark.parametrize("volume_format", ["qcow2", "raw"])
def test_a_volume_is_listed_and_can_be_attached(lab: Lab, volume_format: Format) -> None:
    volume = lab.volume(format=volume_format)
    lab.storage.create(volume)
    assert lab.storage.volumes() == [volume.id]
    source = lab.storage.disk(volume.id)
    assert (source.format, source.kind) == (volume_format, "file")
    assert Path(source.path).is_file()


def test_creating_twice_is_no_error_and_changes_nothing(lab: Lab) -> None:
    volume = lab.volume(image=lab.image)
    lab.storage.create(volume, lab.image_file)
    before = Path(lab.storage.disk(volume.id).path).stat()
    lab.storage.create(volume, lab.image_file)
    after = Path(lab.storage.disk(volume.id).path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert lab.storage.volumes() == [volume.id]


def test_deleting_what_is_gone_is_no_error(lab: Lab) -> None:
    lab.storage.delete("never-existed")
    lab.storage.delete("../../etc/passwd")
    volume = lab.volume()
    lab.storage.create(volume)
    lab.storage.delete(volume.id)
    lab.storage.delete(volume.id)
    assert lab.storage.volumes() == []
    with pytest.raises(NotFound, match=volume.id):
        lab.storage.disk(volume.id)


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "", ".hidden", "a/b", "nul\0", "x" * 65])
def test_identifiers_are_no_paths(lab: Lab, name: str) -> None:
    with pytest.raises(NotFound):
        lab.storage.create(lab.volume(id=name))
    with pytest.raises(NotFound):
        lab.storage.disk(name)
    assert lab.storage.volumes() == []


def test_a_volume_smaller_than_its_template_is_refused(lab: Lab) -> None:
    with pytest.raises(SizeRefused, match=lab.image.id):
        lab.storage.create(lab.volume(size=2 * MIB, image=lab.image), lab.image_file)
    assert lab.storage.volumes() == []


def test_grow_is_repeatable_and_never_shrinks(lab: Lab) -> None:
    volume = lab.volume()
    lab.storage.create(volume)
    lab.storage.grow(volume.id, 16 * MIB)
    lab.storage.grow(volume.id, 16 * MIB)
    with pytest.raises(SizeRefused):
        lab.storage.grow(volume.id, 8 * MIB)
    with pytest.raises(NotFound):
        lab.storage.grow(str(uuid.uuid4()), 16 * MIB)


def test_usage_lies_within_the_total(lab: Lab) -> None:
    lab.storage.create(lab.volume())
    total, used = lab.storage.usage()
    assert 0 < used < total


def read_volume(lab: Lab, volume_id: str, length: int, tmp_path: Path) -> bytes:
    source = lab.storage.disk(volume_id)
    qemu_img.convert((Path(source.path), source.format), (tmp_path / "read", "raw"))
    with (tmp_path / "read").open("rb") as file:
        return file.read(length)


@pytest.mark.parametrize("volume_format", ["qcow2", "raw"])
def test_a_volume_has_the_contents_and_size(local_formats: Lab, volume_format: Format, tmp_path: Path) -> None:
    lab = local_formats
    volume = lab.volume(format=volume_format, image=lab.image)
    lab.storage.create(volume, lab.image_file)
    lab.storage.grow(volume.id, 12 * MIB)
    source = lab.storage.disk(volume.id)
    assert qemu_img.info(Path(source.path), source.format).virtual_size == 12 * MIB
    assert read_volume(lab, volume.id, 4 * MIB, tmp_path) == CONTENT * 3 + bytes(MIB)


@pytest.mark.parametrize("templated", [False, True])
@pytest.mark.parametrize("volume_format", ["qcow2", "raw"])
def test_a_volume_has_the_space_that_it_is_provisioned_with(local: Lab, volume_format: Format, templated: bool) -> None:
    """A full disk is what thin ones risk; a fat one has all its space, a sparse one of qcow2 all its tables."""
    held = {}
    for provisioning in ("thin", "sparse", "fat"):
        image = local.image if templated else None
        volume = local.volume(64 * MIB, format=volume_format, image=image, provisioning=provisioning)
        local.storage.create(volume, local.image_file)
        path = Path(local.storage.disk(volume.id).path)
        held[provisioning] = path.stat().st_blocks * 512
        facts = qemu_img.info(path, volume_format)
        assert facts.virtual_size == 64 * MIB
        assert (facts.backing_filename is None) == (provisioning != "thin" or volume_format == "raw" or not templated)
    assert held["thin"] <= held["sparse"] < 48 * MIB
    assert held["fat"] >= 64 * MIB
    if volume_format == "qcow2":
        assert held["thin"] < held["sparse"]


def test_the_overlay_records_the_format_of_its_template(local_formats: Lab) -> None:
    volume = local_formats.volume(image=local_formats.image)
    local_formats.storage.create(volume, local_formats.image_file)
    facts = qemu_img.info(Path(local_formats.storage.disk(volume.id).path), "qcow2")
    assert facts.backing_filename == f"../templates/{local_formats.image.id}"
    assert facts.backing_filename_format == local_formats.image.format


def test_the_template_is_copied_once_and_then_not_needed(local: Lab) -> None:
    local.storage.create(local.volume(image=local.image), local.image_file)
    template = Path(local.pool.path) / "templates" / local.image.id
    copied = template.stat().st_ino
    local.image_file.unlink()
    local.storage.create(local.volume(image=local.image), local.image_file)
    local.storage.create(local.volume(image=local.image), None)
    assert template.stat().st_ino == copied
    assert len(local.storage.volumes()) == 3


def test_callers_at_the_same_time_copy_the_template_once(local: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = []
    copy = type(local.storage)._copy
    monkeypatch.setattr(type(local.storage), "_copy", staticmethod(lambda *args: (copies.append(1), copy(*args))))
    volumes = [local.volume(image=local.image) for _ in range(8)]
    # Each caller has a driver of its own, as processes have.
    threads = [
        threading.Thread(target=lambda one=one: open_pool(local.pool).create(one, local.image_file)) for one in volumes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert local.storage.volumes() == sorted(volume.id for volume in volumes)
    assert len(copies) == 1


def test_a_template_that_is_not_what_was_registered_is_refused(local: Lab) -> None:
    content = bytearray(local.image_file.read_bytes())
    content[100] ^= 1
    local.image_file.write_bytes(content)
    with pytest.raises(ChecksumMismatch, match=local.image.id):
        local.storage.create(local.volume(image=local.image), local.image_file)
    assert local.storage.volumes() == []
    assert list((Path(local.pool.path) / "templates").iterdir()) == []


def test_a_template_that_nobody_gave_is_missed(local: Lab) -> None:
    with pytest.raises(NotFound, match=local.image.id):
        local.storage.create(local.volume(image=local.image), None)


def test_a_pool_that_is_not_mounted_is_not_written_to(tmp_path: Path) -> None:
    pool = PoolSpec("pool", "local", str(tmp_path / "absent"))
    storage = open_pool(pool)
    with pytest.raises(PoolUnavailable):
        storage.create(VolumeSpec(str(uuid.uuid4()), pool, MIB))
    with pytest.raises(PoolUnavailable):
        storage.usage()
    assert not (tmp_path / "absent").exists()


@pytest.fixture
def killed_copy(local: Lab) -> VolumeSpec:
    """A volume whose maker was killed in the middle of copying its template."""
    volume = local.volume(image=local.image)
    command = [sys.executable, "-c", CREATE_SLOWLY, msgspec.json.encode(volume).decode(), str(local.image_file)]
    partial = Path(local.pool.path) / "templates" / f".{local.image.id}.partial"
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}) as maker:
        due = time.monotonic() + 20
        while not (partial.exists() and partial.stat().st_size >= MIB):
            assert time.monotonic() < due
            time.sleep(0.01)
        maker.send_signal(signal.SIGKILL)
    assert partial.exists()
    return volume


def test_a_kill_half_way_leaves_nothing_that_counts(local: Lab, killed_copy: VolumeSpec, tmp_path: Path) -> None:
    assert local.storage.volumes() == []
    local.storage.create(killed_copy, local.image_file)
    assert read_volume(local, killed_copy.id, 3 * MIB, tmp_path) == CONTENT * 3
    assert [path.name for path in (Path(local.pool.path) / "templates").iterdir()] == [local.image.id]
    assert list((Path(local.pool.path) / "locks").iterdir()) == []


@pytest.mark.usefixtures("killed_copy")
def test_partial_files_of_others_are_swept(local: Lab, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    image, image_file = make_image(tmp_path / "other")
    local.storage.create(local.volume(image=image), image_file)
    assert [path.name for path in (Path(local.pool.path) / "templates").iterdir()] == [image.id]


def test_a_half_made_volume_is_replaced(local: Lab) -> None:
    volume = local.volume()
    local.storage.volumes()
    partial = Path(local.pool.path) / "volumes" / f".{volume.id}.partial"
    partial.write_bytes(b"half")
    local.storage.create(volume)
    assert local.storage.volumes() == [volume.id]
    assert not partial.exists()


def test_a_volume_that_a_domain_has_open_does_not_grow(local: Lab) -> None:
    volume = local.volume()
    local.storage.create(volume)
    path = local.storage.disk(volume.id).path
    disk = ["-drive", f"if=virtio,format=qcow2,file={path}"]
    bare = ["qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"]
    with subprocess.Popen([*bare, *disk], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guest:
        guest.stdout.readline()
        try:
            with pytest.raises(VolumeBusy):
                local.storage.grow(volume.id, 16 * MIB)
            assert qemu_img.info(Path(path), "qcow2").virtual_size == 8 * MIB
        finally:
            guest.kill()
    local.storage.grow(volume.id, 16 * MIB)
