"""Runs the host's tools; the network library starts processes through here only."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from network.errors import CommandFailedError, CommandTimeoutError

TIMEOUT = 30


def run(arguments: Sequence[str], stdin: str = "", timeout: float = TIMEOUT, ok: tuple[int, ...] = (0,)) -> str:
    """What the tool writes to standard output.

    :raises CommandFailedError: its exit status is not in `ok`; the message ends with what it wrote to standard error
    :raises CommandTimeoutError: it took longer than `timeout` seconds and was ended
    """
    done = attempt(arguments, stdin, timeout)
    if done.returncode not in ok:
        reason = done.stderr.strip() or f"exit status {done.returncode}"
        raise CommandFailedError(f"{' '.join(arguments[:6])}: {reason}")
    return done.stdout


def attempt(arguments: Sequence[str], stdin: str = "", timeout: float = TIMEOUT) -> subprocess.CompletedProcess[str]:
    """The tool when it has ended, with whatever exit status.

    :raises CommandFailedError: it cannot be started
    :raises CommandTimeoutError: as `run`; `said` is what it had written to standard output
    """
    try:
        return subprocess.run(arguments, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout or ""
        raise CommandTimeoutError(f"{arguments[0]} did not end within {timeout} seconds.", said) from error
    except OSError as error:
        raise CommandFailedError(f"{arguments[0]} cannot be started: {error}.") from error
