"""A call without a known caller: login and logout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from manager.api.wire import Incoming


@dataclass
class OpenCall:
    """A call before, or about, a login. `cookies` are to be set; None expires one.

    `learned` is what the command's `ahead` found out before the transaction.
    """

    session: Session
    request: Incoming
    learned: Any = None
    cookies: dict[str, str | None] = field(default_factory=dict)
