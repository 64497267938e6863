"""The commands that a cloud offers, as listApis tells them, kept on disk so that a start reads only what it needs."""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ui.shell import ini
from ui.shell.errors import UsageError
from ui.shell.grammar import COMMANDS

if TYPE_CHECKING:
    from ui.shell.client import Client
    from ui.shell.profiles import Profile

FORM = 2
MOST_OF_ALL = 60.0  # seconds to wait for the list of all commands
_TOLD = 70  # characters of a description that menus show
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


class _File:
    """A file that is open for as long as somebody holds it, in whatever thread; closed without a word."""

    __slots__ = ("number",)

    def __init__(self, path: Path) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


class _Kept(NamedTuple):
    """One version of the file, which stays readable when a newer one takes its place.

    `places` has the place and the length of each command's line, and the start of its description.
    """

    file: _File | None
    start: int
    places: dict[str, tuple[int, int, str]]
    at: float


class Catalog:
    """Commands by name. The file has an index in its first line, then one command a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept = _Kept(None, 0, {}, 0.0)
        self._apis: dict[str, Api] = {}

    @classmethod
    def open(cls, folder: Path, profile: Profile) -> Catalog:
        """The kept commands of a profile; empty where they have not been read yet."""
        mark = zlib.crc32(f"{profile.url} {profile.key or profile.username}".encode())
        catalog = cls(folder / f"{urlsplit(profile.url).hostname}-{mark:08x}.apis")
        catalog.load()
        return catalog

    def load(self) -> None:
        try:
            file = _File(self.path)
            with open(file.number, "rb", closefd=False) as lines:
                line = lines.readline()
            head = json.loads(line)
        except (OSError, ValueError):
            return
        if head.get("form") == FORM:
            # Commands before index: a thread that looks meanwhile reads one twice, and never by a wrong index.
            self._apis, self._kept = {}, _Kept(file, len(line), head["index"], head["at"])

    def sync(self, client: Client) -> None:
        """Read the commands from the server and keep them."""
        limit = min(client.timeout, MOST_OF_ALL)
        found = client.call("listApis", {"listall": "true"}, limit).get("api") or []
        self.keep([one for one in found if isinstance(one, dict) and one.get("name")])

    def keep(self, described: list[dict[str, Any]]) -> None:
        lines: list[str] = []
        index: dict[str, tuple[int, int, str]] = {}
        place = 0
        for one in sorted(described, key=lambda one: str(one["name"])):
            line = json.dumps(one, separators=(",", ":"))
            index[str(one["name"])] = (place, len(line), str(one.get("description") or "")[:_TOLD])
            lines.append(line)
            place += len(line) + 1
        head = json.dumps({"form": FORM, "at": time.time(), "index": index})
        try:
            ini.write_private(self.path, "\n".join([head, *lines]) + "\n")
        except OSError:  # a home that cannot be written to: it is then asked for at every start
            self._kept = _Kept(None, 0, index, time.time())
            self._apis = {str(one["name"]): Api(one) for one in described}
            return
        self.load()

    @property
    def is_empty(self) -> bool:
        return not self._kept.places

    @property
    def is_old(self) -> bool:
        return time.time() - self._kept.at > OLD_AFTER

    def __contains__(self, name: str) -> bool:
        return name in self._kept.places

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept.places)

    def __getitem__(self, name: str) -> Api:
        """:raises KeyError: there is no such command."""
        kept, known = self._kept, self._apis
        if name not in known:
            place, length, _ = kept.places[name]
            if kept.file is None:
                raise KeyError(name)
            known[name] = Api(json.loads(os.pread(kept.file.number, length, kept.start + place)))
        return known[name]

    def told(self, name: str) -> str:
        """The start of a command's description, without reading the command."""
        return self._kept.places[name][2]

    def verbs(self) -> list[str]:
        return sorted({split(name)[0] for name in self._kept.places})

    def nouns(self, verb: str) -> dict[str, str]:
        """The nouns of a verb with the names of their commands."""
        pairs = ((split(name), name) for name in self._kept.places)
        return {noun: name for (its, noun), name in pairs if its == verb and noun}

    def named(self, word: str) -> str:
        """The command that is called `word`, in whatever case, or nothing."""
        if word in self._kept.places:
            return word
        return next((name for name in self._kept.places if name.lower() == word.lower()), "")

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
            spelt = {" ".join(split(name)): name for name in self._kept.places}
            close = alike(" ".join(words), spelt) or alike(words[0], [*COMMANDS, *self.verbs()])
        return f"Did you mean {', or '.join(close)}?" if close else "All are told by: help"


def alike(word: str, words: Iterable[str]) -> list[str]:
    """Up to three of `words` that `word` may stand for."""
    from difflib import get_close_matches

    known = {one.lower(): one for one in words}
    within = [one for one in known if word.lower() in one]
    close = [*get_close_matches(word.lower(), known, 3, _LIKE), *sorted(within, key=len)]
    return [known[one] for one in dict.fromkeys(close)][:3]
