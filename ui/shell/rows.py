"""Answers as rows: which they are, which fields they have, which of them are wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ui.shell.errors import UsageError
from ui.shell.grammar import Term

Row = dict[str, Any]
_FLAT = ("success", "displaytext", "jobid", "errorcode")


def key_of(content: Mapping[str, Any]) -> str:
    """The name under which an answer has its rows or its one object; nothing where the answer is itself the object."""
    nested = [name for name, value in content.items() if name != "count" and isinstance(value, list | dict)]
    others = [name for name in content if name not in ("count", *nested)]
    return nested[0] if len(nested) == 1 and not others else ""


def is_list(content: Mapping[str, Any]) -> bool:
    return not content or "count" in content or isinstance(content.get(key_of(content)), list)


def rows_of(content: Mapping[str, Any]) -> list[Row]:
    key = key_of(content)
    found = content[key] if key else [content] if content and set(content) != {"count"} else []
    listed = found if isinstance(found, list) else [found]
    return [one if isinstance(one, dict) else {key or "value": one} for one in listed]


def with_rows(content: Mapping[str, Any], rows: list[Row]) -> dict[str, Any]:
    """The answer with other rows in the same frame."""
    key = key_of(content)
    if not key:
        return rows[0] if rows else {}
    if isinstance(content[key], list):
        return {**content, **({"count": len(rows)} if "count" in content else {}), key: rows} if rows else {}
    return {key: rows[0]} if rows else {}


def fields_of(rows: Iterable[Row]) -> list[str]:
    """Every field of any row, in the order in which they come up."""
    return list(dict.fromkeys(name for row in rows for name in row))


def value_of(row: Any, path: str) -> Any:
    """What stands at `nic.0.ipaddress`; `nic.ipaddress` gives it of every one in the list. None where nothing does."""
    if isinstance(row, Mapping) and path in row:
        return row[path]
    name, _, rest = path.partition(".")
    if isinstance(row, list):
        if name.isdecimal():
            found = row[int(name)] if int(name) < len(row) else None
        else:
            return [one for one in (value_of(one, path) for one in row) if one is not None]
    else:
        found = row.get(name) if isinstance(row, Mapping) else None
    return value_of(found, rest) if rest and found is not None else None if rest else found


def columns(asked: str, rows: Sequence[Row]) -> list[str]:
    """The fields that `asked` names, separated by commas; `*` stands for all that are not named. Empty: not asked."""
    wanted = [name.strip() for name in re.split(r"[,\s]+", asked) if name.strip()]
    found: list[str] = []
    for name in wanted:
        found += [one for one in fields_of(rows) if one not in wanted] if name == "*" else [name]
    return list(dict.fromkeys(found))


def only(rows: Iterable[Row], names: Sequence[str]) -> list[Row]:
    """The rows with these fields, in this order, where they have them."""
    taken = [{name: value_of(row, name) for name in names} for row in rows]
    return [{name: value for name, value in row.items() if value is not None} for row in taken]


def where(rows: Iterable[Row], terms: Sequence[Term]) -> list[Row]:
    """The rows that meet every condition."""
    return [row for row in rows if all(_meets(value_of(row, term.field), term) for term in terms)]


def _meets(value: Any, term: Term) -> bool:
    values = value if isinstance(value, list) else [value]
    if term.operator.startswith("!"):
        return not any(_compares(one, term.operator[1:], term.value) for one in values)
    return any(_compares(one, term.operator, term.value) for one in values)


def _compares(value: Any, operator: str, wanted: str) -> bool:
    text = plain(value)
    if operator == "=":
        return text.lower() == wanted.lower()
    if operator == "~":
        try:
            return value is not None and re.search(wanted, text, re.IGNORECASE) is not None
        except re.error as error:
            raise UsageError(f"{wanted} is no regular expression: {error}.") from error
    if value is None:
        return False
    left, right = _number(text), _number(wanted)
    if left is None or right is None:
        left, right = float((text > wanted) - (text < wanted)), 0.0
    return {">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}[operator]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def plain(value: Any) -> str:
    """One value as text: nested ones as `name=value` pairs."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={plain(one)}" for name, one in value.items())
    if isinstance(value, list):
        mapped = any(isinstance(one, Mapping) for one in value)
        return ("; " if mapped else ", ").join(plain(one) for one in value)
    return str(value)


def flat(row: Any, path: str = "") -> dict[str, Any]:
    """`{"nic.0.ipaddress": ...}`: every single value with the path to it."""
    pairs = row.items() if isinstance(row, Mapping) else enumerate(row) if isinstance(row, list) else None
    if pairs is None:
        return {path: row}
    found: dict[str, Any] = {}
    for name, value in pairs:
        found |= flat(value, f"{path}.{name}" if path else str(name))
    return found
