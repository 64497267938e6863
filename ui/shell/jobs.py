"""Waiting for asynchronous jobs, with their steps on the screen as they happen."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from ui.shell import screen
from ui.shell.catalog import Catalog
from ui.shell.client import Client
from ui.shell.errors import DetachedError, JobError, LateError, ReachError, ShellError
from ui.shell.rows import rows_of
from ui.shell.screen import Screen

RUNNING, DONE, FAILED = 0, 1, 2
STEPS = "listJobSteps"  # a command beyond CloudStack's; used where the server has it
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between questions
PATIENCE = 60.0  # seconds without any answer after which waiting ends
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME = 0.1  # seconds


class Progress:
    """One live line at the bottom, finished steps above it; silent where `err` is no terminal."""

    def __init__(self, err: Screen, title: str, job_id: str, *, quiet: bool = False) -> None:
        self.err, self.title, self.job_id = err, title, job_id
        self.on = err.is_terminal and not quiet
        self.started = time.monotonic()
        self._printed = self._turn = 0
        self._step = ""

    def steps(self, found: list[dict[str, Any]]) -> None:
        """Print the steps that ended since the last time; the one under way goes to the live line."""
        ended = [one for one in found if one.get("state") in ("done", "failed")]
        for one in ended[self._printed :] if self.on else ():
            if not self._printed:
                self._above(f"{self.title}  job {self.job_id}")
            self._printed += 1
            self._above(self._told(one))
        self._step = next((_name(one) for one in found if one not in ended), "finishing" if ended else "")

    def tick(self) -> None:
        if not self.on:
            return
        seconds = time.monotonic() - self.started
        frame = _FRAMES[self._turn % len(_FRAMES)]
        self._turn += 1
        name = (
            self._step if self._printed else " · ".join(filter(None, [f"{self.title}  job {self.job_id}", self._step]))
        )
        text = f"{frame} {name}  {seconds:.0f} s"
        self.err.write(f"\r\x1b[K{screen.cut('  ' + text if self._printed else text, self.err.width - 1)}")

    def end(self) -> None:
        if self.on:
            self.err.write("\r\x1b[K")

    def _above(self, line: str) -> None:
        self.err.write(f"\r\x1b[K{line}\n")

    def _told(self, step: dict[str, Any]) -> str:
        failed = step.get("state") == "failed"
        mark = self.err.styled("✗", "red") if failed else self.err.styled("✓", "green")
        name = ("take back " if step.get("undoing") in (True, "true") else "") + _name(step)
        line = f"  {mark} {name}"
        if failed and step.get("reason"):
            line += "\n" + screen.wrapped(str(step["reason"]), self.err.width, indent="    ")
        return line


def _name(step: dict[str, Any]) -> str:
    return str(step.get("name", "")).replace("_", " ")


def wait(client: Client, catalog: Catalog, progress: Progress, timeout: float) -> dict[str, Any]:
    """What the job of `progress` gave, once it has ended.

    :raises JobError: it failed; LateError: it takes longer than `timeout` seconds; DetachedError: Ctrl-C
    """
    job_id = progress.job_id
    try:
        answer = _awaited(client, catalog, progress, timeout)
    except KeyboardInterrupt:
        raise DetachedError(f"The job {job_id} goes on.", f"Wait for it again with: pileus wait {job_id}") from None
    finally:
        progress.end()
    result = answer.get("jobresult")
    result = result if isinstance(result, dict) else {"jobresult": result} if result else {}
    if int(answer.get("jobstatus", DONE)) == FAILED:
        code = int(answer.get("jobresultcode") or result.get("errorcode") or 530)
        raise JobError(code, str(result.get("errortext") or "The job failed."))
    return result or {"success": True}


def _awaited(client: Client, catalog: Catalog, progress: Progress, timeout: float) -> dict[str, Any]:
    pause, heard = FIRST_PAUSE, time.monotonic()
    while True:
        answer: dict[str, Any] = {}
        _look_at_steps(client, catalog, progress)
        with _patiently(heard):
            answer = client.call("queryAsyncJobResult", {"jobid": progress.job_id}, min(timeout, PATIENCE))
            heard = time.monotonic()
        ended = bool(answer) and int(answer.get("jobstatus", RUNNING)) != RUNNING
        if ended:
            _look_at_steps(client, catalog, progress)
            return answer
        if time.monotonic() - progress.started > timeout:
            raise LateError(
                f"The job {progress.job_id} has not ended within {timeout:g} seconds; it goes on.",
                f"Wait for it again with: pileus wait {progress.job_id}",
            )
        _sleep(pause, progress)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _look_at_steps(client: Client, catalog: Catalog, progress: Progress) -> None:
    if progress.on and STEPS in catalog:
        with contextlib.suppress(ShellError):
            progress.steps(rows_of(client.call(STEPS, {"jobid": progress.job_id}, PATIENCE)))


@contextlib.contextmanager
def _patiently(heard: float) -> Any:
    """A server that is away for a moment, for an update say, does not end the waiting: the job is its row."""
    try:
        yield
    except (ReachError, LateError):
        if time.monotonic() - heard > PATIENCE:
            raise


def _sleep(seconds: float, progress: Progress) -> None:
    until = time.monotonic() + seconds
    while True:
        progress.tick()
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _FRAME if progress.on else left))
