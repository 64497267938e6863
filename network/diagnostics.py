"""Tools that administrators run in a router: ping (iputils), traceroute and arping (iputils)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from network.errors import CommandFailedError, CommandTimeoutError
from network.process import attempt, run

Tool = Literal["ping", "traceroute", "arping"]
NAMES: Final[tuple[Tool, ...]] = get_args(Tool)
SECONDS: Final = 40
MOST_TEXT = 16_384
NUMBER, TENTHS = re.compile(r"\d{1,4}"), re.compile(r"\d{1,2}(\.\d)?")
DEVICE = re.compile(r"[a-z][a-z0-9]{0,14}")

_BEFORE: Mapping[Tool, tuple[str, ...]] = {
    "ping": ("ping", "-n", "-c", "4", "-w", "30"),
    "traceroute": ("traceroute", "-n", "-q", "1", "-w", "2", "-m", "15"),
    "arping": ("arping", "-c", "4", "-w", "30"),
}
_OPTIONS: Mapping[Tool, Mapping[str, re.Pattern[str] | None]] = {
    "ping": {"-c": NUMBER, "-i": TENTHS, "-s": NUMBER, "-W": TENTHS, "-t": NUMBER, "-q": None, "-D": None},
    "traceroute": {"-q": NUMBER, "-w": TENTHS, "-m": NUMBER, "-f": NUMBER, "-p": NUMBER, "-I": None, "-T": None},
    "arping": {"-c": NUMBER, "-I": DEVICE, "-D": None, "-f": None, "-q": None},
}
"""What a caller may add; the pattern is that of its value, None where it has none."""


class UnsuitableOptionError(ValueError):
    """The sentence names the option and those that there are."""


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool wrote, at most the first 16,384 characters of each."""

    stdout: str
    stderr: str
    exit_code: int


def options_in(tool: Tool, text: str) -> tuple[str, ...]:
    """The options in `text`, which spaces part.

    :raises UnsuitableOptionError: one is not among those that the tool may be given here
    """
    known = _OPTIONS[tool]
    found, words = [], iter(text.split())
    for word in words:
        if word not in known:
            raise UnsuitableOptionError(f"{tool} cannot be given {word} here; there are {', '.join(known)}.")
        found.append(word)
        pattern = known[word]
        if pattern is not None:
            value = next(words, "")
            if not pattern.fullmatch(value):
                raise UnsuitableOptionError(f"The option {word} of {tool} needs a fitting value, not '{value}'.")
            found.append(value)
    return tuple(found)


def diagnose(namespace: str, tool: Tool, address: str, options: Sequence[str]) -> ToolOutput:
    """Run the tool in the namespace; it is ended after 40 seconds, and what it wrote by then is told.

    :raises CommandFailedError: the host has no such tool, or the namespace is gone
    """
    arguments = [*_BEFORE[tool], *options]
    if tool == "arping" and "-I" not in options:
        arguments += ["-I", _device_to(namespace, address)]
    try:
        done = attempt(["ip", "netns", "exec", namespace, *arguments, address], timeout=SECONDS)
    except CommandTimeoutError as late:
        return ToolOutput(late.said[:MOST_TEXT], f"{tool} did not end within {SECONDS} seconds.", 124)
    if "exec of" in done.stderr and "failed" in done.stderr:
        raise CommandFailedError(f"The host has no {tool}; install its package there.")
    return ToolOutput(done.stdout[:MOST_TEXT], done.stderr[:MOST_TEXT], done.returncode)


def _device_to(namespace: str, address: str) -> str:
    route = json.loads(run(["ip", "-n", namespace, "-json", "route", "get", address]))
    return str(route[0]["dev"])
