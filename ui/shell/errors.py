"""What can go wrong, each with the exit code of the program."""

from __future__ import annotations

OK, FAILED, USAGE, AUTH, JOB, LATE, UNREACHABLE = range(7)
INTERRUPTED = 130  # as shells tell SIGINT


class ShellError(Exception):
    """A sentence for the user; `hint` is what to do about it."""

    exit_code = FAILED

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.text, self.hint = text, hint


class UsageError(ShellError):
    exit_code = USAGE


class ApiError(ShellError):
    """The API refused the call; `code` is CloudStack's, or the HTTP status."""

    def __init__(self, code: int, text: str, hint: str = "") -> None:
        super().__init__(text, hint)
        self.code = code


class AuthError(ApiError):
    exit_code = AUTH


class JobError(ApiError):
    exit_code = JOB


class LateError(ShellError):
    exit_code = LATE


class ReachError(ShellError):
    exit_code = UNREACHABLE


class DetachedError(ShellError):
    """The user stopped waiting for a job, which goes on."""

    exit_code = INTERRUPTED
