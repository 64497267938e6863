"""What may come next on a line: verbs, nouns, parameters, values, options."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ui.shell import grammar, lookup
from ui.shell.catalog import Api, Catalog, Parameter
from ui.shell.grammar import COMMANDS
from ui.shell.profiles import ALIASES, CHOICES, PROFILE_SETTINGS, SETTINGS
from ui.shell.rows import Row

_FLAG_VALUES = {"-o": CHOICES["output"], "--output": CHOICES["output"]}
_SHELLS = ("bash", "zsh", "fish")
_KEYS = re.compile(r"([^=@\s]+)@?=")


class Candidate(NamedTuple):
    """`text` replaces the word that is being typed; `meta` tells about it."""

    text: str
    meta: str = ""


Fetch = Callable[[str, Mapping[str, str], str], list[Row]]
"""(list command, its parameters, beginning of the value) -> rows; may be slow, never raises."""


def nothing(_name: str, _sent: Mapping[str, str], _value: str) -> list[Row]:
    """The rows where completion may not ask for values."""
    return []


class Completer:
    def __init__(self, catalog: Catalog, fetch: Fetch, profiles: Iterable[str] = (), jobs: Iterable[str] = ()) -> None:
        self.catalog, self.fetch = catalog, fetch
        self.profiles, self.jobs = list(profiles), list(jobs)

    def complete(self, text: str) -> tuple[list[Candidate], int]:
        """The candidates, and how many characters at the end of `text` they replace."""
        start = word_start(text)
        if start < 0:
            return [], 0
        words, _, _ = grammar.split(text[:start])
        typed, _, _ = grammar.split(text[start:])
        current = typed[0] if typed else ""
        return self._next(words, current), len(text) - start

    def _next(self, words: list[str], current: str) -> list[Candidate]:
        before = words[-1] if words else ""
        if before in ("-p", "--profile"):
            return _starting(current, self.profiles)
        if before in _FLAG_VALUES:
            return _starting(current, _FLAG_VALUES[before])
        if current.startswith("-"):
            return [Candidate(flag, text) for flag, (_, _, text) in grammar.FLAGS.items() if flag.startswith(current)]
        plain = _without_options(words)
        if not plain:
            return self._first(current)
        if plain[0] in COMMANDS and not (len(plain) > 1 and self.catalog.of(plain[0], plain[1])):
            own = self._own(plain, current)
            return own if plain[0] not in self.catalog.verbs() else [*own, *self._nouns(plain[0], current)]
        return self._of_command(plain, before, current)

    def _first(self, current: str) -> list[Candidate]:
        if current[:1].isalpha() and current.lower() != current:
            return [
                Candidate(name, self.catalog.told(name))
                for name in self.catalog
                if name.lower().startswith(current.lower())
            ]
        verbs = _starting(current, self.catalog.verbs())
        own = [Candidate(name, text) for name, (_, text) in COMMANDS.items() if name.startswith(current)]
        return [*(one for one in verbs if one.text not in COMMANDS), *own]

    def _own(self, words: list[str], current: str) -> list[Candidate]:
        rest = words[1:]
        if words[0] == "watch":
            return self._next(rest[1:] if rest and rest[0][0].isdigit() else rest, current)
        if words[0] == "help" and len(rest) < 2:  # noqa: PLR2004 - verb and noun
            return self._nouns(rest[0], current) if rest else self._first(current)
        if words[0] == "api":
            return self._of_command(rest, "", current) if rest else _starting(current, self.catalog)
        if words[0] == "set":
            return self._settings(current)
        choices = {"profile": self.profiles, "completion": _SHELLS, "wait": self.jobs}.get(words[0], ())
        return _starting(current, choices) if not rest else []

    def _settings(self, current: str) -> list[Candidate]:
        name, sign, value = current.partition("=")
        if not sign:
            known = {**SETTINGS, **PROFILE_SETTINGS}
            return [Candidate(f"{one}=", text) for one, text in known.items() if one.startswith(current)]
        choices = self.profiles if name == "profile" else CHOICES.get(ALIASES.get(name, name), ())
        return [Candidate(f"{name}={one}") for one in choices if one.startswith(value)]

    def _nouns(self, verb: str, current: str) -> list[Candidate]:
        nouns = self.catalog.nouns(verb)
        found = [noun for noun in nouns if noun.startswith(current.lower())]
        found = found or [noun for noun in nouns if current.lower() in noun]
        return [Candidate(noun, self.catalog.told(nouns[noun])) for noun in sorted(found)]

    def _of_command(self, words: list[str], before: str, current: str) -> list[Candidate]:
        name = self.catalog.named(words[0]) if len(words) == 1 or "=" in words[1] else ""
        name = name or (self.catalog.of(words[0], words[1]) if len(words) > 1 else "")
        if not name:
            return self._nouns(words[0], current) if len(words) == 1 else []
        api = self.catalog[name]
        if before in ("-c", "--columns"):
            return _fields(api, "", current)
        if "where" in words:
            return _fields(api, "", current, "=") if "=" not in current else []
        given = {found[1].lower(): word[found.end() :] for word in words if (found := _KEYS.match(word))}
        if found := _KEYS.match(current):
            return self._values(api, found, current[found.end() :], given)
        return self._parameters(api, current.lower(), given)

    @staticmethod
    def _parameters(api: Api, current: str, given: Mapping[str, str]) -> list[Candidate]:
        free = [param for name, param in api.params.items() if name not in given]
        found = [param for param in free if param.name.lower().startswith(current)]
        found = found or [param for param in free if current in param.name.lower()]
        named = [Candidate(f"{p.name}=", ("needed: " if p.required else "") + p.description) for p in found]
        if "filter".startswith(current) and api.verb == "list" and not {"filter"} & {*given, *api.params}:
            named.append(Candidate("filter=", "these fields, in this order"))
        return named

    def _values(self, api: Api, key: re.Match[str], value: str, given: Mapping[str, str]) -> list[Candidate]:
        name = key[1].lower()
        if name == "filter" and name not in api.params:
            return _fields(api, key[0], value)
        param = next((api.params[one] for one in (name, f"{name}id", f"{name}ids") if one in api.params), None)
        if param is None or "@" in key[0]:
            return []
        done, comma, rest = value.rpartition(",") if param.type == "list" else ("", "", value)
        lead = key[0] + done + comma
        if param.type == "boolean":
            return [Candidate(lead + one) for one in ("true", "false") if one.startswith(rest.lower())]
        if param.allowed:
            return [Candidate(lead + one) for one in param.allowed if one.lower().startswith(rest.lower())]
        return self._things(api, param, lead, rest, given)

    def _things(self, api: Api, param: Parameter, lead: str, value: str, given: Mapping[str, str]) -> list[Candidate]:
        """Things of the cloud: by name where the name is of one only, else by id."""
        source = lookup.source(self.catalog, api, param)
        by_id = lookup.takes_identifiers(param)
        if not source or not (by_id or param.related):
            return []
        rows = self.fetch(source, lookup.filters(self.catalog[source], param, given), value)
        names = [lookup.name_of(row) for row in rows]
        found = []
        for row, name in zip(rows, names, strict=True):
            identifier = str(row.get("id", ""))
            is_typed_id = by_id and value and identifier.startswith(value.lower())
            if not is_typed_id and value.lower() not in (name or lookup.label(row)).lower():
                continue
            text = name if name and names.count(name) == 1 and not is_typed_id else identifier
            meta = " ".join(filter(None, [lookup.label(row) if text != name else "", _told(row, text)]))
            if text:
                found.append(Candidate(lead + grammar.quoted(text), meta))
        return sorted(found, key=lambda one: (not one.text[len(lead) :].lower().startswith(value.lower()), one.text))


def word_start(text: str) -> int:
    """Where the word begins that is typed at the end of `text`; -1 behind a pipe or in a comment."""
    start: int | None = None
    for kind, first, piece in grammar.pieces(text):
        if kind == "blank":
            start = None
        elif kind == "special" and (piece == "|" or start is None):
            return -1
        elif start is None:
            start = first
    return len(text) if start is None else start


def _without_options(words: list[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-") and len(word) > 1:
            flag = grammar.FLAGS.get(grammar.LONG.get(word, word))
            skip = flag is not None and bool(flag[1])
        else:
            kept.append(word)
    return kept


def _starting(current: str, words: Iterable[str]) -> list[Candidate]:
    return [Candidate(word) for word in words if word.lower().startswith(current.lower())]


def _fields(api: Api, lead: str, current: str, end: str = "") -> list[Candidate]:
    done, comma, rest = current.rpartition(",")
    names = sorted(str(field["name"]) for field in api.fields)
    return [Candidate(lead + done + comma + name + end) for name in names if name.startswith(rest)]


def _told(row: Row, text: str) -> str:
    """What tells things of one name apart."""
    told = [str(row[name]) for name in ("state", "zonename", "account") if row.get(name)]
    return " ".join([*told, *([str(row["id"])] if row.get("id") and row["id"] != text else [])])
