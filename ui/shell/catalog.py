"""The commands that a cloud offers, as listApis tells them, kept on disk so that a start reads only what it needs."""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ui.shell import ini
from ui.shell.client import Client
from ui.shell.errors import UsageError
from ui.shell.grammar import COMMANDS
from ui.shell.profiles import Profile

FORM = 1
OLD_AFTER = 24 * 3600  # seconds; the interactive shell then reads the commands again
_SPLIT = re.compile(r"([a-z]+)(.*)$", re.DOTALL)
_LIKE = 0.6


class Parameter:
    __slots__ = ("allowed", "description", "name", "related", "required", "type")

    def __init__(self, described: dict[str, Any]) -> None:
        self.name = str(described.get("name", ""))
        self.type = str(described.get("type", "string")).lower()
        self.required = described.get("required") is True
        self.description = str(described.get("description") or "")
        self.related = [name for name in str(described.get("related") or "").split(",") if name]
        given = described.get("allowedvalues") or ()
        allowed = given.split(",") if isinstance(given, str) else [str(one) for one in given]
        self.allowed = [one.strip() for one in allowed] or _told(self.description)


class Api:
    """One command. `verb` is the leading lower-case letters of its name, `noun` the rest in lower case."""

    __slots__ = ("description", "fields", "is_async", "name", "noun", "params", "verb")

    def __init__(self, described: dict[str, Any]) -> None:
        self.name = str(described.get("name", ""))
        self.verb, self.noun = split(self.name)
        self.description = str(described.get("description") or "")
        self.is_async = described.get("isasync") is True
        params = [Parameter(one) for one in described.get("params") or ()]
        self.params = {param.name.lower(): param for param in sorted(params, key=lambda p: (not p.required, p.name))}
        self.fields: list[dict[str, Any]] = [one for one in described.get("response") or () if one.get("name")]


def split(name: str) -> tuple[str, str]:
    """The verb and the noun of a command's name."""
    found = _SPLIT.match(name)
    return (found[1], found[2].lower()) if found else ("", name.lower())


def initials(name: str) -> str:
    """`vms` of listVirtualMachines; nothing where the noun is one word or holds an acronym, or is about figures."""
    noun = name[len(split(name)[0]) :]
    words = re.findall(r"[A-Z][a-z0-9]+", noun)
    if len(words) < 2 or "".join(words) != noun or words[-1] == "Metrics":  # noqa: PLR2004 - two words at least
        return ""
    plural = "s" if words[-1].endswith("s") else ""
    return "".join(word[0] for word in words).lower() + plural


def _told(description: str) -> list[str]:
    """The values that a description enumerates in one of the ways that clouds do."""
    found = re.search(
        r"(?:one of|valid (?:options|values) (?:are|include)|possible values (?:are|include)|values are|can be one of|"
        r"allowed values are)\s*:?\s*((?:['\"]?[\w.-]+['\"]?(?:\s*,\s*(?:and |or )?|\s+(?:and|or)\s+)?)+)",
        description,
        re.IGNORECASE,
    )
    if not found:
        return []
    parts = re.split(r"\s*,\s*(?:and |or )?|\s+(?:and|or)\s+", found[1])
    words = [part.strip(" '\".") for part in parts]
    return [word for word in words if word and " " not in word] if len(words) > 1 or "one of" in found[0] else []


class Catalog:
    """Commands by name. The file has an index in its first line, then one command a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start, self._index, self.read_at = 0, {}, 0.0
        self._apis: dict[str, Api] = {}

    _index: dict[str, list[int]]

    @classmethod
    def open(cls, folder: Path, profile: Profile) -> Catalog:
        """The kept commands of a profile; empty where they have not been read yet."""
        mark = zlib.crc32(f"{profile.url} {profile.key or profile.username}".encode())
        catalog = cls(folder / f"{urlsplit(profile.url).hostname}-{mark:08x}.apis")
        catalog.load()
        return catalog

    def load(self) -> None:
        try:
            with self.path.open("rb") as file:
                line = file.readline()
            head = json.loads(line)
        except (OSError, ValueError):
            return
        if head.get("form") == FORM:
            self._start, self._index, self.read_at = len(line), head["index"], head["at"]
            self._apis.clear()

    def sync(self, client: Client) -> None:
        """Read the commands from the server and keep them."""
        found = client.call("listApis", {"listall": "true"}).get("api") or []
        self.keep([one for one in found if isinstance(one, dict) and one.get("name")])

    def keep(self, described: list[dict[str, Any]]) -> None:
        lines, index, place = [], {}, 0
        for one in sorted(described, key=lambda one: str(one["name"])):
            line = json.dumps(one, separators=(",", ":"))
            index[str(one["name"])] = [place, len(line)]
            lines.append(line)
            place += len(line) + 1
        head = json.dumps({"form": FORM, "at": time.time(), "index": index})
        try:
            ini.write_private(self.path, "\n".join([head, *lines]) + "\n")
        except OSError:  # a home that cannot be written to: it is then asked for at every start
            self._index, self.read_at = index, time.time()
            self._apis = {str(one["name"]): Api(one) for one in described}
            return
        self.load()

    @property
    def is_empty(self) -> bool:
        return not self._index

    @property
    def is_old(self) -> bool:
        return time.time() - self.read_at > OLD_AFTER

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __getitem__(self, name: str) -> Api:
        """:raises KeyError: there is no such command."""
        if name not in self._apis:
            place, length = self._index[name]
            with self.path.open("rb") as file:
                os.lseek(file.fileno(), self._start + place, os.SEEK_SET)
                self._apis[name] = Api(json.loads(file.read(length)))
        return self._apis[name]

    def verbs(self) -> list[str]:
        return sorted({split(name)[0] for name in self._index})

    def nouns(self, verb: str) -> dict[str, str]:
        """The nouns of a verb with the names of their commands."""
        pairs = ((split(name), name) for name in self._index)
        return {noun: name for (its, noun), name in pairs if its == verb and noun}

    def named(self, word: str) -> str:
        """The command that is called `word`, in whatever case, or nothing."""
        if word in self._index:
            return word
        return next((name for name in self._index if name.lower() == word.lower()), "")

    def of(self, verb: str, noun: str) -> str:
        """The command of `verb noun`, or nothing. The noun may be given by its initials where they are of one only."""
        nouns = self.nouns(verb)
        if noun.lower() in nouns:
            return nouns[noun.lower()]
        short = [name for name in nouns.values() if initials(name) == noun.lower()]
        return short[0] if len(short) == 1 else ""

    def find(self, words: list[str]) -> Api:
        """:raises UsageError: no command is called so; the sentence names those that are meant perhaps."""
        name = self.named(words[0]) if len(words) == 1 else self.of(*words[:2]) if len(words) > 1 else ""
        if name and len(words) <= 2:  # noqa: PLR2004 - verb and noun
            return self[name]
        if name:
            raise UsageError(f"The word {words[2]} is no argument.", "Arguments are written name=value.")
        if len(words) == 1 and words[0] in self.verbs():
            nouns = ", ".join(sorted(self.nouns(words[0])))
            raise UsageError(f"What shall {words[0]} work on?", f"It knows: {nouns}.")
        raise UsageError(f"There is no command {' '.join(words)}.", self._meant(words))

    def _meant(self, words: list[str]) -> str:
        if len(words) > 1 and words[0] in self.verbs():
            close = [f"{words[0]} {noun}" for noun in alike(words[1], self.nouns(words[0]))]
        else:
            spelt = {" ".join(split(name)): name for name in self._index}
            close = alike(" ".join(words), spelt) or alike(words[0], [*COMMANDS, *self.verbs()])
        return f"Did you mean {', or '.join(close)}?" if close else "All are told by: help"


def alike(word: str, words: Iterable[str]) -> list[str]:
    """Up to three of `words` that `word` may stand for."""
    from difflib import get_close_matches

    known = {one.lower(): one for one in words}
    within = [one for one in known if word.lower() in one]
    close = [*get_close_matches(word.lower(), known, 3, _LIKE), *sorted(within, key=len)]
    return [known[one] for one in dict.fromkeys(close)][:3]
