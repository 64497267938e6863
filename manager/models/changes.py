"""What a transaction changes of things, column by column, for the events that tell of it."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session

from manager.models.base import Entity
from manager.secrets import Sealed, SealedJson

CHANGES = "changes"
LONGEST = 1000
HIDDEN = "(hidden)"
SECRET = re.compile(r"passw|secret|privatekey|token|userdata$|presharedkey|psk|credential|otp|2fa", re.IGNORECASE)
"""What the names of parameters and details that hold secrets look like."""
UNTOLD = frozenset({"id", "created", "live", "password_hash", "user_data"})

Changes = dict[tuple[str, str], dict[str, list[Any]]]


def watch(session: Session) -> None:
    """Have the session remember from now on what it changes."""
    session.info[CHANGES] = {}


def changes_of(session: Session, thing: Any) -> dict[str, list[Any]]:
    """[before, after] of each column of `thing` that was changed, without secrets and what is long."""
    session.flush()
    found: Changes = session.info.get(CHANGES, {})
    identifier = getattr(thing, "id", None)
    return found.get((type(thing).__name__, identifier), {}) if isinstance(identifier, str) else {}


def register() -> None:
    """Listen to all sessions of this process; those that nobody asked to watch remember nothing."""
    event.listen(Session, "after_flush", _after_flush)


def _after_flush(session: Session, _context: Any) -> None:
    found: Changes | None = session.info.get(CHANGES)
    if found is None:
        return
    for thing in session.dirty:
        if isinstance(thing, Entity):
            _note(found, thing)


def _note(found: Changes, thing: Any) -> None:
    state = inspect(thing)
    for attribute in state.mapper.column_attrs:
        history = state.attrs[attribute.key].history
        if attribute.key in UNTOLD or not (history.added and history.deleted):
            continue
        if isinstance(attribute.columns[0].type, (Sealed, SealedJson)):
            pair: list[Any] = [HIDDEN, f"{HIDDEN}, changed"]
        else:
            pair = [plain(history.deleted[0]), plain(history.added[0])]
        known = found.setdefault((type(thing).__name__, thing.id), {}).get(attribute.key)
        found[type(thing).__name__, thing.id][attribute.key] = [known[0] if known else pair[0], pair[1]]


def plain(value: Any) -> Any:
    """The value as JSON holds it, cut where it is long."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, dict):
        value = {name: HIDDEN if SECRET.search(str(name)) else part for name, part in value.items()}
    if isinstance(value, (dict, list)) and len(str(value)) <= LONGEST:
        return value
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
