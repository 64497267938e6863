"""The values of settings: the database holds those that differ from their defaults.

A value for an account goes before that for its domain, this before that for a domain above, and all before the
global one; a zone's goes before the global one.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import delete, literal, select
from sqlalchemy.orm import Session

from manager.db import after_commit, write
from manager.models import Account, Cluster, Configuration, Domain, ScopedSetting, StoragePool
from manager.secrets import seal, unseal
from manager.setting import GROUPS, SCOPES, Setting, Value
from manager.settings_declared import SETTINGS

__all__ = ["GROUPS", "SETTINGS", "Setting", "Value", "change", "forget", "stored", "stored_now", "value"]

CACHE_SECONDS = 3.0

Key = tuple[str, str, str]
"""Name of the setting, table and id of what it is set for; both '' for the global value."""

COLUMNS: dict[tuple[str, type[Any]], str] = {
    ("cpu.overprovisioning.factor", Cluster): "cpu_overcommit",
    ("mem.overprovisioning.factor", Cluster): "memory_overcommit",
    ("storage.overprovisioning.factor", StoragePool): "overprovision",
}
"""Settings whose value for one thing is kept in its own row."""

_cache: tuple[float, dict[Key, str]] = (0.0, {})


def stored(session: Session) -> dict[Key, str]:
    """The settings that differ from their defaults, at most `CACHE_SECONDS` old."""
    global _cache  # noqa: PLW0603 - one cache a process, replaced whole
    until, values = _cache
    if time.monotonic() < until:
        return values
    values = stored_now(session)
    _cache = (time.monotonic() + CACHE_SECONDS, values)
    return values


def stored_now(session: Session) -> dict[Key, str]:
    """The settings that differ from their defaults, as this transaction sees them."""
    everywhere = select(
        Configuration.name, literal("").label("scope"), literal("").label("scope_id"), Configuration.value
    )
    here = select(ScopedSetting.name, ScopedSetting.scope, ScopedSetting.scope_id, ScopedSetting.value)
    rows = session.execute(everywhere.union_all(here))
    return {(row.name, row.scope, row.scope_id): row.value for row in rows}


def forget() -> None:
    """Have the next look go to the database."""
    global _cache  # noqa: PLW0603 - as above
    _cache = (0.0, {})


def value(session: Session, name: str, place: Any = None, at_hand: dict[Key, str] | None = None) -> Any:
    """The setting's value in the type of its declaration: that for `place` (an account, a zone ...), else the global.

    `at_hand` is what is stored, for who has read it.
    """
    setting = SETTINGS[name]
    values = stored(session) if at_hand is None else at_hand
    if place is not None and (name, type(place)) in COLUMNS:
        return getattr(place, COLUMNS[name, type(place)])
    text = None
    if place is not None and setting.scopes and any(scope for key, scope, _ in values if key == name):
        text = _own(session, setting, values, place)
    if text is None:
        text = values.get((name, "", ""))
    if text is not None and setting.is_secret:
        text = unseal(text)
    return setting.default if text is None else setting.read(text)


def _own(session: Session, setting: Setting, values: dict[Key, str], place: Any) -> str | None:
    """What is stored for `place`, else for the nearest domain above it; None for neither."""
    while place is not None:
        found = values.get((setting.name, place.__tablename__, place.id))
        if found is not None and type(place) in setting.scopes:
            return found
        place = _above(session, place) if Domain in setting.scopes else None
    return None


def _above(session: Session, place: Any) -> Domain | None:
    if isinstance(place, Account):
        return session.get(Domain, place.domain_id)
    return session.get(Domain, place.parent_id) if isinstance(place, Domain) and place.parent_id else None


def change(session: Session, name: str, text: str | None, place: Any = None) -> Setting:
    """Store a setting, for `place` or globally; without `text` what is stored goes, so that the next one counts.

    Other processes follow within `CACHE_SECONDS`.

    :raises ValueError: with a sentence: no such setting, not for such a place, or not its type or range
    """
    setting = SETTINGS.get(name)
    if setting is None:
        raise ValueError(f"There is no setting {name}.")
    if place is not None and type(place) not in setting.scopes:
        raise ValueError(
            f"The setting {name} cannot be set for a {SCOPES[type(place)]}; its scope is {setting.shown_scope}."
        )
    typed = None if text is None else setting.read(text)
    if typed is not None and setting.is_secret:
        typed = seal(str(typed))
    if place is not None and (name, type(place)) in COLUMNS:
        setattr(place, COLUMNS[name, type(place)], value(session, name) if typed is None else typed)
        return setting
    _store(session, name, None if typed is None else setting.write(typed), place)
    after_commit(session, forget)
    return setting


def _store(session: Session, name: str, text: str | None, place: Any) -> None:
    """Write the row of the setting and place, or delete it without `text`."""
    if place is None:
        model: type[Any] = Configuration
        key = {"name": name}
    else:
        model = ScopedSetting
        key = {"name": name, "scope": place.__tablename__, "scope_id": place.id}
    if text is None:
        write(session, delete(model).filter_by(**key))
        return
    row = session.get(model, key)
    if row is None:
        session.add(model(**key, value=text))
    else:
        row.value = text
