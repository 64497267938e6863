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
    try:
        done = subprocess.run(arguments, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise CommandTimeoutError(f"{arguments[0]} did not end within {timeout} seconds.") from error
    except OSError as error:
        raise CommandFailedError(f"{arguments[0]} cannot be started: {error}.") from error
    if done.returncode not in ok:
        reason = done.stderr.strip() or f"exit status {done.returncode}"
        raise CommandFailedError(f"{' '.join(arguments[:6])}: {reason}")
    return done.stdout
