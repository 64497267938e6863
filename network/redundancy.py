"""What two redundant routers have in common."""

from __future__ import annotations

from typing import Final, Literal

Role = Literal["PRIMARY", "BACKUP", "FAULT", "UNKNOWN"]
"""CloudStack's words: PRIMARY forwards, BACKUP waits, FAULT cannot, UNKNOWN has not said yet."""

VRRP: Final = 112
"""The protocol number (RFC 5798)."""
FIRST, SECOND = 100, 50
"""Priorities: of two that begin at once, the first is the primary."""
STATES_PORT: Final = 3780
"""UDP port of the states of connections."""
