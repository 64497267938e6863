"""Inspection of images before any tool opens them: the claimed format, what they refer to, and their size."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

from oslo_utils.imageutils import format_inspector

from storage import qemu_img
from storage.errors import ImageRefused, PoolUnavailable
from storage.types import Format

HEAD = 4 << 20
CHUNK = 64 << 10
SECTOR = 512
CHECK_LIMITS = qemu_img.Limits(seconds=300, cpu_seconds=120)
QCOW2_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
QCOW2_CLUSTER_BITS = range(9, 22)
# A disk may begin with a partition table or a file system for optical media; neither refers to other files.
PLAIN = {"raw", "gpt", "iso"}
UNSAFE = {
    "backing_file": "it has a backing file",
    "data_file": "it keeps its data in another file",
    "unknown_features": "it uses features or a version of qcow2 that are not supported",
}

# The inspector logs each refusal; the error says the same.
logging.getLogger(format_inspector.__name__).setLevel(logging.CRITICAL)


def inspect_image(path: Path, claimed: Format, max_size: int) -> int:
    """The virtual size in bytes of an image that proved safe and of the format `claimed`.

    :raises ImageRefused: it is not, refers to other files, is damaged, or is larger than `max_size`
    """
    head = _read_head(path)
    found = _formats(head)
    size = _check_qcow2(path, head, found) if claimed == "qcow2" else _check_raw(path, head, found)
    if size > max_size:
        raise ImageRefused(f"The image has a virtual size of {size} bytes, more than the {max_size} allowed.")
    if claimed == "qcow2":
        _check_metadata(path, size)
    return size


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(HEAD)
    if len(head) < SECTOR:
        raise ImageRefused(f"The image has {len(head)} bytes, less than one sector.")
    return head


def _formats(head: bytes) -> dict[str, format_inspector.FileInspector]:
    """The inspectors of all formats that the head matches, by name; all signatures lie within it."""
    found = {}
    for name, inspector_class in format_inspector.ALL_FORMATS.items():
        inspector = inspector_class()
        try:
            for start in range(0, len(head), CHUNK):
                inspector.eat_chunk(head[start : start + CHUNK])
            inspector.finish()
            matches = inspector.format_match
        except Exception:  # noqa: BLE001, S112 - inspectors fail in any way on what is not their format
            continue
        if matches:
            found[name] = inspector
    return found


def _check_raw(path: Path, head: bytes, found: dict[str, format_inspector.FileInspector]) -> int:
    hidden = sorted(found.keys() - PLAIN)
    if not hidden and _is_vmdk_text(head):
        hidden = ["vmdk"]
    if hidden:
        raise ImageRefused(f"The image is said to be raw, but it is {' and '.join(hidden)}.")
    return path.stat().st_size


def _is_vmdk_text(head: bytes) -> bool:
    """Whether QEMU would take the bytes for a VMDK descriptor, which names other files.

    Source: QEMU 7.2, block/vmdk.c, vmdk_probe: comments and blank lines, then `version=`.
    """
    for line in head.split(b"\n"):
        text = line.strip()
        if text and not text.startswith(b"#"):
            return text.lower().startswith((b"version=", b"createtype="))
    return False


def _check_qcow2(path: Path, head: bytes, found: dict[str, format_inspector.FileInspector]) -> int:
    inspector = found.get("qcow2")
    if inspector is None:
        is_name = " and ".join(sorted(found)) or "unknown"
        raise ImageRefused(f"The image is said to be qcow2, but its format is {is_name}.")
    if extra := sorted(found.keys() - {"qcow2", "raw"}):
        raise ImageRefused(f"The image is qcow2 and {' and '.join(extra)} at the same time.")
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        reasons = ", ".join(UNSAFE.get(name, name) for name in sorted(error.failures))
        raise ImageRefused(f"The image is unsafe: {reasons}.") from error
    except format_inspector.ImageFormatError as error:
        raise ImageRefused(f"The image cannot be checked: {error}.") from error
    return _check_qcow2_header(path, head)


def _check_qcow2_header(path: Path, head: bytes) -> int:
    """Virtual size of a qcow2 image whose header stays within bounds.

    Source: QEMU, docs/interop/qcow2.txt, header.
    """
    fields = QCOW2_HEADER.unpack_from(head)
    cluster_bits, size, crypt_method = fields[4], fields[5], fields[6]
    l1_entries, l1_offset, refcount_offset = fields[7], fields[8], fields[9]
    length = path.stat().st_size
    if crypt_method:
        raise ImageRefused("The image is encrypted.")
    if cluster_bits not in QCOW2_CLUSTER_BITS:
        raise ImageRefused(f"The image has clusters of 2**{cluster_bits} bytes, which qcow2 does not know.")
    if size == 0:
        raise ImageRefused("The image has a virtual size of 0 bytes.")
    if l1_offset + 8 * l1_entries > length or refcount_offset >= length:
        raise ImageRefused("The image is truncated: its tables lie behind its end.")
    return int(size)


def _check_metadata(path: Path, size: int) -> None:
    """Have qemu-img read all metadata under its limits: clusters behind the end show a truncated file."""
    try:
        facts = qemu_img.info(path, "qcow2")
        counts = qemu_img.check(path, "qcow2", CHECK_LIMITS)
    except PoolUnavailable as error:
        raise ImageRefused(f"The metadata of the image cannot be read within bounds: {error}") from error
    if facts.virtual_size != size or facts.backing_filename is not None:
        raise ImageRefused("The image looks different to qemu-img than its header says.")
    if counts.corruptions or counts.check_errors:
        errors = counts.corruptions + counts.check_errors
        raise ImageRefused(f"The image is truncated or damaged: its metadata has {errors} errors.")
