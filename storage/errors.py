"""What can go wrong with images and volumes: one class per thing that a caller can do about it."""

# ruff: noqa: N818 - the names say what happened; all are errors by their base

from __future__ import annotations

from typing import ClassVar


class StorageError(Exception):
    """Base of all errors of this package. `retryable`: the same call may succeed later without any change."""

    retryable: ClassVar[bool] = False


class ImageRefused(StorageError):
    """The bytes are unsafe or not what they are said to be: the user has to give another image."""


class SourceRefused(StorageError):
    """The address of an image is one that must not be fetched: the user has to give another address."""


class ChecksumMismatch(StorageError):
    """The bytes are not those that the checksum names: the user has to correct the one or the other."""


class DownloadFailed(StorageError):
    """The source did not deliver, or not in time: try again."""

    retryable = True


class SourceLacking(DownloadFailed):
    """The source is not there, or says that it has no such image: the user has to give another address."""

    retryable = False


class SizeRefused(StorageError):
    """The wanted size cannot hold what is there: ask for a larger volume."""


class NotFound(StorageError):
    """A volume or image that the call needs is not there."""


class NoSpace(StorageError):
    """The pool or store is full: choose another, or make room."""


class PoolUnavailable(StorageError):
    """The pool or store cannot be reached, or answers with errors: try again, or look at the host."""

    retryable = True


class VolumeBusy(StorageError):
    """A running domain or another call holds the volume: try again when it is free."""

    retryable = True


class ToolMissing(StorageError):
    """A program that this package starts is not installed on this host: an operator has to look."""
