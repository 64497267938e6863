"""Calls that may hang, bounded in time: each runs in a thread of its own that is abandoned at the deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from agents.host.hypervisor.base import HypervisorUnavailable

T = TypeVar("T")
STRIKES = 3
TRIAL_SECONDS = 10.0
ABANDONED_MOST = 32


class HypervisorHangs(HypervisorUnavailable):
    """A call got no answer in time: whether it had its effect is unknown."""


class _Outcome:
    """What a thread left: a value or an error."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: object = None
        self.error: BaseException | None = None


class BoundedCalls:
    """Runs calls with deadlines. After three timeouts in a row calls fail at once, but for a trial now and then.

    Threads that hang end when the other side comes back or its socket closes; their results are dropped.
    """

    def __init__(self, trial_seconds: float = TRIAL_SECONDS) -> None:
        self._trial_seconds = trial_seconds
        self._guard = threading.Lock()
        self._strikes = 0
        self._next_trial = 0.0
        self._abandoned: list[_Outcome] = []

    @property
    def is_degraded(self) -> bool:
        return self._strikes >= STRIKES

    def run(self, what: str, call: Callable[[], T], seconds: float) -> T:
        """The value of `call`, or the error that it raises.

        :raises HypervisorHangs: it did not end in time, or the last ones did not
        """
        self._admit(what)
        outcome = _Outcome()

        def work() -> None:
            try:
                outcome.value = call()
            except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
                outcome.error = error
            outcome.done.set()

        threading.Thread(target=work, name=f"hypervisor: {what}", daemon=True).start()
        if not outcome.done.wait(seconds):
            self._strike(outcome)
            raise HypervisorHangs(f"The hypervisor did not answer within {seconds:g} seconds to: {what}.")
        with self._guard:
            self._strikes = 0
        if outcome.error is not None:
            raise outcome.error
        return outcome.value  # type: ignore[return-value]  # it is what `call` returned

    def _admit(self, what: str) -> None:
        with self._guard:
            self._abandoned = [one for one in self._abandoned if not one.done.is_set()]
            if self._strikes < STRIKES:
                return
            now = time.monotonic()
            hanging = len(self._abandoned)
            # When all that hung have ended, the other side is back.
            if hanging and (now < self._next_trial or hanging >= ABANDONED_MOST):
                raise HypervisorUnavailable(
                    f"The hypervisor has not answered {self._strikes} times; not tried: {what}."
                )
            self._next_trial = now + self._trial_seconds

    def _strike(self, outcome: _Outcome) -> None:
        with self._guard:
            self._strikes += 1
            self._next_trial = time.monotonic() + self._trial_seconds
            self._abandoned.append(outcome)
