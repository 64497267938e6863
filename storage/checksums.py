"""Checksums as users write them, and digests of files while they are copied."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from storage.errors import ChecksumMismatch, ImageRefused

CHUNK = 1 << 20
BY_LENGTH = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
LENGTHS = {algorithm: length for length, algorithm in BY_LENGTH.items()}
FORM = re.compile(r"(?:\{(?P<algorithm>[A-Za-z0-9-]+)\})?(?P<digest>[0-9A-Fa-f]+)")


@dataclass(frozen=True, slots=True)
class Checksum:
    """A digest in lower-case hexadecimal and the name of its algorithm for hashlib."""

    algorithm: str
    digest: str

    def __str__(self) -> str:
        return f"{{{self.algorithm}}}{self.digest}"


def parse_checksum(text: str) -> Checksum | None:
    """The checksum in '{SHA-256}<hex>', '{md5}<hex>' or bare '<hex>' by its length; None for ''.

    :raises ImageRefused: it is none of these
    """
    text = text.strip()
    if not text:
        return None
    match = FORM.fullmatch(text)
    if match is None:
        raise ImageRefused("The checksum is not hexadecimal with an optional {algorithm} before it.")
    digest = match["digest"].lower()
    named = match["algorithm"]
    algorithm = named.lower().replace("-", "") if named else BY_LENGTH.get(len(digest), "")
    if LENGTHS.get(algorithm) != len(digest):
        raise ImageRefused(f"The checksum of {len(digest)} digits fits no algorithm that is known by that name.")
    return Checksum(algorithm, digest)


class Digests:
    """Digests SHA-256, which is always recorded, and the algorithm that `wanted` names."""

    def __init__(self, wanted: Checksum | None) -> None:
        self.wanted = wanted
        names = {"sha256"} | ({wanted.algorithm} if wanted else set())
        self._running = {name: hashlib.new(name, usedforsecurity=False) for name in names}

    def update(self, chunk: bytes | memoryview) -> None:
        for running in self._running.values():
            running.update(chunk)

    def recorded(self) -> str:
        """'{sha256}<hex>' of all that was seen."""
        return str(Checksum("sha256", self._running["sha256"].hexdigest()))

    def verify(self, subject: str) -> None:
        """:raises ChecksumMismatch: what was seen is not what was wanted"""
        if self.wanted is None:
            return
        found = self._running[self.wanted.algorithm].hexdigest()
        if found != self.wanted.digest:
            raise ChecksumMismatch(
                f"The {self.wanted.algorithm} of {subject} is {found}, but {self.wanted.digest} was expected."
            )


def checksum_of(path: Path) -> str:
    """'{sha256}<hex>' of a file."""
    digests = Digests(None)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digests.update(chunk)
    return digests.recorded()


def write_sparse(target: BinaryIO, chunk: bytes) -> None:
    """Write `chunk`, or leave a hole when it holds only zeros; `finish_sparse` sets the length."""
    if chunk.count(0) == len(chunk):
        target.seek(len(chunk), os.SEEK_CUR)
    else:
        target.write(chunk)


def finish_sparse(target: BinaryIO) -> None:
    """Give the file the length that was written and bring it to disk."""
    target.truncate(target.tell())
    target.flush()
    os.fsync(target.fileno())


def copy_sparse(source: BinaryIO, target: BinaryIO, digests: Digests, seen: Callable[[int], None]) -> int:
    """Copy all bytes, keeping holes; calls `seen` with the bytes so far. Gives the length, which is on disk."""
    length = 0
    while chunk := source.read(CHUNK):
        digests.update(chunk)
        write_sparse(target, chunk)
        length += len(chunk)
        seen(length)
    finish_sparse(target)
    return length
