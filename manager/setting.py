"""What a global setting is: its type, its range, what it can be set for, and the groups of settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from manager import cidrs
from manager.models import Account, Cluster, Domain, StoragePool, Zone

GLOBAL = "Global"

Value = int | float | bool | str

SCOPES: dict[type[Any], str] = {
    Zone: "Zone",
    Cluster: "Cluster",
    StoragePool: "StoragePool",
    Domain: "Domain",
    Account: "Account",
}
"""CloudStack's words for what a setting can be set for."""

GROUPS: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "Access": (1, "who may do what", ("Accounts", "Domains", "Projects", "Requests", "Login")),
    "Compute": (2, "virtual machines, and the hosts that they run on", ("Hosts", "Virtual Machines")),
    "Storage": (3, "volumes and the pools that hold them", ("Primary Storage",)),
    "Network": (4, "networks of tenants", ("Guest Networks",)),
    "Management Server": (5, "the management servers themselves", ("API", "Jobs", "Alerts", "Events", "Webhooks")),
    "Usage Server": (6, "what was used, for how long", ("Usage",)),
    "Miscellaneous": (7, "all else", ("Others",)),
}
"""Groups of settings: where each stands among them, what it holds, its subgroups."""


@dataclass(frozen=True)
class Setting:
    """A declared setting. `kind` is int, float, bool or str; numbers lie within `least` and `most`.

    `options` are the only values of a str, where there are any; with `networks` it lists CIDRs, and one that
    `is_expression` is a regular expression. `scopes` are what it can be set for besides globally. The value of one
    that `is_secret` is sealed in the database and shown to nobody.
    """

    name: str
    default: Value
    description: str
    category: str = "Advanced"
    least: float = 0
    most: float = 2**31 - 1
    pattern: str = ""
    scopes: tuple[type[Any], ...] = ()
    group: tuple[str, str] = ("Miscellaneous", "Others")
    options: tuple[str, ...] = ()
    networks: bool = False
    is_expression: bool = False
    is_secret: bool = False

    @property
    def kind(self) -> str:
        return type(self.default).__name__

    @property
    def shown_type(self) -> str:
        """CloudStack's word."""
        return {"int": "Number", "float": "Decimal", "bool": "Boolean", "str": "String"}[self.kind]

    @property
    def shown_scope(self) -> str:
        return ",".join(SCOPES[scope] for scope in self.scopes) or GLOBAL

    def read(self, text: str) -> Value:
        """The typed value of `text`.

        :raises ValueError: with a sentence, when it is not one
        """
        if self.kind == "bool":
            if text.lower() not in ("true", "false"):
                raise ValueError(f"The setting {self.name} is true or false, not {text}.")
            return text.lower() == "true"
        if self.kind == "str":
            if self.options and text not in self.options:
                raise ValueError(f"The setting {self.name} is one of {', '.join(self.options)}, not {text}.")
            if self.pattern and not re.fullmatch(self.pattern, text):
                raise ValueError(f"The setting {self.name} cannot be {text}: it must look like {self.default}.")
            if self.networks and text:
                cidrs.demand_networks(text)
            if self.is_expression:
                self._demand_expression(text)
            return text
        return self._number(text)

    def _demand_expression(self, text: str) -> None:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(
                f"The setting {self.name} is a regular expression, which {text} is not: {error}."
            ) from error

    def _number(self, text: str) -> Value:
        wanted = "a whole number" if self.kind == "int" else "a number"
        form = r"[+-]?\d{1,18}" if self.kind == "int" else r"[+-]?\d{1,15}(\.\d{1,9})?"
        if not re.fullmatch(form, text):
            raise ValueError(f"The setting {self.name} is {wanted}, not {text}.")
        number: int | float = int(text) if self.kind == "int" else float(text)
        if not self.least <= number <= self.most:
            raise ValueError(f"The setting {self.name} lies within {self.least} and {self.most}; {text} does not.")
        return number

    def write(self, value: Value) -> str:
        return str(value).lower() if self.kind == "bool" else str(value)
