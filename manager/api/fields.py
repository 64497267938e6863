"""Parameter types in CloudStack's words. Each loads a request's text and knows how listApis describes it."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import marshmallow
from marshmallow import fields as mf

GIB = 2**30
MIB = 2**20
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_DATE_FORMS = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


class BadParameter(Exception):  # noqa: N818 - never shown as such
    """`name` holds something unusable; the dispatcher adds the command's name to `reason`."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name
        self.reason = reason


class Parameter(mf.Field[Any]):
    """Base of all parameter types. A parameter that is absent loads as `default`.

    `roles` limits who may give it (role types); from others it is refused. `since` is shown by listApis.
    """

    type_name = "string"
    length = 255

    def __init__(
        self,
        description: str,
        *,
        required: bool = False,
        default: Any = None,
        load_default: Any = None,
        roles: Sequence[str] = (),
        since: str = "",
    ) -> None:
        absent = default if load_default is None else load_default
        super().__init__(required=required, allow_none=True, load_default=marshmallow.missing if required else absent)
        self.description = description
        self.roles = tuple(roles)
        self.since = since

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - marshmallow's signature
        name = attr or ""
        if not isinstance(value, str):
            raise BadParameter(name, "a plain value is wanted, not a map.")
        if _CONTROL.search(value):
            raise BadParameter(name, "it holds control characters.")
        if not value and not isinstance(self, Text):
            if self.required:
                raise BadParameter(name, "it is empty.")
            return self.load_default
        return self.read(name, value)

    def read(self, name: str, value: str) -> Any:
        raise NotImplementedError

    @property
    def allowed(self) -> tuple[str, ...]:
        return ()


class Text(Parameter):
    """A string of at most `max_length` characters; `lines` admits line breaks and tabs."""

    def __init__(self, description: str, *, max_length: int = 255, lines: bool = False, **options: Any) -> None:
        super().__init__(description, **options)
        self.length = max_length
        self.lines = lines

    def read(self, name: str, value: str) -> str:
        if len(value) > self.length:
            raise BadParameter(name, f"it has {len(value)} characters, and at most {self.length} are possible.")
        if not self.lines and any(c in value for c in "\r\n"):
            raise BadParameter(name, "it holds control characters.")
        return value


class Choice(Text):
    """One of `values`, in any case; loads as it is written in `values`."""

    def __init__(self, description: str, values: Sequence[str], **options: Any) -> None:
        super().__init__(description, **options)
        self.values = {value.lower(): value for value in values}

    def read(self, name: str, value: str) -> str:
        if value.lower() not in self.values:
            raise BadParameter(name, f"{value} is none of {', '.join(self.values.values())}.")
        return self.values[value.lower()]

    @property
    def allowed(self) -> tuple[str, ...]:
        return tuple(self.values.values())


class Flag(Parameter):
    type_name = "boolean"

    def read(self, _name: str, value: str) -> bool:
        return value.lower() == "true"


class Integer(Parameter):
    """A whole number within `least` and `most`."""

    type_name = "integer"

    def __init__(self, description: str, *, least: int = 0, most: int = 2**31 - 1, **options: Any) -> None:
        super().__init__(description, **options)
        self.least, self.most = least, most

    def read(self, name: str, value: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            raise BadParameter(name, f"{value} is not a whole number.")
        number = int(value)
        if not self.least <= number <= self.most:
            raise BadParameter(name, f"{value} is not within {self.least} and {self.most}.")
        return number


class Long(Integer):
    type_name = "long"

    def __init__(self, description: str, *, least: int = 0, most: int = 2**63 - 1, **options: Any) -> None:
        super().__init__(description, least=least, most=most, **options)


class Size(Long):
    """A size given in units of `unit` bytes; loads as bytes."""

    def __init__(self, description: str, *, unit: int = GIB, least: int = 1, **options: Any) -> None:
        super().__init__(description, least=least, most=(2**63 - 1) // unit, **options)
        self.unit = unit

    def read(self, name: str, value: str) -> int:
        return super().read(name, value) * self.unit


class Number(Parameter):
    type_name = "double"

    def read(self, name: str, value: str) -> float:
        if not re.fullmatch(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", value):
            raise BadParameter(name, f"{value} is not a number.")
        return float(value)


class Uuid(Parameter):
    """An identifier that is not looked up here, in lower case."""

    type_name = "uuid"

    def read(self, name: str, value: str) -> str:
        try:
            return str(uuid.UUID(value))
        except ValueError:
            raise BadParameter(name, f"{value} is not a uuid.") from None


class Date(Parameter):
    """A time, aware and in UTC. A bare day means its start, or its last second with `end_of_day`."""

    type_name = "date"

    def __init__(self, description: str, *, end_of_day: bool = False, **options: Any) -> None:
        super().__init__(description, **options)
        self.end_of_day = end_of_day

    def read(self, name: str, value: str) -> dt.datetime:
        for form in _DATE_FORMS:
            try:
                time = dt.datetime.strptime(value, form)  # noqa: DTZ007 - the zone is added below where it is absent
            except ValueError:
                continue
            if form == "%Y-%m-%d" and self.end_of_day:
                time = time.replace(hour=23, minute=59, second=59)
            return _in_utc(name, time)
        raise BadParameter(name, f"{value} is not a date such as 2026-01-31 or 2026-01-31T23:59:59+0000.")


def _in_utc(name: str, time: dt.datetime) -> dt.datetime:
    if time.tzinfo is None:
        return time.replace(tzinfo=dt.UTC)
    try:
        return time.astimezone(dt.UTC)
    except OverflowError:
        raise BadParameter(name, f"{time.isoformat()} is not within the years 1 and 9999 of UTC.") from None


@dataclass(frozen=True)
class Reference:
    """An identifier that was read and is not yet looked up."""

    name: str
    value: str


class Ref(Parameter):
    """The identifier of a `model`; the handler gets the entity, one that the caller may use.

    `right` is READ, USE or MANAGE (manager.access); without it the command's kind decides. `instead` is a text that
    may stand for the identifier, and that the handler gets as it is. `kind` is the type that listApis tells.
    """

    type_name = "uuid"

    def __init__(
        self,
        model: type[Any],
        description: str,
        *,
        right: str = "",
        instead: str | None = None,
        kind: str = "uuid",
        **options: Any,
    ) -> None:
        super().__init__(description, **options)
        self.model = model
        self.right = right
        self.instead = instead
        self.type_name = kind

    def read(self, name: str, value: str) -> Reference | str:
        return value if value == self.instead else Reference(name, value)


class ListOf(Parameter):
    """Comma-separated values of one type; loads as a list."""

    type_name = "list"

    def __init__(self, inner: Parameter, description: str, *, most: int = 1000, **options: Any) -> None:
        super().__init__(description, **options)
        self.inner = inner
        self.most = most
        self.length = 255

    def read(self, name: str, value: str) -> list[Any]:
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if len(parts) > self.most:
            raise BadParameter(name, f"it names {len(parts)} things, and at most {self.most} are possible.")
        return [self.inner.read(name, part) for part in parts]


class MapList(Parameter):
    """`name[0].a=1&name[0].b=2&name[1].a=3`; loads as [{'a': '1', 'b': '2'}, {'a': '3'}] in the order of indexes.

    Each text is at most `max_length` characters long; names of fields keep their case. Events do not tell the values
    of a `secret` one.
    """

    type_name = "map"

    def __init__(self, description: str, *, max_length: int = 1024, secret: bool = False, **options: Any) -> None:
        super().__init__(description, **options)
        self.max_length = max_length
        self.secret = secret

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - marshmallow's signature
        name = attr or ""
        if not isinstance(value, dict):
            if value == "" and not self.required:
                return self.load_default
            raise BadParameter(name, f"a map is wanted, such as {name}[0].key=a&{name}[0].value=b.")
        for entry in value.values():
            for key, text in entry.items():
                if not key or _CONTROL.search(key + text) or len(key) > 255:  # noqa: PLR2004 - CloudStack's column
                    raise BadParameter(name, "a key is empty or too long, or something holds control characters.")
                if len(text) > self.max_length:
                    raise BadParameter(name, f"the value of {key} is longer than {self.max_length} characters.")
        return self.shape([value[index] for index in sorted(value)])

    def shape(self, entries: list[dict[str, str]]) -> Any:
        return entries


class MapOf(MapList):
    """`name[0].key=k&name[0].value=v` or `name[0].k=v`; loads as {'k': 'v'}."""

    def shape(self, entries: list[dict[str, str]]) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in entries:
            if "key" in entry and set(entry) <= {"key", "value"}:
                found[entry["key"]] = entry.get("value", "")
            else:
                found.update(entry)
        return found
