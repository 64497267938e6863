"""Programs of the operator's on this management server: which may be run, and how one is."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.config import settings

LONGEST_PATH = 1024
SPARE_SECONDS = 10.0
"""How much longer than its program's timeout a keeper may take."""
_KEEPER = Path(__file__).with_name("program_keeper.py")
_STEP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


class Unfit(Exception):  # noqa: N818 - it names what happened
    """A path cannot be an extension's, or what is there cannot be run; the message is a sentence.

    `absent` tells that nothing is there.
    """

    def __init__(self, message: str, *, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent


def demand_inside(path: str) -> None:
    """:raises Unfit: the path is not a plain one below the directory of extensions"""
    if len(path) > LONGEST_PATH:
        raise Unfit(f"The path has {len(path)} characters, and at most {LONGEST_PATH} are possible.")
    if not all(_STEP.fullmatch(step) for step in path.split("/")):
        raise Unfit(
            f"The path {path} cannot be used: it must be relative to the directory of extensions, and each part of it "
            "made of letters, digits and . _ + -, beginning with a letter, a digit or _."
        )


def program_at(path: str) -> str:
    """The absolute path of the program, which none but root can change.

    :raises Unfit: there is none, or others than root could put something else in its place
    """
    demand_inside(path)
    place = settings().extensions_directory
    _demand_safe(place, stat.S_ISDIR, "directory")
    *folders, name = path.split("/")
    for folder in folders:
        place /= folder
        _demand_safe(place, stat.S_ISDIR, "directory")
    place /= name
    mode = _demand_safe(place, stat.S_ISREG, "regular file")
    if not mode & 0o111:
        raise Unfit(f"{place} is not executable.")
    return str(place)


def _demand_safe(place: Path, is_kind: Any, kind: str) -> int:
    try:
        found = os.lstat(place)
    except OSError as error:
        raise Unfit(f"{place} cannot be found: {error.strerror}.", absent=True) from error
    if not is_kind(found.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "something else"
        raise Unfit(f"{place} is {what}, and must be a {kind}.")
    if found.st_uid:
        raise Unfit(f"{place} does not belong to root.")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unfit(f"{place} can be written by others than root (mode {stat.S_IMODE(found.st_mode):o}).")
    return found.st_mode


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: exit, timeout, flood (it wrote too much), unstarted, or lost (nobody can tell)."""

    how: str
    code: int = 0
    output: str = ""
    errors: str = ""
    reason: str = ""


def run_program(path: str, action: str, payload: dict[str, Any], timeout: int) -> Ended:
    """Run the program at `path` (absolute) and wait until it and all that it began is gone; `timeout` in seconds.

    Its arguments are the action's name, the path of a file with the payload, and the timeout. Should this process
    die meanwhile, the program is killed.
    """
    order = {"path": path, "action": action, "payload": payload, "timeout": timeout}
    order["user"] = settings().extensions_user
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_KEEPER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        start_new_session=True,
    )
    with keeper:
        answer = _answer_of(keeper, json.dumps(order).encode() + b"\n", timeout + SPARE_SECONDS)
    if answer is None:
        return Ended("lost", reason="the process that kept it ended without an answer")
    return Ended(
        answer["ended"], answer.get("code", 0), answer.get("output", ""), answer.get("errors", ""), answer["reason"]
    )


def _answer_of(keeper: subprocess.Popen[bytes], order: bytes, seconds: float) -> dict[str, Any] | None:
    """What the keeper answers; its input stays open meanwhile, which tells it that this process lives."""
    if keeper.stdin is None or keeper.stdout is None:
        raise ValueError("The keeper was started without pipes.")
    try:
        keeper.stdin.write(order)
        keeper.stdin.flush()
    except BrokenPipeError:
        return None
    late = threading.Timer(seconds, keeper.kill)
    late.start()
    try:
        told = keeper.stdout.read()
    finally:
        late.cancel()
    return json.loads(told) if told else None
