"""The parameters of custom actions: how they are declared, and what values they take."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from manager.api.errors import Invalid
from manager.api.fields import BadParameter, Date

FORMATS: dict[str, tuple[str, ...]] = {
    "STRING": ("NONE", "UUID", "EMAIL", "PASSWORD", "URL"),
    "NUMBER": ("NONE", "DECIMAL"),
    "BOOLEAN": ("NONE",),
    "UUID": ("NONE",),
    "DATE": ("NONE",),
}
"""The types of parameters, and the formats that each can have."""
MOST = 50
MOST_OPTIONS = 100
LONGEST_VALUE = 4096
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_FIELDS = frozenset({"name", "type", "validationformat", "required", "valueoptions"})
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_date = Date("")


def declared(entries: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The parameters as they are stored: {name, type, validationformat, required, valueoptions}.

    :raises Invalid: one of them cannot be
    """
    if len(entries) > MOST:
        raise Invalid(f"The action has {len(entries)} parameters, and at most {MOST} are possible.")
    found = [_declared(entry) for entry in entries]
    names = [parameter["name"] for parameter in found]
    for name in names:
        if names.count(name) > 1:
            raise Invalid(f"The action has two parameters {name}.")
    return found


def _declared(entry: dict[str, str]) -> dict[str, Any]:
    if strange := set(entry) - _FIELDS:
        raise Invalid(f"A parameter of an action has no {min(strange)}; it has {', '.join(sorted(_FIELDS))}.")
    name, kind = entry.get("name", ""), entry.get("type", "STRING").upper()
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"The name {name!r} of a parameter must be 1 to 64 letters, digits and _ . -, a letter or _ first."
        )
    if kind not in FORMATS:
        raise Invalid(f"The type {kind} of the parameter {name} is none of {', '.join(FORMATS)}.")
    form = (entry.get("validationformat") or "NONE").upper()
    if form not in FORMATS[kind]:
        raise Invalid(
            f"The format {form} of the parameter {name} is none of {', '.join(FORMATS[kind])}, those of {kind}."
        )
    parameter: dict[str, Any] = {
        "name": name,
        "type": kind,
        "validationformat": form,
        "required": entry.get("required", "").lower() == "true",
    }
    options = [option.strip() for option in entry.get("valueoptions", "").split(",") if option.strip()]
    if options and kind not in ("STRING", "NUMBER"):
        raise Invalid(f"The parameter {name} is of type {kind}, which has no options.")
    if len(options) > MOST_OPTIONS:
        raise Invalid(f"The parameter {name} has {len(options)} options, and at most {MOST_OPTIONS} are possible.")
    return {**parameter, "valueoptions": [typed(parameter, option) for option in options]}


def values(parameters: list[dict[str, Any]], given: dict[str, str]) -> dict[str, Any]:
    """The given values in the types of their parameters.

    :raises Invalid: one is missing, unknown, or not of its type, format or options
    """
    known = {parameter["name"]: parameter for parameter in parameters}
    for name in given:
        if name not in known:
            raise Invalid(f"The action has no parameter {name}; it has {', '.join(known) or 'none'}.")
    found: dict[str, Any] = {}
    for name, parameter in known.items():
        if not given.get(name):
            if parameter["required"]:
                raise Invalid(f"The action needs a value of the parameter {name}.")
            continue
        value = typed(parameter, given[name])
        if parameter["valueoptions"] and value not in parameter["valueoptions"]:
            options = ", ".join(str(option) for option in parameter["valueoptions"])
            raise Invalid(f"The value of the parameter {name} is none of {options}.")
        found[name] = value
    return found


def typed(parameter: dict[str, Any], text: str) -> Any:
    """:raises Invalid: `text` is not of the parameter's type and format"""
    form = parameter["validationformat"]
    read, kind = _READERS[parameter["type"] if form == "NONE" else form]
    try:
        return read(text)
    except (ValueError, BadParameter):
        raise Invalid(f"The value of the parameter {parameter['name']} is not {kind}.") from None


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def _decimal(text: str) -> float:
    if not re.fullmatch(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", text):
        raise ValueError(text)
    return float(text)


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise ValueError(text)
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(text)
    return text


def _time(text: str) -> str:
    found: dt.datetime = _date.read("", text)
    return found.isoformat()


_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "STRING": (str, "a text"),
    "PASSWORD": (str, "a text"),
    "NUMBER": (_whole, "a whole number"),
    "DECIMAL": (_decimal, "a number"),
    "BOOLEAN": (_flag, "true or false"),
    "UUID": (lambda text: str(uuid.UUID(text)), "a uuid"),
    "DATE": (_time, "a date such as 2026-01-31 or 2026-01-31T23:59:59+0000"),
    "EMAIL": (_email, "an e-mail address"),
    "URL": (_url, "an http or https URL"),
}
"""By type or format: what reads a value, and what to call such a one."""
