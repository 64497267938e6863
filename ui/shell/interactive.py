"""The interactive shell: a prompt with completion that never waits, history, and word of jobs that end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.history import History
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.styles import Style

from ui.shell import history, screen
from ui.shell.catalog import MOST_OF_ALL
from ui.shell.client import Client
from ui.shell.errors import OK, ShellError
from ui.shell.menu import EagerTab, ShellCompleter
from ui.shell.screen import Screen
from ui.shell.shell import Shell
from ui.shell.values import TIME_LIMIT

ROWS_FOR_MENU = 8
LOOK_EVERY = 3.0  # seconds between looks at the jobs that nobody waits for
GREETING = 1.0  # seconds that the prompt waits at most for the commands of a cloud that is new


class KeptHistory(History):
    """In prompt_toolkit's order, which is the newest first."""

    def __init__(self, shell: Shell) -> None:
        super().__init__()
        self.path = shell.config.folder / "history"

    def load_history_strings(self) -> Iterable[str]:
        return reversed(history.lines_of(self.path))

    def store_string(self, string: str) -> None:
        history.keep(self.path, string)


class Watcher(threading.Thread):
    """Says when a job ends that was detached in this session."""

    def __init__(self, shell: Shell) -> None:
        super().__init__(daemon=True, name="jobs")
        self.shell = shell
        self._told: set[str] = set()
        self._ended = threading.Event()

    @property
    def running(self) -> list[str]:
        return [one for one in self.shell.detached if one not in self._told]

    def run(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            for job_id in self.running:
                self.look(job_id)

    def end(self) -> None:
        self._ended.set()

    def look(self, job_id: str) -> None:
        try:
            with Client(self.shell.profile, TIME_LIMIT) as client:
                answer = client.call("queryAsyncJobResult", {"jobid": job_id})
        except ShellError:
            return
        if answer.get("jobstatus", 0) == 0:
            return
        self._told.add(job_id)
        result = answer.get("jobresult")
        reason = str(result.get("errortext", "")) if isinstance(result, dict) else ""
        told = "is done" if answer.get("jobstatus") == 1 else f"failed: {reason}"
        sys.stdout.write(screen.wrapped(f"The job {job_id} {told}", self.shell.out.width) + "\n")


class Learner(threading.Thread):
    """Reads the commands of the cloud while the user types already."""

    def __init__(self, shell: Shell) -> None:
        super().__init__(daemon=True, name="commands")
        self.shell = shell
        self.catalog = shell.known()

    def run(self) -> None:
        try:
            with Client(self.shell.profile, MOST_OF_ALL) as client:
                self.catalog.sync(client)
        except ShellError as error:
            told = Screen(sys.stderr, self.shell.config.setting("color"))  # as it is now: above the prompt
            told.write(self.shell.worded(error))


def session_of(shell: Shell) -> PromptSession[str]:
    tab = EagerTab()
    session: PromptSession[str] = PromptSession(
        history=KeptHistory(shell),
        completer=ShellCompleter(shell),
        complete_while_typing=shell.config.setting("complete") != "false",
        complete_style=CompleteStyle.COLUMN,
        auto_suggest=AutoSuggestFromHistory(),
        enable_history_search=False,
        reserve_space_for_menu=ROWS_FOR_MENU,
        mouse_support=False,
        key_bindings=tab.bindings,
        style=Style.from_dict({"bottom-toolbar": "noreverse fg:#767676"}),
    )
    session.default_buffer.on_completions_changed += tab.arrived
    return session


def converse(shell: Shell, session: PromptSession[str] | None = None) -> int:
    """Take lines until the user leaves."""
    session = session or session_of(shell)
    watcher = Watcher(shell)
    watcher.start()
    try:
        learning = _greet(shell)
        if isinstance(session.completer, ShellCompleter):
            session.completer.learning = learning
        return _take_lines(shell, session, watcher)
    finally:
        watcher.end()


def _take_lines(shell: Shell, session: PromptSession[str], watcher: Watcher) -> int:
    while True:
        try:
            with patch_stdout(raw=True):
                text = session.prompt(_prompt(shell), bottom_toolbar=lambda: toolbar(watcher))
        except KeyboardInterrupt:
            continue
        except EOFError:
            return OK
        if text.strip() in ("exit", "quit"):
            return OK
        shell.run(text)
        if isinstance(session.completer, ShellCompleter):
            session.completer.values.forget()


def _greet(shell: Shell) -> Learner | None:
    """Say where we are, and learn the commands of the cloud, in the background, where they are not known or old."""
    learning = None
    try:
        told = f"{shell.profile.url} as {shell.profile.name}."
        shell.out.write(screen.wrapped(told, shell.out.width) + "\n")
        is_new = shell.known().is_empty
        if is_new or shell.known().is_old:
            learning = Learner(shell)
            learning.start()
            learning.join(GREETING if is_new else 0)
    except ShellError as error:
        shell.report(error)
    return learning


def _prompt(shell: Shell) -> str:
    try:
        name = shell.profile.name
    except ShellError:
        name = "no cloud"
    return shell.config.setting("prompt").replace("{profile}", name).rstrip() + " "


def toolbar(watcher: Watcher) -> str:
    count = len(watcher.running)
    if count:
        return f" {count} job{'s' if count > 1 else ''} running: jobs lists them, wait JOB follows one"
    return " Tab completes   Ctrl-R finds an earlier line   help VERB NOUN explains   Ctrl-D leaves"
