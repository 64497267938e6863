"""qemu-img runs under limits, with formats that are given, on plain paths only."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import qemu_img
from storage.errors import ImageRefused, NoSpace, PoolUnavailable, SizeRefused, ToolMissing
from storage.primary.local import LocalStorage
from storage.types import ImageSpec, ImageStoreSpec, PoolSpec, VolumeSpec

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    qemu_img.create(tmp_path / "image", "qcow2", 4 * MIB)
    return tmp_path / "image"


def test_facts(image: Path) -> None:
    facts = qemu_img.info(image, "qcow2")
    assert (facts.format, facts.virtual_size, facts.backing_filename) == ("qcow2", 4 * MIB, None)
    assert qemu_img.check(image, "qcow2") == qemu_img.CheckFacts()


def test_the_format_is_given_and_not_probed(image: Path) -> None:
    facts = qemu_img.info(image, "raw")
    assert facts.format == "raw"
    assert facts.virtual_size < MIB
    image.write_bytes(bytes(MIB))
    with pytest.raises(ImageRefused, match="not in qcow2 format"):
        qemu_img.info(image, "qcow2")


def test_the_format_of_a_backing_file_is_recorded(image: Path) -> None:
    qemu_img.create(image.with_name("top"), "qcow2", 8 * MIB, ("./image", "qcow2"))
    facts = qemu_img.info(image.with_name("top"), "qcow2")
    assert (facts.backing_filename, facts.backing_filename_format, facts.virtual_size) == ("./image", "qcow2", 8 * MIB)


def test_sizes(image: Path) -> None:
    qemu_img.resize(image, "qcow2", 8 * MIB)
    assert qemu_img.info(image, "qcow2").virtual_size == 8 * MIB
    with pytest.raises(SizeRefused):
        qemu_img.resize(image, "qcow2", MIB)


@pytest.mark.parametrize("name", ["nbd:localhost:1", "json:{}", "image"])
def test_names_that_qemu_reads_as_urls_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="absolute"):
        qemu_img.info(Path(name), "raw")
    with pytest.raises(ValueError, match="absolute"):
        qemu_img.create(tmp_path / "image", "qcow2", MIB, (name, "raw"))


def test_a_missing_file_is_not_the_images_fault(tmp_path: Path) -> None:
    with pytest.raises(PoolUnavailable, match="No such file"):
        qemu_img.info(tmp_path / "absent", "qcow2")


def test_a_host_without_the_tool_is_told_apart(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_img, "ENVIRONMENT", {"PATH": str(image.parent)})
    (image.parent / "prlimit").symlink_to("/usr/bin/prlimit")
    with pytest.raises(ToolMissing):
        qemu_img.info(image, "qcow2")


def test_memory_is_limited(image: Path) -> None:
    # The least that lets the dynamic loader start is far above this.
    with pytest.raises((PoolUnavailable, ImageRefused)):
        qemu_img.info(image, "qcow2", qemu_img.Limits(address_space=MIB))


def test_time_is_limited(image: Path) -> None:
    with pytest.raises(PoolUnavailable, match=r"within 0\.001 seconds"):
        qemu_img.info(image, "qcow2", qemu_img.Limits(seconds=0.001))


@pytest.fixture
def small_file_system(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "small").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "pts", tmp_path / "small"], check=True)
    yield tmp_path / "small"
    subprocess.run(["umount", tmp_path / "small"], check=True)


def test_a_full_file_system_is_told_apart(small_file_system: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x" * MIB)
    with pytest.raises(NoSpace):
        qemu_img.convert((tmp_path / "source", "raw"), (small_file_system / "target", "raw"))
    pool = LocalStorage(PoolSpec("pool", "local", str(small_file_system)))
    digest = "{sha256}" + hashlib.sha256(b"x" * MIB).hexdigest()
    image = ImageSpec("image", ImageStoreSpec("store", "directory", "/"), "raw", MIB, MIB, digest)
    with pytest.raises(NoSpace):
        pool.create(VolumeSpec("volume", PoolSpec("pool", "local", ""), MIB, image=image), tmp_path / "source")
    assert pool.volumes() == []
    assert list((small_file_system / "templates").iterdir()) == []
