"""The interactive shell: a prompt with completion that never waits, history, and word of jobs that end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import CompleteStyle

from ui.shell import completion, history, screen
from ui.shell.client import Client
from ui.shell.errors import OK, ShellError
from ui.shell.shell import Shell
from ui.shell.values import TIME_LIMIT, Values

ROWS_FOR_MENU = 8
LOOK_EVERY = 3.0  # seconds between looks at the jobs that nobody waits for
_META = 70  # columns


class ShellCompleter(Completer):
    """Asked in a thread; it may therefore ask the server, which is given up after two seconds."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.values = Values(lambda: Client(shell.profile, TIME_LIMIT), shell.known)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:  # noqa: ARG002 - its interface
        try:
            asks = self.shell.config.setting("complete") != "false"
            fetch = self.values if asks else completion.nothing
            config = self.shell.config
            engine = completion.Completer(self.shell.known(), fetch, config.profiles(), self.shell.detached)
            found, length = engine.complete(document.text_before_cursor)
        except ShellError:
            return
        for one in found:
            meta = screen.cut(screen.one_line(one.meta), _META)
            shown = one.text.rpartition("=")[2] if not one.text.endswith("=") else one.text
            yield Completion(one.text, -length, display=shown, display_meta=meta)


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


class EagerTab:
    """A Tab that is typed before there is anything to complete with counts as soon as there is."""

    def __init__(self) -> None:
        self.bindings = KeyBindings()
        self.bindings.add("tab")(self._typed)
        self._wanted: str | None = None

    def _typed(self, event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.completions:
            buffer.complete_next()
            return
        self._wanted = buffer.text if buffer.complete_while_typing() else None
        buffer.start_completion(insert_common_part=True)

    def arrived(self, buffer: Buffer) -> None:
        """Called with every change of what the menu offers."""
        if self._wanted == buffer.text and buffer.complete_state and buffer.complete_state.completions:
            self._wanted = None
            buffer.complete_next()


def session_of(shell: Shell) -> PromptSession[str]:
    completer, tab = ShellCompleter(shell), EagerTab()
    session: PromptSession[str] = PromptSession(
        history=KeptHistory(shell),
        completer=ThreadedCompleter(completer),
        complete_while_typing=shell.config.setting("complete") != "false",
        complete_style=CompleteStyle.COLUMN,
        auto_suggest=AutoSuggestFromHistory(),
        enable_history_search=False,
        reserve_space_for_menu=ROWS_FOR_MENU,
        mouse_support=False,
        key_bindings=tab.bindings,
    )
    session.default_buffer.on_completions_changed += tab.arrived
    return session


def converse(shell: Shell, session: PromptSession[str] | None = None) -> int:
    """Take lines until the user leaves."""
    session = session or session_of(shell)
    watcher = Watcher(shell)
    watcher.start()
    try:
        _greet(shell)
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
        if isinstance(session.completer, ThreadedCompleter) and isinstance(session.completer.completer, ShellCompleter):
            session.completer.completer.values.forget()


def _greet(shell: Shell) -> None:
    """Say where we are, and learn the commands of the cloud where they are not known or old."""
    try:
        told = f"{shell.profile.url} as {shell.profile.name}. Tab completes, help explains, Ctrl-D leaves."
        shell.out.write(screen.wrapped(told, shell.out.width) + "\n")
        if shell.known().is_empty or shell.known().is_old:
            shell.sync()
    except ShellError as error:
        shell.report(error)


def _prompt(shell: Shell) -> str:
    try:
        return f"pileus:{shell.profile.name}> "
    except ShellError:
        return "pileus> "


def toolbar(watcher: Watcher) -> str | None:
    count = len(watcher.running)
    return f" {count} job{'s' if count > 1 else ''} running; jobs lists them, wait JOB follows one" if count else None
