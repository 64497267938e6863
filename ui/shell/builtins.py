"""The shell's own commands."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ui.shell import help as telling
from ui.shell import rows, screen
from ui.shell.arguments import plain
from ui.shell.catalog import Api
from ui.shell.errors import ShellError, UsageError
from ui.shell.grammar import COMMANDS, Line
from ui.shell.lookup import is_identifier
from ui.shell.profiles import PROFILE_SETTINGS, SETTINGS
from ui.shell.screen import Screen
from ui.shell.shell import Shell
from ui.shell.show import View

WATCHED_EVERY = 2.0  # seconds
_SETTABLE = (*SETTINGS, *PROFILE_SETTINGS)


def run(shell: Shell, words: list[str], line: Line, out: Screen) -> None:
    """:raises ShellError: it did not succeed"""
    if line.options.help and words[0] != "help":
        given, text = COMMANDS[words[0]]
        out.write(f"{words[0]} {given}".strip() + f"\n  {text}\n")
        return
    does: Any = {
        "help": _help,
        "login": _login,
        "profile": _profile,
        "set": _set,
        "sync": _sync,
        "jobs": _jobs,
        "wait": _wait,
        "watch": _watch,
        "api": _api,
        "completion": _completion,
        "history": _history,
        "exit": lambda *_: None,
    }[words[0]]
    does(shell, words[1:], line, out)


def _help(shell: Shell, words: list[str], _line: Line, out: Screen) -> None:
    try:
        known = shell.catalog if words else shell.known()
    except ShellError:
        if words and words[0] not in COMMANDS:
            raise
        out.write(telling.overview(out, _nothing(shell)))
        return
    if not words:
        out.write(telling.overview(out, known))
    elif len(words) == 1 and words[0] in COMMANDS and words[0] not in known.verbs():
        given, text = COMMANDS[words[0]]
        out.write(f"{words[0]} {given}".strip() + f"\n  {text}\n")
    elif len(words) == 1 and words[0] in known.verbs():
        out.write(telling.of_verb(out, known, words[0]))
    else:
        out.write(telling.of_command(out, known, known.find(words)))


def _nothing(shell: Shell) -> Any:
    """A catalog without commands, for help before any cloud is known."""
    from ui.shell.catalog import Catalog

    return Catalog(shell.config.cache / "none")


def _login(shell: Shell, words: list[str], line: Line, out: Screen) -> None:
    from ui.shell.login import log_in

    log_in(shell, words, line.options, out)


def _profile(shell: Shell, words: list[str], line: Line, out: Screen) -> None:
    config = shell.config
    if words[:1] == ["remove"] and len(words) > 1:
        config.remove(words[1])
        return
    if words:
        profile = config.chosen(words[0])
        if profile.source == str(config.path) or profile.source.endswith((".ini", "config")):
            config.set("profile", profile.name)
        shell.use(profile)
        shell.remark(f"Using {profile.name}: {profile.url}")
        return
    known = config.profiles()
    used = config.chosen(shell.general.profile).name if known and not shell.is_interactive else ""
    used = shell.profile.name if known and shell.is_interactive else used
    found = [
        {"name": one.name, "used": one.name == used, "url": one.url, "source": one.source} for one in known.values()
    ]
    _show(shell, {"count": len(found), "profile": found} if found else {}, line, out, "profiles")


def _set(shell: Shell, words: list[str], line: Line, out: Screen) -> None:
    if len(words) == 1:
        raise UsageError("set takes NAME=VALUE, or NAME VALUE.", f"Settings: {', '.join(_SETTABLE)}.")
    given = [*([(words[0], " ".join(words[1:]))] if words else []), *((one.name, one.value) for one in line.arguments)]
    for name, value in given:
        if name in PROFILE_SETTINGS:
            _set_in_profile(shell, name, value, line.options.profile)
        else:
            shell.config.set(name, value)
            if name == "profile":
                shell.use(shell.config.chosen(value))
    if not given:
        found = [{"name": name, "value": shell.config.setting(name), "meaning": SETTINGS[name]} for name in SETTINGS]
        _show(shell, {"count": len(found), "setting": found}, line, out, "settings")


def _set_in_profile(shell: Shell, name: str, value: str, profile: str) -> None:
    known = shell.config.profiles()
    wanted = profile or (shell.profile.name if known else "default")
    if name == "verifycert" and value.lower() not in ("true", "false"):
        value = str(Path(value).expanduser().resolve())
        if not Path(value).is_file():
            raise UsageError(f"verifycert is true, false or the file of a CA; there is no file {value}.")
    shell.config.set_in_profile(wanted, name, value)
    shell.use(shell.config.profiles()[wanted])


def _sync(shell: Shell, _words: list[str], _line: Line, out: Screen) -> None:
    shell.sync()
    if out.is_terminal:
        out.write(f"{len(list(shell.known()))} commands\n")


def _jobs(shell: Shell, _words: list[str], line: Line, out: Screen) -> None:
    found = rows.rows_of(shell.client.call("listAsyncJobs", {"listall": "true"}))
    names = ("jobid", "cmd", "jobstatus", "jobinstancetype", "jobinstanceid", "account", "created")
    running = [row for row in found if row.get("jobstatus") == 0 or row.get("jobid") in shell.detached]
    listed = [{**{name: row[name] for name in names if name in row}, "jobstatus": _status(row)} for row in running]
    _show(shell, {"count": len(listed), "asyncjobs": listed} if listed else {}, line, out, "jobs")


def _status(row: rows.Row) -> str:
    return {0: "running", 1: "done", 2: "failed"}.get(row.get("jobstatus", 0), "unknown")


def _wait(shell: Shell, words: list[str], line: Line, out: Screen) -> None:
    given = [*words, *(shell.filled(one.value) for one in line.arguments if one.name in ("job", "jobid", "id"))]
    if len(given) != 1:
        raise UsageError("wait takes the id of one job.", "Those that run are told by: jobs")
    job_id = shell.filled(given[0])
    if not is_identifier(job_id):
        raise UsageError(f"{job_id} is no id of a job.", "Those that run are told by: jobs")
    options = shell.options(line)
    content = shell.wait(job_id, "job", options)
    shell.detached = [one for one in shell.detached if one != job_id]
    shell.last = content
    _show(shell, content, line, out, "rows")


def _watch(shell: Shell, words: list[str], line: Line, out: Screen) -> None:
    every = WATCHED_EVERY
    if words and words[0].replace(".", "", 1).isdecimal():
        every, words = max(float(words[0]), 0.2), words[1:]
    if not words:
        raise UsageError("What shall be watched?", "For example: watch 2 list virtualmachines")
    line.words = words
    shown = " ".join([*words, *(f"{one.name}={one.value}" for one in line.arguments)])
    while True:
        if out.is_terminal:
            title = f"every {every:g} s: {shown}   {time.strftime('%H:%M:%S')}   Ctrl-C ends"
            out.write("\x1b[H\x1b[2J" + out.styled(screen.cut(title, out.width), "dim") + "\n\n")
        shell.execute(line, out)
        time.sleep(every)


def _api(shell: Shell, words: list[str], line: Line, out: Screen) -> None:
    if not words:
        raise UsageError("Which command?", "For example: api listZones available=true")
    name = shell.known().named(words[0]) or words[0]
    api = shell.known()[name] if name in shell.known() else Api({"name": name})
    sent = {key: shell.filled(value) for key, value in plain(line.arguments).items()}
    shell.send(api, sent, (line, shell.options(line)), out)


def _completion(_shell: Shell, words: list[str], _line: Line, out: Screen) -> None:
    from ui.shell.scripts import SCRIPTS

    if len(words) != 1 or words[0] not in SCRIPTS:
        raise UsageError("completion is for bash, zsh or fish.", 'For example: eval "$(pileus completion bash)"')
    out.write(SCRIPTS[words[0]])


def _history(shell: Shell, words: list[str], _line: Line, out: Screen) -> None:
    from ui.shell.history import lines_of

    for one in lines_of(shell.config.folder / "history"):
        if all(word in one for word in words):
            out.write(one + "\n")


def _show(shell: Shell, content: dict[str, Any], line: Line, out: Screen, noun: str) -> None:
    view = View(content, shell.options(line), line.terms)
    view.api = view.noun = noun
    view.show(out, shell.err)
