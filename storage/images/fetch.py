"""Download over http and https: a pinned address on every hop, and bounds on redirects, time and size."""

from __future__ import annotations

import errno
import http.client
import ipaddress
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import SplitResult, urljoin

from storage.addresses import split_url
from storage.checksums import Digests, finish_sparse, write_sparse
from storage.errors import DownloadFailed, ImageRefused, SourceLacking, SourceRefused
from storage.files import storage_error
from storage.images.base import Progress
from storage.pinned import Bounds, answer_of

REDIRECTS = 3
REDIRECT_CODES = {301, 302, 303, 307, 308}
OK = 200
LACKING_CODES = {400, 401, 403, 404, 405, 406, 410, 451}
CHUNK = 256 << 10


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of one download: `networks` are opened to it, `seconds` is for all, `idle_seconds` without a byte."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    max_bytes: int
    seconds: float
    idle_seconds: float


def fetch(url: str, target: BinaryIO, limits: FetchLimits, digests: Digests, progress: Progress) -> int:
    """Write what `url` delivers into `target`, which is then on disk. Gives the length in bytes.

    :raises SourceRefused: it, or a redirect, leads to an address that must not be reached
    :raises SourceLacking: it is not there, has no such image, or cannot be trusted
    :raises DownloadFailed: it does not deliver, or not in time
    :raises ImageRefused: it delivers more than `limits.max_bytes`
    """
    due = time.monotonic() + limits.seconds
    for _ in range(REDIRECTS + 1):
        parts = split_url(url)
        if parts.scheme == "file":
            raise SourceRefused("A redirect leads to a file.")
        with _errors_of(parts), answer_of(parts, Bounds(limits.networks, due, limits.idle_seconds)) as answer:
            if answer.status in REDIRECT_CODES:
                url = urljoin(url, answer.getheader("Location", ""))
                continue
            if answer.status != OK:
                kind = SourceLacking if answer.status in LACKING_CODES else DownloadFailed
                raise kind(f"{parts.hostname} answered {answer.status} {answer.reason}.")
            length = _receive(answer, target, limits, digests, progress)
            if time.monotonic() >= due:  # a connection that was cut can look like the end
                raise DownloadFailed(f"The download did not end within {limits.seconds:g} seconds.")
            return length
    raise SourceLacking(f"There were more than {REDIRECTS} redirects.")


@contextmanager
def _errors_of(parts: SplitResult) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise storage_error(error, "the download") from error
        lacking = isinstance(error, (ConnectionRefusedError, ssl.SSLCertVerificationError))
        kind = SourceLacking if lacking else DownloadFailed
        raise kind(f"The download from {parts.hostname} broke off: {error or type(error).__name__}.") from error


def _receive(
    answer: http.client.HTTPResponse, target: BinaryIO, limits: FetchLimits, digests: Digests, progress: Progress
) -> int:
    expected = answer.length or 0
    if expected > limits.max_bytes:
        raise ImageRefused(f"The image has {expected} bytes, more than the {limits.max_bytes} allowed.")
    length = 0
    while chunk := answer.read1(CHUNK):
        length += len(chunk)
        if length > limits.max_bytes:
            raise ImageRefused(f"The source delivers more than the {limits.max_bytes} bytes allowed.")
        digests.update(chunk)
        write_sparse(target, chunk)
        progress(length, expected)
    if length < expected:
        raise DownloadFailed(f"The source delivered {length} of {expected} bytes.")
    finish_sparse(target)
    return length
