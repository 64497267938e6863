"""Answers as they are in every run: identifiers, times, keys and addresses that are drawn afresh become fixed ones."""

from __future__ import annotations

import re
import shutil
import uuid
from functools import partial
from pathlib import Path
from typing import Any

NAMESPACE = uuid.UUID("6f1c1d5e-2f0b-5e0a-9d4c-7b3f6a1e8c42")
TIME = "2026-01-02T03:04:05+0000"
DISK_BYTES = 100 * 2**30
DRAWN: dict[str, Any] = {
    "disk_used": str(12 * 2**30), "disksizeused": 12 * 2**30,
    "apikey": "the-api-key", "secretkey": "the-secret-key", "userapikey": "the-api-key", "password": "the-password",
    "encryptedpassword": "the-encrypted-password", "sessionkey": "the-session-key",
    "secretcode": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "codefor2fa": "123456",
    "privatekey": "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----\n",
    "document": '{"agent_id": "...", "broker_url": "...", "broker_password": "...", "manager_public_key": "..."}',
    "ldapport": "389",
    "certificate": "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n",
    "fingerprint": "43:51:43:a1:b5:fc:8b:b7:0a:3a:a9:b1:0f:66:73:a8",
}  # fmt: skip
"""Fields whose values are drawn by chance, or measured, and what is shown for them."""
ROWS_SHOWN = 2
LONG_LIST = 5

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:?00|Z)")
_NUMBERED = [
    (re.compile(r"\b(10\.1\.\d+\.|198\.51\.100\.)(?!0\b|1\b|255\b)\d+\b(?!/)"), "{0}{1}", 10),
    (re.compile(r"\b0[26](:)[0-9a-f]{2}(?::[0-9a-f]{2}){4}\b"), "02:00:5e:00:53:{1}", 10),
    (re.compile(r"\b(gre://)\d+"), "{0}{1}", 4711),
    (re.compile(r"(/client/capture/)[\w%-]+"), "{0}dG9rZW4{1}", 1),
]
"""Addresses and keys that are drawn by chance: what they look like, how they are shown, and the first number."""


class Sameness:
    """What stands for what in one scenario. The same thing is shown alike wherever it turns up."""

    def __init__(self, scenario: str, names: dict[str, str], directory: Path) -> None:
        self.scenario, self.directory = scenario, str(directory)
        self.step = 0
        disk = shutil.disk_usage(directory).total
        self.shown: dict[Any, Any] = {disk: DISK_BYTES, str(disk): str(DISK_BYTES)}
        self.used: dict[str, int] = {}
        self.know(names)

    def know(self, names: dict[str, str]) -> None:
        for name, value in names.items():
            if _UUID.fullmatch(value):
                self.shown.setdefault(value, str(uuid.uuid5(NAMESPACE, name)))
            elif name in DRAWN:
                self.shown.setdefault(value, DRAWN[name])
                if value.isdecimal():
                    self.shown.setdefault(int(value), int(DRAWN[name]))

    def begin_step(self, number: int) -> None:
        self.step = number

    def text(self, given: dict[str, str]) -> dict[str, str]:
        return {name: str(DRAWN.get(name, self._value(value, name))) for name, value in given.items()}

    def answer(self, value: Any, path: str = "") -> Any:
        name = path.rsplit(".", 1)[-1]
        if isinstance(value, dict):
            return {key: self.answer(item, f"{path}.{key}") for key, item in value.items()}
        if isinstance(value, list):
            shown = value[:ROWS_SHOWN] if len(value) > LONG_LIST else value
            return [self.answer(item, f"{path}.{number}") for number, item in enumerate(shown)]
        if name in DRAWN and value:
            return DRAWN[name]
        return self._value(value, path) if isinstance(value, str) else self.shown.get(value, value)

    def _value(self, value: str, path: str) -> str:
        if value in self.shown:
            return str(self.shown[value])
        value = value.replace(self.directory, "/srv")
        value = _UUID.sub(lambda match: self._known(match[0], path), value)
        for pattern, form, first in _NUMBERED:
            value = pattern.sub(partial(self._numbered, form, first), value)
        return _TIME.sub(TIME, value)

    def _known(self, identifier: str, path: str) -> str:
        fresh = str(uuid.uuid5(NAMESPACE, f"{self.scenario}/{self.step}/{path}"))
        return str(self.shown.setdefault(identifier, fresh))

    def _numbered(self, form: str, first: int, match: re.Match[str]) -> str:
        """The next number of its kind for what is seen for the first time."""
        if match[0] not in self.shown:
            kind = form + match[1]
            number = self.used[kind] = self.used.get(kind, first - 1) + 1
            self.shown[match[0]] = form.format(match[1], number)
        return str(self.shown[match[0]])
