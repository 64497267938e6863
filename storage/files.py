"""Files of a pool or store: names, locks between processes, and changes that are whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import NoSpace, NotFound, PoolUnavailable, StorageError, VolumeBusy

NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
POLL_SECONDS = 0.05


def checked_name(identifier: str) -> str:
    """`identifier`, which is then safe as a file name.

    :raises NotFound: no volume or image can have it
    """
    if NAME.fullmatch(identifier) is None:
        raise NotFound(f"{identifier[:80]!r} is not an identifier of a volume or an image.")
    return identifier


@contextmanager
def io_errors(subject: str) -> Iterator[None]:
    """Turns errors of the operating system into this package's."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, subject) from error


def storage_error(error: OSError, subject: str) -> StorageError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return NoSpace(f"There is no space left for {subject}.")
    return PoolUnavailable(f"{subject} cannot be used: {error.strerror or error}.")


@contextmanager
def lock(path: Path, wait_seconds: float) -> Iterator[None]:
    """Hold the lock file `path`, which is removed afterwards; a holder that dies frees it.

    :raises VolumeBusy: another holder did not let go in time
    """
    due = time.monotonic() + wait_seconds
    while (handle := _try_lock(path)) is None:
        if time.monotonic() >= due:
            raise VolumeBusy(f"Another call has held {path.name} for {wait_seconds:g} seconds.")
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _try_lock(path: Path) -> int | None:
    """A handle that holds the lock, or None. The file may be removed by its holder between open and lock."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat(follow_symlinks=False)):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def sync_directory(path: Path) -> None:
    """Bring the names in a directory to disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def place(temporary: Path, target: Path) -> None:
    """Give a file that is on disk its name, and bring the name to disk."""
    temporary.replace(target)
    sync_directory(target.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a small file: afterwards it is the old one or the new one, also after a power failure."""
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    place(temporary, path)
