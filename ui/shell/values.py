"""Rows for completion in the interactive shell: asked for within two seconds, kept for half a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ui.shell import lookup
from ui.shell.catalog import Catalog
from ui.shell.client import Client
from ui.shell.errors import ApiError, ShellError
from ui.shell.kept_values import FRESH
from ui.shell.rows import Row

TIME_LIMIT = 2.0  # seconds
REST = 10.0  # seconds after a question without an answer in which nothing is asked
_KEPT = ("id", *lookup.LABELS, "state", "zonename", "account")
_Key = tuple[str, ...]


class Found(NamedTuple):
    """`is_whole`: there are no others, whatever value they are asked for by."""

    rows: list[Row]
    is_whole: bool


def fetched(client: Client, catalog: Catalog, name: str, sent: Mapping[str, str], value: str) -> Found:
    """Rows of the list `name`; of a list with more than a page those that the server finds by `value`."""
    api = catalog[name]
    found = lookup.fetch(client, api, sent, TIME_LIMIT)
    is_whole = len(found) < lookup.PAGE
    if not is_whole and value and "keyword" in api.params:
        found = lookup.fetch(client, api, {**sent, "keyword": value}, TIME_LIMIT)
    return Found([{key: row[key] for key in _KEPT if key in row} for row in found], is_whole)


class Values:
    """Rows kept in memory, for several threads. Each question has a client of its own, and is asked once at a time."""

    def __init__(self, client: Callable[[], Client], catalog: Callable[[], Catalog]) -> None:
        self._client, self._catalog = client, catalog
        self._kept: dict[_Key, tuple[float, Found]] = {}
        self._asked: dict[_Key, threading.Event] = {}
        self._lock = threading.Lock()
        self._rests_until = 0.0

    def __call__(self, name: str, sent: Mapping[str, str], value: str) -> list[Row]:
        whole, key = self._key(name, sent, ""), self._key(name, sent, value)
        with self._lock:
            known = self._known(whole, key)
            if known is not None or time.monotonic() < self._rests_until:
                return known or []
            other = self._asked.get(key)
            mine = self._asked.setdefault(key, threading.Event())
        if other is not None:
            other.wait(2 * TIME_LIMIT)
            return self._known(whole, key) or []
        try:
            found = self._fetch(name, sent, value)
            with self._lock:
                self._kept[whole if found.is_whole else key] = (time.monotonic(), found)
        except ShellError:
            self._rests_until = time.monotonic() + REST
            return []
        finally:
            with self._lock:
                self._asked.pop(key, None)
            mine.set()
        return found.rows

    def forget(self) -> None:
        """What was done may have changed what there is."""
        with self._lock:
            self._kept.clear()

    def _known(self, whole: _Key, key: _Key) -> list[Row] | None:
        for one in (whole, key):
            at, found = self._kept.get(one, (float("-inf"), Found([], is_whole=False)))
            if time.monotonic() - at < FRESH and (found.is_whole or one == key):
                return found.rows
        return None

    def _fetch(self, name: str, sent: Mapping[str, str], value: str) -> Found:
        try:
            with self._client() as client:
                return fetched(client, self._catalog(), name, sent, value)
        except ApiError:
            return Found([], is_whole=True)

    @staticmethod
    def _key(name: str, sent: Mapping[str, str], value: str) -> _Key:
        return (name, value, *(f"{key}={sent[key]}" for key in sorted(sent)))
