"""The program `pileus`: one command, a script, or the interactive shell."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ui.shell import grammar
from ui.shell.errors import FAILED, INTERRUPTED, OK, ShellError, UsageError

if TYPE_CHECKING:
    from ui.shell.shell import Shell

VERSION = "0.1.0"


def main(argv: list[str] | None = None) -> int:
    """The exit code, as `ui.shell.errors` has them."""
    words = sys.argv[1:] if argv is None else argv
    try:
        code = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; Python's own flush at the exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _run(words: list[str]) -> int:
    if words[:1] == ["__complete"]:
        from ui.shell.answer import answer

        return answer(words[1:])
    if words in (["--version"], ["-v"]):
        sys.stdout.write(f"pileus {VERSION}\n")
        return OK
    from ui.shell.profiles import Config
    from ui.shell.shell import Shell

    shell = Shell(Config())
    try:
        return _served(shell, words)
    finally:
        shell.close()


def _served(shell: Shell, words: list[str]) -> int:
    try:
        line = grammar.Line(words)
        shell.general = line.options
        if line.words or line.options.help:
            return shell.perform(line)
        if line.options.file or not sys.stdin.isatty():
            return _script(shell, line.options.file or "-")
    except ShellError as error:
        return shell.report(error)
    return _interactive(shell)


def _script(shell: Shell, name: str) -> int:
    from ui.shell.shell import run_script

    if name == "-":
        return run_script(shell, "standard input", sys.stdin)
    try:
        with Path(name).open() as lines:
            return run_script(shell, name, lines)
    except OSError as error:
        raise UsageError(f"The script {name} cannot be read: {error.strerror}.") from error


def _interactive(shell: Shell) -> int:
    shell.is_interactive = True
    try:
        from ui.shell import interactive
    except ImportError:
        from ui.shell import simple

        return simple.converse(shell)
    return interactive.converse(shell)
