"""Crafted images are refused with a reason; good ones pass."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import ImageRefused
from storage.inspect import inspect_image

MIB = 1 << 20
LIMIT = 1 << 30
FLAT_VMDK = """# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="monolithicFlat"

# Extent description
RW 4 FLAT "/etc/passwd" 0

ddb.adapterType = "ide"
"""


def tool(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A good qcow2 image of 4 MiB with 3 MiB of contents."""
    plain = tmp_path / "plain"
    plain.write_bytes(bytes(range(256)) * (3 * MIB // 256) + bytes(MIB))
    tool("convert", "-f", "raw", "-O", "qcow2", plain, tmp_path / "image")
    return tmp_path / "image"


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def refused(path: Path, claimed: str, reason: str, limit: int = LIMIT) -> None:
    with pytest.raises(ImageRefused, match=reason):
        inspect_image(path, claimed, limit)


def test_a_good_qcow2_image_has_its_virtual_size(image: Path) -> None:
    assert inspect_image(image, "qcow2", LIMIT) == 4 * MIB


@pytest.mark.parametrize("options", ["compat=0.10", "compat=1.1,cluster_size=2M", "compat=1.1,lazy_refcounts=on"])
def test_usual_variants_of_qcow2_pass(tmp_path: Path, options: str) -> None:
    tool("create", "-f", "qcow2", "-o", options, tmp_path / "image", 64 * MIB)
    assert inspect_image(tmp_path / "image", "qcow2", LIMIT) == 64 * MIB


def test_compressed_qcow2_passes(image: Path, tmp_path: Path) -> None:
    tool("convert", "-c", "-f", "qcow2", "-O", "qcow2", image, tmp_path / "compressed")
    assert inspect_image(tmp_path / "compressed", "qcow2", LIMIT) == 4 * MIB


@pytest.mark.parametrize("length", [512, 4 * MIB, 5 * MIB + 512])
def test_a_raw_image_has_its_length(tmp_path: Path, length: int) -> None:
    (tmp_path / "image").write_bytes(b"\xeb\x3c" + bytes(length - 2))
    assert inspect_image(tmp_path / "image", "raw", LIMIT) == length


def test_a_raw_image_with_a_partition_table_passes(tmp_path: Path) -> None:
    boot = bytearray(MIB)
    boot[446:462] = struct.pack("<B3sB3sII", 0x80, b"\0\x02\0", 0x83, b"\0\0\0", 1, 2047)
    boot[510:512] = b"\x55\xaa"
    (tmp_path / "image").write_bytes(boot)
    assert inspect_image(tmp_path / "image", "raw", LIMIT) == MIB


@pytest.mark.parametrize(
    "backing", ["/etc/passwd", 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/passwd"}}']
)
def test_backing_files_are_refused(tmp_path: Path, backing: str) -> None:
    tool("create", "-u", "-f", "qcow2", "-b", backing, "-F", "raw", tmp_path / "image", MIB)
    refused(tmp_path / "image", "qcow2", "has a backing file")


def test_a_data_file_is_refused(tmp_path: Path) -> None:
    options = f"data_file={tmp_path}/data,data_file_raw=on"
    tool("create", "-f", "qcow2", "-o", options, tmp_path / "image", MIB)
    refused(tmp_path / "image", "qcow2", "keeps its data in another file")


def test_unknown_features_are_refused(image: Path) -> None:
    overwrite(image, 72, struct.pack(">Q", 1 << 40))
    refused(image, "qcow2", "features")


def test_an_encrypted_image_is_refused(image: Path) -> None:
    overwrite(image, 32, struct.pack(">I", 2))
    refused(image, "qcow2", "encrypted")


def test_a_cluster_size_out_of_range_is_refused(image: Path) -> None:
    overwrite(image, 20, struct.pack(">I", 60))
    refused(image, "qcow2", "clusters")


@pytest.mark.parametrize("claimed", ["raw", "qcow2"])
def test_a_vmdk_with_a_flat_extent_is_refused(tmp_path: Path, claimed: str) -> None:
    (tmp_path / "image").write_text(FLAT_VMDK.ljust(1024, "\n"))
    refused(tmp_path / "image", claimed, "vmdk" if claimed == "raw" else "said to be qcow2")
    (tmp_path / "padded").write_bytes(FLAT_VMDK.encode().ljust(1024, b"\0"))
    refused(tmp_path / "padded", claimed, "vmdk" if claimed == "raw" else "said to be qcow2")
    (tmp_path / "short").write_text(FLAT_VMDK)
    refused(tmp_path / "short", claimed, "less than one sector")


@pytest.mark.parametrize("hidden", ["qcow2", "vmdk", "vdi", "vhdx", "qed"])
def test_a_raw_image_that_is_another_format_is_refused(tmp_path: Path, hidden: str) -> None:
    tool("create", "-f", hidden, tmp_path / "image", 8 * MIB)
    refused(tmp_path / "image", "raw", f"said to be raw, but it is {hidden}")


@pytest.mark.parametrize("actual", ["raw", "vmdk", "vdi", "vpc"])
def test_a_qcow2_image_must_be_qcow2(tmp_path: Path, actual: str) -> None:
    tool("create", "-f", actual, tmp_path / "image", 8 * MIB)
    refused(tmp_path / "image", "qcow2", "said to be qcow2")


def test_an_image_of_two_formats_is_refused(tmp_path: Path) -> None:
    tool("create", "-f", "qcow2", tmp_path / "image", 8 * MIB)
    overwrite(tmp_path / "image", 32 * 1024, b"\x01CD001\x01" + bytes(2041))
    refused(tmp_path / "image", "qcow2", "iso at the same time")
    refused(tmp_path / "image", "raw", "it is qcow2")


def test_sizes_are_bounded(image: Path, tmp_path: Path) -> None:
    refused(image, "qcow2", "more than the", limit=4 * MIB - 1)
    tool("create", "-f", "qcow2", tmp_path / "huge", "60T")
    refused(tmp_path / "huge", "qcow2", "virtual size of 65970697666560 bytes")
    (tmp_path / "raw").write_bytes(bytes(MIB))
    refused(tmp_path / "raw", "raw", "more than the", limit=MIB - 1)


@pytest.mark.parametrize("claimed", ["raw", "qcow2"])
def test_an_empty_file_is_refused(tmp_path: Path, claimed: str) -> None:
    (tmp_path / "image").touch()
    refused(tmp_path / "image", claimed, "0 bytes")


@pytest.mark.parametrize("length", [600, 100_000, 2 * MIB])
def test_a_truncated_image_is_refused(image: Path, length: int) -> None:
    with image.open("r+b") as file:
        file.truncate(length)
    refused(image, "qcow2", "truncated")


def test_a_size_that_lies_is_refused_before_qemu_allocates(image: Path) -> None:
    overwrite(image, 24, struct.pack(">Q", LIMIT))
    refused(image, "qcow2", "L1 table")
    overwrite(image, 36, struct.pack(">I", 0xFFFFFFFF))
    refused(image, "qcow2", "truncated")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 111), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))
def test_any_damaged_header_is_taken_or_refused(image: Path, changes: list[tuple[int, bytes]]) -> None:
    good = image.read_bytes()
    for offset, content in changes:
        overwrite(image, offset, content)
    try:
        reason = refusal_of(image)
    finally:
        image.write_bytes(good)
    assert reason is None or reason.endswith(".")
    assert reason is None or str(image.parent) not in reason


def refusal_of(path: Path) -> str | None:
    try:
        size = inspect_image(path, "qcow2", LIMIT)
    except ImageRefused as error:
        return str(error)
    assert 0 < size <= LIMIT
    return None
