"""The shell itself: takes one command after another, and holds what they share."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import IO, Any

from ui.shell import arguments, grammar, jobs, rows, screen
from ui.shell.catalog import Api, Catalog
from ui.shell.client import Ask, Client
from ui.shell.errors import FAILED, INTERRUPTED, OK, ApiError, DetachedError, ShellError, UsageError
from ui.shell.grammar import COMMANDS, WORDLESS, Argument, Line, Options
from ui.shell.profiles import Config, Profile
from ui.shell.screen import Screen
from ui.shell.show import View

PAGE = 500  # rows; the most that CloudStack gives at once
PLACEMENT = "explainPlacement"  # a command beyond CloudStack's; used where the server has it
NO_CAPACITY = 533
_LAST = re.compile(r"\$last((?:\.[\w-]+)*)")


class Shell:
    """`general` are the options that hold for every command of the session."""

    def __init__(self, config: Config, general: Options | None = None, *, interactive: bool = False) -> None:
        self.config, self.general = config, general or Options()
        self.is_interactive = interactive
        self.last: dict[str, Any] = {}
        self.detached: list[str] = []
        self._profile: Profile | None = None
        self._client: Client | None = None
        self._catalog: Catalog | None = None
        self._tells_calls = False
        self.out, self.err = self.screen(sys.stdout), self.screen(sys.stderr)

    def screen(self, stream: IO[str]) -> Screen:
        return Screen(stream, self.config.setting("color"))

    @property
    def profile(self) -> Profile:
        if self._profile is None:
            self._profile = self.config.meant(self.general)
        return self._profile

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = Client(self.profile, self.timeout(self.general), self._ask)
        self._client.trace = self._traced if self._tells_calls else None
        return self._client

    @property
    def _ask(self) -> Ask | None:
        """How to ask for the code of a second factor; None without a terminal, so that no script is read for it."""
        if not sys.stdin.isatty():
            return None
        from ui.shell.login import read_secret

        return read_secret

    def _traced(self, line: str) -> None:
        self.err.write(self.err.styled(line, "dim") + "\n")

    @property
    def catalog(self) -> Catalog:
        """The commands of the cloud, read from it where they are not known yet."""
        if self._catalog is None:
            self._catalog = Catalog.open(self.config.cache, self.profile)
        if self._catalog.is_empty:
            self.sync()
        return self._catalog

    def known(self) -> Catalog:
        """The commands as far as they are known without asking."""
        if self._catalog is None:
            self._catalog = Catalog.open(self.config.cache, self.profile)
        return self._catalog

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def use(self, profile: Profile) -> None:
        self.close()
        self._profile, self._client, self._catalog = profile, None, None

    def sync(self) -> None:
        self.remark(f"Reading the commands of {self.profile.url}")
        self.known().sync(self.client)

    def timeout(self, options: Options) -> float:
        text = options.timeout or self.config.setting("timeout")
        try:
            return max(float(text), 0.001)
        except ValueError as error:
            raise UsageError(f"A timeout is a number of seconds, and {text} is none.") from error

    def remark(self, text: str) -> None:
        """Say something to people that programs have no use for."""
        if self.err.is_terminal and not self.general.quiet:
            self.err.write(self.err.styled(screen.wrapped(text, self.err.width), "dim") + "\n")

    def run(self, text: str) -> int:
        """Run one typed line; the exit code. What went wrong has been told."""
        text = text.strip().removeprefix("pileus ").lstrip()  # as it stands in instructions
        if text.startswith("!"):
            return run_sh(os.environ.get("SHELL") or "/bin/sh", text[1:])
        try:
            line = grammar.read(text)
        except ShellError as error:
            return self.report(error)
        return self.perform(line) if line.words or line.options.__dict__ else OK

    def perform(self, line: Line) -> int:
        """Run one command, its output to where it shall go; the exit code."""
        try:
            if not line.tail:
                self.execute(line, self.out)
                return OK
            caught = io.StringIO()
            self.execute(line, Screen(caught))
            return run_sh("/bin/sh", line.tail, caught.getvalue().encode())
        except ShellError as error:
            return self.report(error)
        except KeyboardInterrupt:
            self.err.write("\n")
            return INTERRUPTED
        except BrokenPipeError:
            raise
        except OSError as error:
            return self.report(ShellError(f"{error.filename or 'Output'}: {error.strerror or error}."))

    def report(self, error: ShellError) -> int:
        self.err.write(self.worded(error))
        return error.exit_code

    def worded(self, error: ShellError) -> str:
        """What is told of an error: the sentence, and below it what to do."""
        title = "pileus: "
        code = f" ({error.code})" if isinstance(error, ApiError) else ""
        indent, style = " " * len(title), "yellow" if isinstance(error, DetachedError) else "red"
        text = screen.wrapped(f"{error.text}{code}", self.err.width, indent)[len(indent) :]
        lines = [self.err.styled(title.strip(), style) + " " + text]
        for line in error.hint.splitlines():
            lead = " " * (len(line) - len(line.lstrip()))
            lines.append(screen.wrapped(line.strip(), self.err.width, indent + lead) if line.strip() else "")
        return "\n".join(lines) + "\n"

    def options(self, line: Line) -> Options:
        """What holds for the line: what it says, what the session says, what is set."""
        found = line.options.under(self.general)
        found.output = found.output or self.config.setting("output")
        return found

    def execute(self, line: Line, out: Screen) -> None:
        """:raises ShellError: it did not succeed"""
        options = self.options(line)
        self._tells_calls = options.debug
        words = line.words or ["help"]
        if not line.options.chooses_cloud or words[0] in ("login", "set"):
            self._execute(words, line, options, out)
            return
        before, meant = self.profile, self.config.meant(options)
        if meant == before:
            self._execute(words, line, options, out)
            return
        self.use(meant)
        try:
            self._execute(words, line, options, out)
        finally:
            self.use(before)

    def _execute(self, words: list[str], line: Line, options: Options, out: Screen) -> None:
        if words[0] in COMMANDS and not self._is_api(words):
            from ui.shell import builtins

            builtins.run(self, words, line, out)
            return
        api = self._found(words)
        if options.help:
            from ui.shell import help as telling

            out.write(telling.of_command(out, self.catalog, api))
            return
        self._call(api, line, options, out)

    def _is_api(self, words: list[str]) -> bool:
        """Whether a word of the shell begins a command of the cloud here: `sync storagepool`, `wait` never alone."""
        if len(words) < 2 or words[0] in ("help", "api", "watch"):  # noqa: PLR2004 - verb and noun
            return False
        if words[0] in WORDLESS:
            return True
        try:
            return bool(self.known().of(words[0], words[1]))
        except ShellError:
            return False  # without a cloud there are only our own

    def _found(self, words: list[str]) -> Api:
        try:
            return self.catalog.find(words)
        except UsageError:
            if not self.catalog.is_old:
                raise
        self.sync()
        return self.catalog.find(words)

    def _call(self, api: Api, line: Line, options: Options, out: Screen) -> None:
        given = [one._replace(value=self.filled(one.value)) for one in line.arguments]
        if "filter" not in api.params:
            options.columns = next((one.value for one in given if one.name == "filter"), options.columns)
            given = [one for one in given if one.name != "filter"]
        _check_pages(api, given, options)
        sent = arguments.prepare(self.client, self.catalog, api, given)
        self.send(api, sent, (line, options), out)

    def send(self, api: Api, sent: dict[str, str], how: tuple[Line, Options], out: Screen) -> None:
        """Call the command, wait for its job, show what came of it."""
        line, options = how
        if options.dry_run or options.curl:
            from ui.shell import dry_run

            out.write(dry_run.told(self.client, api.name, sent, curl=options.curl))
            return
        terms = [term._replace(value=self.filled(term.value)) for term in line.terms]
        try:
            content = self._answer(api, sent, options)
        except ApiError as error:
            self._explain(api, sent, error)
            raise
        self.last = content
        view = View(content, options, terms)
        view.api, view.noun = api.name, api.noun or "rows"
        view.show(out, self.err)

    def _answer(self, api: Api, sent: dict[str, str], options: Options) -> dict[str, Any]:
        timeout = self.timeout(options)
        if options.all:
            return self._pages(api, sent, timeout)
        content = self.client.call(api.name, sent, timeout)
        if not (api.is_async and content.get("jobid")):
            return content
        blocks = not options.no_block and self.config.setting("block") != "false"
        if not blocks:
            self.detached.append(str(content["jobid"]))
            return content
        return self.wait(str(content["jobid"]), api.name, options)

    def wait(self, job_id: str, title: str, options: Options) -> dict[str, Any]:
        progress = jobs.Progress(self.err, title, job_id, quiet=options.quiet)
        try:
            return jobs.wait(self.client, self.known(), progress, self.timeout(options))
        except DetachedError:
            self.detached.append(job_id)
            raise

    def _pages(self, api: Api, sent: dict[str, str], timeout: float) -> dict[str, Any]:
        found: list[rows.Row] = []
        while True:
            page = {"page": str(len(found) // PAGE + 1), "pagesize": str(PAGE)}
            content = self.client.call(api.name, {**sent, **page}, timeout)
            more = rows.rows_of(content)
            found += more
            if len(more) < PAGE or len(found) >= int(content.get("count", 0)):
                return rows.with_rows(content, found) if more else {rows.key_of(content) or api.noun: found}

    def _explain(self, api: Api, sent: dict[str, str], error: ApiError) -> None:
        """Tell, where the server can, why no host could take the VM."""
        if error.code != NO_CAPACITY or PLACEMENT not in self.known() or not self.err.is_terminal:
            return
        takes = self.catalog[PLACEMENT].params
        asked = {name: value for name, value in sent.items() if re.split(r"[.\[]", name)[0] in takes}
        if "id" in sent and "virtualmachine" in api.name.lower():
            asked = {"virtualmachineid": sent["id"]}
        try:
            found = rows.rows_of(self.client.call(PLACEMENT, asked))
        except ShellError:
            return
        if found:
            names = [name for name in ("host", "fits", "reason") if any(name in row for row in found)]
            self.err.write(screen.table(self.err, found, names)[0])

    def filled(self, text: str) -> str:
        """`text` with `$last.id` and the like replaced by fields of the answer before."""

        def field(found: re.Match[str]) -> str:
            things = rows.rows_of(self.last)
            path = found[1].lstrip(".") or "id"
            value = rows.value_of(things, path) if path[0].isdecimal() else rows.value_of((things or [{}])[0], path)
            if value is None or isinstance(value, list | dict):
                raise UsageError(f"{found[0]} is nothing: the answer before has no such field.")
            return rows.plain(value)

        return _LAST.sub(field, text)


def run_sh(program: str, line: str, given: bytes | None = None) -> int:
    """Run a line that the user typed for another shell, as any shell does; its exit code."""
    import subprocess

    return subprocess.run([program, "-c", line], check=False, input=given).returncode


def _check_pages(api: Api, given: list[Argument], options: Options) -> None:
    if options.all and {"page", "pagesize"} & {one.name for one in given}:
        raise UsageError("--all reads every page; page and pagesize ask for one.")
    if options.all and "pagesize" not in api.params:
        raise UsageError(f"{api.verb} {api.noun} has no pages.")


def run_script(shell: Shell, name: str, lines: IO[str]) -> int:
    """Run every line of a script; unless told to go on, end at the first that fails, with its exit code."""
    code, text = OK, ""
    for number, line in enumerate(lines, 1):
        text += line.rstrip("\n")
        if text.endswith("\\"):
            text = text[:-1]
            continue
        words = text.split()
        if words and words[0] in ("exit", "quit"):
            return code
        done = shell.run(text) if words and not words[0].startswith("#") else OK
        text = ""
        if done != OK:
            shell.err.write(f"pileus: {name}, line {number} failed.\n")
            code = done if 0 < done < 256 else FAILED  # noqa: PLR2004 - exit codes are bytes
            if not shell.general.keep_going or done == INTERRUPTED:
                return code
    return code
