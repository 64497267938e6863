"""What is found wrong, or right, with a running router."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouterCheck:
    """One thing that was looked at; `detail` is a sentence that says what is wrong, or what was found right."""

    name: str
    success: bool
    detail: str


@dataclass(frozen=True, slots=True)
class RouterHealth:
    """All that was looked at of one router."""

    router_id: str
    checks: tuple[RouterCheck, ...]
