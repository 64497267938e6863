"""A call without a known caller: login and logout."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from manager.api.wire import Incoming


@dataclass
class OpenCall:
    """A call before, or about, a login. `cookies` are to be set; None expires one."""

    session: Session
    request: Incoming
    cookies: dict[str, str | None] = field(default_factory=dict)
