"""Checksums in the forms that users write."""

from __future__ import annotations

import hashlib
import io

import pytest

from storage.checksums import Checksum, Digests, copy_sparse, parse_checksum
from storage.errors import ChecksumMismatch, ImageRefused

ALGORITHMS = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]
CONTENT = b"contents"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_forms(algorithm: str) -> None:
    digest = hashlib.new(algorithm, CONTENT).hexdigest()
    expected = Checksum(algorithm, digest)
    spelled = algorithm.upper().replace("SHA", "SHA-")
    for text in (digest, digest.upper(), f"{{{algorithm}}}{digest}", f"{{{spelled}}}{digest}", f" {digest}\n"):
        assert parse_checksum(text) == expected
    digests = Digests(expected)
    digests.update(CONTENT)
    digests.verify("it")
    digests.update(b"more")
    with pytest.raises(ChecksumMismatch, match=algorithm):
        digests.verify("it")


def test_no_checksum_verifies_anything() -> None:
    assert parse_checksum("  ") is None
    Digests(None).verify("it")


@pytest.mark.parametrize(
    "text", ["abc", "xyz", "{md5}" + "0" * 64, "{sha256}" + "0" * 32, "{crc32}00000000", "{}" + "0" * 32]
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ImageRefused):
        parse_checksum(text)


@pytest.mark.parametrize("content", [b"", bytes(3 << 20), bytes(1 << 20) + b"x" + bytes(1 << 20), b"y" * 10])
def test_a_sparse_copy_is_the_same(content: bytes, tmp_path) -> None:
    digests = Digests(None)
    seen: list[int] = []
    with (tmp_path / "copy").open("wb") as target:
        assert copy_sparse(io.BytesIO(content), target, digests, seen.append) == len(content)
    assert (tmp_path / "copy").read_bytes() == content
    assert digests.recorded() == "{sha256}" + hashlib.sha256(content).hexdigest()
    assert seen == sorted(seen)
