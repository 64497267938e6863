"""The language of the shell: words, name=value arguments, options, and what follows in a pipe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ui.shell.errors import UsageError

_ARGUMENT = re.compile(r"([A-Za-z_][\w.\[\]-]*)(@?=)(.*)$", re.DOTALL)
_TERM = re.compile(r"([\w.\[\]-]+)(!=|!~|>=|<=|=|~|>|<)(.*)$", re.DOTALL)
_PIECE = re.compile(
    r"""(?P<escaped>\\.)|(?P<quote>'[^']*'?|"(?:\\.|[^"\\])*"?)|(?P<blank>\s+)|(?P<special>[|>\#])|"""
    r"""(?P<plain>[^\\'"\s|>\#]+|\\)""",
    re.DOTALL,
)


class Argument(NamedTuple):
    """`name=value`; with `from_file` the value is the path of a file that has it."""

    name: str
    value: str
    from_file: bool = False


class Term(NamedTuple):
    """A condition on rows: `field operator value`."""

    field: str
    operator: str
    value: str


class Options:
    """What can be said about any command; the names are those of the flags."""

    output = ""
    columns = ""
    query = ""
    profile = ""
    url = ""
    key = ""
    secret = ""
    verifycert = ""
    timeout = ""
    file = ""
    no_header = False
    no_block = False
    dry_run = False
    curl = False
    all = False
    keep_going = False
    quiet = False
    debug = False
    help = False

    @property
    def chooses_cloud(self) -> bool:
        return bool(self.profile or self.url or self.key or self.secret or self.verifycert)

    def under(self, general: Options) -> Options:
        """These options, with those of `general` where nothing is said."""
        merged = Options()
        merged.__dict__.update({**general.__dict__, **self.__dict__})
        return merged


FLAGS = {
    "-o": ("output", "FORMAT", "table, json, jsonl, yaml, csv, text, xml, column or id"),
    "-c": ("columns", "A,B", "these fields, in this order (also filter=a,b)"),
    "--query": ("query", "EXPR", "a JMESPath expression over the answer"),
    "--no-header": ("no_header", "", "table, column and csv without the line of names"),
    "--all": ("all", "", "every page of a list, not only the first 500 rows"),
    "-p": ("profile", "NAME", "the profile to use"),
    "-u": ("url", "URL", "the address of the API instead of the profile's"),
    "-k": ("key", "APIKEY", "the API key; others on this machine can see it, unlike the profile's"),
    "-s": ("secret", "SECRETKEY", "the secret key; likewise"),
    "--verifycert": ("verifycert", "FILE", "the CA to check the server's certificate by; false does not check it"),
    "--no-block": ("no_block", "", "give the job's id at once, do not wait for the job"),
    "--timeout": ("timeout", "SECONDS", "stop waiting for an answer or a job after so long"),
    "--dry-run": ("dry_run", "", "show the call, do not send it"),
    "--curl": ("curl", "", "with --dry-run: the signed call for curl"),
    "-f": ("file", "FILE", "run the lines of a file; - is the standard input"),
    "--keep-going": ("keep_going", "", "in a script, go on after a line that failed"),
    "-q": ("quiet", "", "no progress, no remarks"),
    "-d": ("debug", "", "tell of every call that is sent"),
    "-h": ("help", "", "what the command does and takes"),
}
COMMANDS = {
    "help": ("[VERB [NOUN]]", "what commands do and take"),
    "login": ("[URL [USER [DOMAIN]]] [-p NAME]", "get keys with a password and keep them as a profile"),
    "profile": ("[NAME | remove NAME]", "list the profiles, or choose the one to use"),
    "set": ("[NAME=VALUE | NAME VALUE]", "show the settings, or change one"),
    "sync": ("", "read anew which commands the server has"),
    "jobs": ("", "the jobs that run, and those of this session"),
    "wait": ("JOB", "wait for a job, with its steps"),
    "watch": ("[SECONDS] COMMAND", "run a command again and again"),
    "api": ("NAME [name=value]", "call a command exactly so, known or not"),
    "completion": ("bash | zsh | fish", "the completion for your shell"),
    "history": ("[TEXT]", "the lines that were typed"),
    "exit": ("", "leave; also quit and Ctrl-D"),
}
WORDLESS = ("sync", "jobs", "exit")  # of these, a further word makes a command of the cloud
LONG = {
    "--output": "-o",
    "--columns": "-c",
    "--profile": "-p",
    "--file": "-f",
    "--quiet": "-q",
    "--help": "-h",
    "--url": "-u",
    "--debug": "-d",
}


class Line:
    """One command: its words, arguments, conditions and options. `tail` is what its output goes to, for sh."""

    def __init__(self, words: list[str], tail: str = "") -> None:
        self.words: list[str] = []
        self.arguments: list[Argument] = []
        self.terms: list[Term] = []
        self.options = Options()
        self.tail = tail
        self._take(words)

    def _take(self, words: list[str]) -> None:
        rest, in_where, ended = list(words), False, False
        while rest:
            word = rest.pop(0)
            if word == "--" and not ended:
                ended = True
            elif word.startswith("-") and len(word) > 1 and not ended and self._is_flag(word, rest):
                continue
            elif in_where:
                self.terms.append(_term(word))
            elif word == "where" and self.words:
                in_where = True
            elif (found := _ARGUMENT.match(word)) and self.words:
                self.arguments.append(Argument(found[1], found[3], found[2] == "@="))
            else:
                self.words.append(word)

    def _is_flag(self, word: str, rest: list[str]) -> bool:
        name, sign, value = word.partition("=")
        name = LONG.get(name, name)
        if name not in FLAGS:
            from ui.shell.catalog import alike

            close = ", ".join(alike(name, [*FLAGS, *LONG]))
            raise UsageError(f"There is no option {word}.", f"Did you mean {close}?" if close else "")
        attribute, argument, _ = FLAGS[name]
        if not argument:
            setattr(self.options, attribute, True)
        elif sign or rest:
            setattr(self.options, attribute, value if sign else rest.pop(0))
        else:
            raise UsageError(f"The option {word} wants {argument} after it.")
        return True


def _term(word: str) -> Term:
    found = _TERM.match(word)
    if not found:
        raise UsageError(
            f"{word} is no condition.", "Conditions are written like state=Running, name~web, memory>=512 or tags!~x."
        )
    return Term(found[1], found[2], found[3])


def read(text: str) -> Line:
    """:raises UsageError: a quote is not closed, or an option is wrong."""
    words, tail, quote = split(text)
    if quote:
        raise UsageError(f"The quote {quote} is not closed.")
    return Line(words, tail)


def split(text: str) -> tuple[list[str], str, str]:
    """Words as sh would make them, what follows a pipe or a redirection (for sh), and the quote that is open still.

    `|` ends the words wherever it stands unquoted, `>` only where it begins one: `where memory>512` is a condition.
    """
    words: list[str] = []
    word: str | None = None
    for kind, start, found in pieces(text):
        special = found if kind == "special" and (found == "|" or word is None) else ""
        if kind == "blank" or special:
            words, word = ([*words, word] if word is not None else words), None
            if special == "#":
                break
            if special:
                return words, text[start + 1 :].strip() if special == "|" else f"cat {text[start:]}", ""
        elif kind == "quote":
            quote, inner = found[0], found[1:]
            if len(found) == 1 or found[-1] != quote:
                return [*words, (word or "") + inner], "", quote
            inner = inner[:-1]
            word = (word or "") + (re.sub(r'\\(["\\])', r"\1", inner) if quote == '"' else inner)
        else:
            word = (word or "") + (found[1:] if kind == "escaped" else found)
    return [*words, *([word] if word is not None else [])], "", ""


def pieces(text: str) -> Iterator[tuple[str, int, str]]:
    """What a line is made of: kind (escaped, quote, blank, special or plain), place and text of each piece."""
    for piece in _PIECE.finditer(text):
        yield piece.lastgroup or "plain", piece.start(), piece[0]


def quoted(text: str) -> str:
    """`text` as one word of this language, and of sh."""
    return text if re.fullmatch(r"[\w@%+:,./-]+", text) else "'" + text.replace("'", "'\"'\"'") + "'"
