"""Rows for completion: asked for within two seconds, kept for half a minute."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ui.shell import ini, lookup
from ui.shell.catalog import Catalog
from ui.shell.client import Client
from ui.shell.errors import ShellError
from ui.shell.rows import Row

TIME_LIMIT = 2.0  # seconds
FRESH = 30.0  # seconds
USABLE = 3600.0  # seconds that kept rows are shown while newer ones are fetched
_KEPT = ("id", *lookup.LABELS, "state", "zonename", "account")


def fetched(client: Client, catalog: Catalog, name: str, sent: Mapping[str, str], value: str) -> list[Row]:
    """Rows of the list `name`; of a list with more than a page those that the server finds by `value`."""
    api = catalog[name]
    found = lookup.fetch(client, api, sent, TIME_LIMIT)
    if len(found) >= lookup.PAGE and value and "keyword" in api.params:
        found = lookup.fetch(client, api, {**sent, "keyword": value}, TIME_LIMIT)
    return [{key: row[key] for key in _KEPT if key in row} for row in found]


class Values:
    """For the interactive shell: kept in memory. Each question has a client of its own, for several threads ask."""

    def __init__(self, client: Callable[[], Client], catalog: Callable[[], Catalog]) -> None:
        self._client, self._catalog = client, catalog
        self._kept: dict[tuple[str, ...], tuple[float, list[Row]]] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str, sent: Mapping[str, str], value: str) -> list[Row]:
        with self._lock:
            for key in (self._key(name, sent, ""), self._key(name, sent, value)):
                at, rows = self._kept.get(key, (0.0, []))
                if time.monotonic() - at < FRESH and (len(rows) < lookup.PAGE or key[1] == value):
                    return rows
            try:
                with self._client() as client:
                    rows = fetched(client, self._catalog(), name, sent, value)
            except ShellError:
                rows = []
            whole = len(rows) < lookup.PAGE and not value
            self._kept[self._key(name, sent, "" if whole else value)] = (time.monotonic(), rows)
            return rows

    def forget(self) -> None:
        """What was done may have changed what there is."""
        self._kept.clear()

    @staticmethod
    def _key(name: str, sent: Mapping[str, str], value: str) -> tuple[str, ...]:
        return (name, value, *(f"{key}={sent[key]}" for key in sorted(sent)))


class KeptValues:
    """For completion in other shells, which must answer at once: kept in a file, renewed by a process of its own."""

    def __init__(self, path: Path, renewal: list[str]) -> None:
        self.path, self._renewal = path, renewal

    def __call__(self, name: str, sent: Mapping[str, str], value: str) -> list[Row]:  # noqa: ARG002 - as Values has it
        key = "&".join([name, *(f"{one}={sent[one]}" for one in sorted(sent))])
        at, rows = self._read().get(key, (0.0, []))
        age = time.time() - at
        if age > FRESH:
            self._renew(key)
        return rows if age < USABLE else []

    def renew(self, client: Client, catalog: Catalog, key: str) -> None:
        name, *pairs = key.split("&")
        sent = dict(pair.split("=", 1) for pair in pairs)
        kept = self._read()
        kept[key] = (time.time(), fetched(client, catalog, name, sent, ""))
        ini.write_private(self.path, json.dumps(kept))

    def _renew(self, key: str) -> None:
        import subprocess

        subprocess.Popen(
            [sys.executable, "-m", "ui.shell", *self._renewal, key],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _read(self) -> dict[str, tuple[float, list[Row]]]:
        try:
            found: dict[str, tuple[float, list[Row]]] = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return found
