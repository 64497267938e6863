"""The only module that starts qemu-img: argument lists, limits, and formats that are given and never probed.

Every path must be absolute: QEMU reads other names as URLs and options (`nbd:`, `json:`, `driver=`).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from storage.errors import ImageRefused, NoSpace, PoolUnavailable, SizeRefused, StorageError, ToolMissing, VolumeBusy
from storage.types import Format, Provisioning

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
MESSAGE_LIMIT = 500
# What prlimit ends with when the program cannot be executed or is not there.
NOT_STARTED = (126, 127)
# What messages tell; a failure to open for any reason but these lies with the image.
CAUSES: tuple[tuple[tuple[str, ...], type[StorageError]], ...] = (
    (("No space left",), NoSpace),
    (('Failed to get "', "Is another process using the image"), VolumeBusy),
    (("smaller than", "shrink"), SizeRefused),
    (("No such file", "Permission denied", "Input/output error", "Stale file handle"), PoolUnavailable),
)
COULD_NOT_OPEN = re.compile(r"Could not open '[^']*': (?P<reason>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run: `seconds` of wall clock, `cpu_seconds`, `address_space` in bytes."""

    seconds: float = 60
    cpu_seconds: int = 30
    address_space: int = 1 << 30


QUICK = Limits()
BULK = Limits(seconds=1500, cpu_seconds=1200, address_space=2 << 30)


class FileFacts(msgspec.Struct, rename="kebab"):
    """What `qemu-img info` says of one file; sizes in bytes. `dirty_flag` is set while a writer had it open."""

    format: str
    virtual_size: int
    actual_size: int = 0
    dirty_flag: bool = False
    backing_filename: str | None = None
    backing_filename_format: str | None = None


class CheckFacts(msgspec.Struct, rename="kebab"):
    """What `qemu-img check` counts."""

    check_errors: int = 0
    corruptions: int = 0
    leaks: int = 0


def create(
    path: Path,
    image_format: Format,
    size: int,
    backing: tuple[str, Format] | None = None,
    provisioning: Provisioning = "thin",
) -> None:
    """Make an image of `size` bytes. `backing` is a name, relative to `path`'s directory or absolute, and its format.

    A relative backing name must not look like a URL; its format is recorded in the image. An image with a backing file
    is thin.
    """
    options = ["-f", image_format, *_options("-o", image_format, provisioning)]
    if backing is not None:
        name, backing_format = backing
        if not name.startswith(("/", "./", "../")):
            raise ValueError(f"the backing file name {name!r} is neither absolute nor begins with a dot")
        options += ["-b", name, "-F", backing_format]
    _run(["create", "-q", *options, _plain(path), str(size)], QUICK if provisioning == "thin" else BULK)


def _options(option: str, image_format: Format, provisioning: Provisioning) -> list[str]:
    """What has qemu-img preallocate; a raw image has no tables that could be made."""
    kind = {"sparse": "off" if image_format == "raw" else "metadata", "fat": "falloc"}.get(provisioning)
    if kind is None:
        return []
    return [f"--preallocation={kind}"] if option == "--preallocation" else [option, f"preallocation={kind}"]


def convert(
    source: tuple[Path, Format], target: tuple[Path, Format], limits: Limits = BULK, provisioning: Provisioning = "thin"
) -> None:
    """Copy the contents of one image into a new file of another format."""
    (source_path, source_format), (target_path, target_format) = source, target
    formats = ["-f", source_format, "-O", target_format, *_options("-o", target_format, provisioning)]
    _run(["convert", "-q", *formats, _plain(source_path), _plain(target_path)], limits)


def info(path: Path, image_format: Format, limits: Limits = QUICK) -> FileFacts:
    """Facts of an image, also while a domain has it open; its backing file is not opened."""
    text = _run(["info", "-U", "--output=json", "-f", image_format, _plain(path)], limits)
    try:
        return msgspec.json.decode(text, type=FileFacts)
    except msgspec.MsgspecError as error:
        raise PoolUnavailable(f"qemu-img described {path} in an unknown shape: {error}.") from error


def check(path: Path, image_format: Format, limits: Limits = BULK) -> CheckFacts:
    """Count the errors in the metadata of a qcow2 image that no domain has open."""
    text = _run(["check", "--output=json", "-f", image_format, _plain(path)], limits, accept=(0, 2, 3))
    try:
        return msgspec.json.decode(text, type=CheckFacts)
    except msgspec.MsgspecError as error:
        raise ImageRefused("qemu-img could not check the image.") from error


def resize(path: Path, image_format: Format, size: int, provisioning: Provisioning = "thin") -> None:
    """Grow an image that no domain has open to `size` bytes."""
    options = _options("--preallocation", image_format, provisioning)
    limits = QUICK if provisioning == "thin" else BULK
    _run(["resize", "-q", "-f", image_format, *options, _plain(path), str(size)], limits)


def _plain(path: Path) -> str:
    if not path.is_absolute():
        raise ValueError(f"the path {path} is not absolute")
    return str(path)


def _run(arguments: Sequence[str], limits: Limits, accept: Sequence[int] = (0,)) -> bytes:
    """Standard output of qemu-img, started under limits of memory and CPU with a clean environment."""
    bounds = [f"--as={limits.address_space}", f"--cpu={limits.cpu_seconds}", "--core=0"]
    try:
        done = subprocess.run(
            ["prlimit", *bounds, "qemu-img", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=ENVIRONMENT,
            cwd=os.sep,
            timeout=limits.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PoolUnavailable(f"qemu-img {arguments[0]} did not end within {limits.seconds:g} seconds.") from error
    except OSError as error:
        raise ToolMissing(f"qemu-img could not be started: {error}.") from error
    if done.returncode not in accept:
        raise _error(arguments[0], done.returncode, done.stderr.decode(errors="replace")[:MESSAGE_LIMIT].strip())
    return done.stdout


def _error(verb: str, code: int, message: str) -> StorageError:
    """The error that stands for a failed run; qemu-img tells causes only by its English messages."""
    sentence = f"qemu-img {verb} failed with status {code}: {message}."
    if code in NOT_STARTED:
        return ToolMissing(sentence)
    if code < 0:
        return ImageRefused(f"qemu-img {verb} exceeded its limits of memory or time.")
    for fragments, kind in CAUSES:
        if any(fragment in message for fragment in fragments):
            return kind(sentence)
    opened = COULD_NOT_OPEN.search(message)
    if opened is not None:  # the reason alone: users need not know where images lie
        return ImageRefused(f"qemu-img cannot read the image: {opened['reason']}.")
    return PoolUnavailable(sentence)
