"""Completion for bash, zsh and fish: `pileus __complete SHELL LINE` answers from what is kept on disk."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ui.shell import grammar
from ui.shell.catalog import Catalog
from ui.shell.completion import Completer, nothing, word_start
from ui.shell.errors import FAILED, OK, ShellError
from ui.shell.kept_values import KeptValues
from ui.shell.profiles import Config

RENEW = "renew"
_META = 60  # characters


def answer(words: list[str]) -> int:
    """`SHELL LINE`, the line up to the cursor; or `renew PROFILE KEY`, which fetches values for later."""
    config = Config()
    try:
        if words[0] == RENEW:
            _renew(config, words[1], words[2])
        else:
            sys.stdout.write(_lines(config, words[0], words[1]))
    except (ShellError, IndexError):
        return FAILED
    return OK


def _lines(config: Config, shell: str, text: str) -> str:
    start = re.match(r"\s*\S+\s", text)
    typed = text[start.end() :] if start else ""
    profile = _named(typed)
    catalog = Catalog.open(config.cache, config.chosen(profile))
    values = KeptValues(_file(catalog), ["__complete", RENEW, profile])
    fetch = values if config.setting("complete") != "false" else nothing
    found, length = Completer(catalog, fetch, config.profiles()).complete(typed)
    raw = typed[len(typed) - length :] if length else ""
    if shell != "bash":
        return "".join(f"{one.text}\t{_short(one.meta)}\n" for one in found)
    # bash has split the word at = and :, and replaces the last part only.
    done = max(raw.rfind("="), raw.rfind(":")) + 1
    return "".join(f"{one.text[done:]}\n" for one in found if one.text.lower().startswith(raw[:done].lower()))


def _named(typed: str) -> str:
    words = grammar.split(typed[: max(word_start(typed), 0)])[0]
    places = [number for number, word in enumerate(words[:-1]) if word in ("-p", "--profile")]
    return words[places[-1] + 1] if places else ""


def _renew(config: Config, profile: str, key: str) -> None:
    from ui.shell.client import Client
    from ui.shell.values import TIME_LIMIT, fetched

    chosen = config.chosen(profile)
    catalog = Catalog.open(config.cache, chosen)
    name, *pairs = key.split("&")
    sent = dict(pair.split("=", 1) for pair in pairs)
    with Client(chosen, TIME_LIMIT) as client:
        KeptValues(_file(catalog), []).keep(key, fetched(client, catalog, name, sent, "").rows)


def _file(catalog: Catalog) -> Path:
    return catalog.path.with_suffix(".values")


def _short(meta: str) -> str:
    line = " ".join(meta.split())
    return line if len(line) <= _META else line[: _META - 1] + "…"
