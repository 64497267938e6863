"""The interactive shell without prompt_toolkit: a plain prompt, with the editing that Python's readline gives."""

from __future__ import annotations

import contextlib

from ui.shell.errors import OK
from ui.shell.shell import Shell


def converse(shell: Shell) -> int:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - being imported gives input() its editing
    shell.remark("Completion needs the Python package prompt_toolkit.")
    code = OK
    while True:
        try:
            text = input("pileus> ")
        except EOFError:
            return code
        except KeyboardInterrupt:
            shell.err.write("\n")
            continue
        if text.strip() in ("exit", "quit"):
            return code
        code = shell.run(text)
