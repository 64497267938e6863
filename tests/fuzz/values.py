"""Values for parameters, drawn by chance: good ones, edges of what is possible, and nonsense."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from manager.api.fields import Date, Flag, Integer, ListOf, MapList, Number, Parameter, Ref, Text, Uuid

NONSENSE = (
    "", " ", "\x00", "\x7f", "\n", "\t", "a\r\nb", "%", "_", "\\", "'", '"', "';--", "<x>&amp;", "${x}", "../..",
    "null", "None", "-1", "0", "1e5", "0x10", "\u0663", "\uff11", "NaN", "inf", "\xe9" * 40, "\U0001d518", "\ufffe",
    "\u202e", "a" * 256, "b" * 5000, "\u0660" * 19, "9" * 19, "9" * 400, "true", "[", "]", "[]", "{}", ",", ",,,",
    "a,b", "=", "&", "+", "%zz", "1.5", "-0",
)  # fmt: skip
INTEGERS = (0, 1, 2, -1, 10, 500, 501, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1)
DATES = (
    "2026-01-31", "2026-02-30", "0001-01-01T00:00:00+2359", "9999-12-31T23:59:59-2359", "0000-01-01", "99999-01-01",
    "2026-01-31T23:59:59+0000", "2026-01-31T23:59:59.123456Z", "2026-01-31T23:59:60Z", "2026-01-31 1:2:3",
)  # fmt: skip
ADDRESSES = (
    "10.1.1.1", "10.1.1.0/24", "0.0.0.1", "255.255.255.255", "255.255.255.0", "256.1.1.1", "10.1.1.1/33", "10.1.1.1/0",
    "::1", "fe80::1%eth0", "010.1.1.1", "1-4294967295", "5-1", "http://h", "file:///etc/passwd", "http://[::1", "a.b.c",
    "http://h:99999/x", "ftp://x", "simulator:///p", "Europe/Berlin", "../../etc", "x" * 64 + ".y", "ssh-rsa AAAA",
    "UserVm",
)  # fmt: skip


class Values:
    """Draws values; `identifiers` holds those of things that there are, by model. `noise` is the share of nonsense."""

    def __init__(self, random: Random, identifiers: Mapping[type[Any], Sequence[str]], names: Sequence[str]) -> None:
        self.random, self.names = random, names
        self.noise = 0.1
        self.identifiers = identifiers
        self.all = [identifier for known in identifiers.values() for identifier in known]

    def of(self, parameter: Parameter) -> str:
        """A value for a parameter that is no map."""
        if self.random.random() < self.noise:
            return self.text()
        if isinstance(parameter, Ref):
            return self.identifier(parameter.model)
        if isinstance(parameter, ListOf):
            return ",".join(self.of(parameter.inner) for _ in range(self.random.choice((1, 1, 1, 2, 3, 1001))))
        return self._plain(parameter)

    def _plain(self, parameter: Parameter) -> str:
        if isinstance(parameter, Uuid):
            return self.identifier(None)
        possible: Sequence[Any] = NONSENSE
        if isinstance(parameter, Flag):
            possible = ("true", "false", "True", "1", "yes")
        elif isinstance(parameter, Integer):
            possible = (parameter.least, parameter.most, parameter.least + 1, *INTEGERS)
        elif isinstance(parameter, Number):
            possible = ("1", "1.5", "-3.25", "0.000001", "999999999999999.9")
        elif isinstance(parameter, Date):
            possible = DATES
        elif isinstance(parameter, Text):
            possible = parameter.allowed or (*self.names, *ADDRESSES)
        return str(self.random.choice(possible))

    def identifier(self, model: type[Any] | None) -> str:
        known = self.identifiers.get(model) if model is not None else None
        if known and self.random.random() > self.noise:
            return self.random.choice(known)
        if self.random.random() < 0.6:
            return self.random.choice(self.all)
        return self.random.choice((str(uuid.UUID(int=self.random.getrandbits(128))), "1", "-1", "x", "", "{", "0" * 36))

    def text(self) -> str:
        if self.random.random() < 0.7:
            return self.random.choice(NONSENSE)
        length = self.random.choice((1, 3, 20))
        return "".join(chr(self.random.choice((32, 127, 255, 0x2FFF, 0xD7FF, 0x10FFFF)) - self.random.randrange(20))
                       for _ in range(length))  # fmt: skip

    def fields(self, name: str, parameter: MapList) -> dict[str, str]:
        """The parts of a map, of which some cannot be read."""
        pick = self.random.choice
        keys = ("key", "value", "service", "provider", "networkid", "ip", "publickey", "cpuNumber", "memory", "", "a.b")
        found = {}
        for _ in range(pick((1, 1, 2, 4))):
            index = "0"
            if self.random.random() < self.noise:
                index = pick(("0", "1", "7", "999999999", "9999999999", "-1", "x", ""))
            found[f"{name}[{index}].{pick(keys)}"] = pick((self.text(), self.identifier(None), pick(self.names), "2"))
        if self.random.random() < self.noise / 2:
            found[name] = self.text()
        if self.random.random() < self.noise / 2:
            found[f"{name}[0][1].x"] = "y" * (parameter.max_length + 1)
        return found
