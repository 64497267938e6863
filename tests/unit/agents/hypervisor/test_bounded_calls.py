"""Calls that hang are given up in time, and the other side gets a chance to come back."""

from __future__ import annotations

import threading
import time

import pytest

from agents.host.hypervisor.base import HypervisorUnavailable
from agents.host.hypervisor.bounded import STRIKES, BoundedCalls


def strike_out(calls: BoundedCalls) -> threading.Event:
    release = threading.Event()
    for _ in range(STRIKES):
        with pytest.raises(HypervisorUnavailable, match="within"):
            calls.run("hang", release.wait, 0.05)
    return release


def test_values_and_errors_pass_through() -> None:
    calls = BoundedCalls()
    assert calls.run("add", lambda: 1 + 1, 1) == 2
    with pytest.raises(ZeroDivisionError):
        calls.run("divide", lambda: 1 / 0, 1)


def test_after_three_timeouts_calls_fail_at_once() -> None:
    calls = BoundedCalls()
    release = strike_out(calls)
    assert calls.is_degraded
    began = time.monotonic()
    with pytest.raises(HypervisorUnavailable, match="not tried"):
        calls.run("add", lambda: 2, 5)
    assert time.monotonic() - began < 0.05
    release.set()


def test_it_recovers_when_what_hung_has_ended() -> None:
    calls = BoundedCalls()
    strike_out(calls).set()
    time.sleep(0.05)
    assert calls.run("add", lambda: 2, 1) == 2
    assert not calls.is_degraded


def test_a_trial_goes_through_while_others_hang() -> None:
    calls = BoundedCalls(trial_seconds=0.1)
    release = strike_out(calls)
    time.sleep(0.15)
    assert calls.run("add", lambda: 2, 1) == 2
    assert not calls.is_degraded
    release.set()


def test_a_success_in_between_clears_the_strikes() -> None:
    calls = BoundedCalls()
    release = threading.Event()
    for _ in range(STRIKES + 1):
        with pytest.raises(HypervisorUnavailable, match="within"):
            calls.run("hang", release.wait, 0.02)
        calls.run("add", lambda: 2, 1)
    release.set()
