"""listApis, made from the table of commands."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from manager.api.command import COMMANDS, ApiCommand
from manager.api.fields import ListOf, Parameter, Ref
from manager.api.response import Out, Response


def describe(command: ApiCommand) -> dict[str, Any]:
    """A command as listApis shows it; never with a null, since shells cast blindly."""
    return {
        "name": command.name,
        "description": command.description,
        "isasync": command.is_async,
        "related": _others(command),
        "params": [_parameter(command, name, parameter) for name, parameter in sorted(command.parameters.items())],
        "response": _fields(command.response.fields.items()),
    }


def _others(command: ApiCommand) -> str:
    """The commands whose answers are of the same kind."""
    return ",".join(name for name in _showing(command.response.shows) if name != command.name)


def _parameter(command: ApiCommand, name: str, parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": name,
        "description": parameter.description + _possible(parameter),
        "type": parameter.type_name,
        "length": parameter.length,
        "required": bool(parameter.required),
    }
    target = parameter.inner if isinstance(parameter, ListOf) else parameter
    if isinstance(target, Ref):
        described["related"] = ",".join(n for n in _showing(target.model) if n != command.name)
    if parameter.since:
        described["since"] = parameter.since
    return described


def _possible(parameter: Parameter) -> str:
    return f" (one of {', '.join(parameter.allowed)})" if parameter.allowed else ""


def _fields(fields: Iterable[tuple[str, Out]]) -> list[dict[str, Any]]:
    described = []
    for name, out in sorted(fields):
        entry: dict[str, Any] = {"name": name, "description": out.description, "type": out.kind}
        if out.nested is not None and issubclass(out.nested, Response):
            entry["response"] = _fields(out.nested.fields.items())
        described.append(entry)
    return described


def _showing(model: type[Any] | None) -> list[str]:
    """The commands whose answers show `model`: the shell completes identifiers from the first list among them."""
    return _index().get(model, [])


@cache
def _index() -> dict[type[Any] | None, list[str]]:
    names: dict[type[Any] | None, list[str]] = {}
    for command in sorted(COMMANDS.values(), key=lambda command: (not command.name.startswith("list"), command.name)):
        if command.response.shows is not None:
            names.setdefault(command.response.shows, []).append(command.name)
    return names
