"""The menu of the interactive shell: found in the background, so that typing never waits for a server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Iterator

from prompt_toolkit.application import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from ui.shell import completion, screen
from ui.shell.client import Client
from ui.shell.errors import ShellError
from ui.shell.shell import Shell
from ui.shell.values import TIME_LIMIT, Values

_META = 70  # columns
_LOOK_UP = 0.05  # seconds between looks whether the line has changed meanwhile


class ShellCompleter(Completer):
    """May ask the server, which is given up after two seconds.

    While `learning` reads the commands of a new cloud, what is asked for waits for them.
    """

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.values = Values(lambda: Client(shell.profile, TIME_LIMIT), shell.known)
        self.learning: threading.Thread | None = None

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:  # noqa: ARG002 - its interface
        try:
            if self.learning is not None and self.shell.known().is_empty:
                self.learning.join()
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

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """As in `get_completions`, given up as soon as the line is another one or is sent.

        The thread is one that nothing waits for: those of the event loop's pool are joined when a line is sent.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Completion]] = loop.create_future()

        def find() -> None:
            found = list(self.get_completions(document, complete_event))
            with contextlib.suppress(RuntimeError):  # the line was sent meanwhile, and the loop has ended
                loop.call_soon_threadsafe(answer.set_result, found)

        threading.Thread(target=find, daemon=True, name="completion").start()
        while not answer.done():
            await asyncio.wait({answer}, timeout=_LOOK_UP)
            if get_app().current_buffer.text != document.text:
                return
        for one in answer.result():
            yield one


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
