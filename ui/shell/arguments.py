"""From what was typed to what is sent: files, names in place of ids, lists and maps in CloudStack's form."""

from __future__ import annotations

import base64
import binascii
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ui.shell import lookup
from ui.shell.catalog import Api, Catalog, Parameter, alike
from ui.shell.client import Client
from ui.shell.errors import UsageError
from ui.shell.grammar import Argument

_MAP = re.compile(r"([^.\[]+)(\[\d+\])?(?:\.(.+))?$", re.DOTALL)
_KEYED = ("tags", "resourcetags")  # maps whose entries CloudStack wants as key and value


def prepare(client: Client, catalog: Catalog, api: Api, arguments: Iterable[Argument]) -> dict[str, str]:
    """The parameters of the call.

    :raises UsageError: one is not known or missing, a file cannot be read, or a name is not that of one thing
    """
    sent: dict[str, str] = {}
    for argument in arguments:
        param, rest = _declared(api, argument.name)
        _put(sent, param, rest, _value(argument, param.name))
    missing = [param for param in api.params.values() if param.required and not _is_given(sent, param.name)]
    if missing:
        told = "\n".join(f"  {param.name}=  {param.description}" for param in missing)
        raise UsageError(f"{api.verb} {api.noun} needs more:", told)
    for param in api.params.values():
        if sent.get(param.name) and lookup.takes_identifiers(param):
            sent[param.name] = _resolved(client, catalog, api, param, sent)
    return sent


def plain(arguments: Iterable[Argument]) -> dict[str, str]:
    """The arguments as they stand, for a command that listApis does not tell of."""
    return {argument.name: _value(argument, argument.name) for argument in arguments}


def _declared(api: Api, given: str) -> tuple[Parameter, str]:
    """The declared parameter that is meant, and what follows it: `details`, `[0].memory`. `zone` stands for zoneid."""
    found = _MAP.match(given.lower())
    base = found[1] if found else given.lower()
    for name in (base, f"{base}id", f"{base}ids"):
        if name in api.params:
            return api.params[name], given[len(base) :]
    close = ", or ".join(alike(base, api.params))
    hint = f"Did you mean {close}?" if close else f"It takes: {', '.join(api.params) or 'nothing'}."
    raise UsageError(f"{api.verb} {api.noun} takes no argument {given}.", hint)


def _value(argument: Argument, name: str) -> str:
    """The value, from a file with `name@=path`, from the standard input with `name=-` or `name@=-`.

    CloudMonkey's `name=@path` counts where there is that file. User data goes over the wire in base64; a file holds it
    plain, unless it is base64 already.
    """
    path = argument.value
    if not argument.from_file and path != "-":
        if not (path.startswith("@") and Path(path[1:]).expanduser().is_file()):
            return path
        path = path[1:]
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read for {name}: {error.strerror}.") from error
    if name == "userdata" and not _is_base64(data):
        return base64.b64encode(data).decode()
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8, which {name} must be.") from error


def _is_base64(data: bytes) -> bool:
    try:
        return bool(base64.b64decode(b"".join(data.split()), validate=True))
    except binascii.Error:
        return False


def _put(sent: dict[str, str], param: Parameter, rest: str, value: str) -> None:
    name = param.name
    if rest.startswith("["):
        sent[name + rest] = value
    elif rest.startswith("."):
        _put_entry(sent, name, rest[1:], value)
    elif param.type == "map" and value[:1] in ("{", "["):
        _put_json(sent, name, value)
    elif param.type == "list" and value[:1] == "[":
        sent[name] = ",".join(str(one) for one in _parsed(name, value))
    elif name in sent:
        raise UsageError(f"The argument {name} is given twice.")
    else:
        sent[name] = value


def _put_entry(sent: dict[str, str], name: str, key: str, value: Any) -> None:
    if name in _KEYED:
        index = 1 + max((int(found[1]) for found in map(re.compile(r".*\[(\d+)\]").match, sent) if found), default=-1)
        sent |= {f"{name}[{index}].key": key, f"{name}[{index}].value": _text(value)}
    else:
        sent[f"{name}[0].{key}"] = _text(value)


def _put_json(sent: dict[str, str], name: str, value: str) -> None:
    entries = _parsed(name, value)
    if isinstance(entries, dict):
        for key, one in entries.items():
            _put_entry(sent, name, key, one)
        return
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise UsageError(f"The JSON of {name} is an object, or a list of objects.")
        sent |= {f"{name}[{index}].{key}": _text(one) for key, one in entry.items()}


def _parsed(name: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise UsageError(f"The value of {name} is no JSON: {error}.") from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _is_given(sent: dict[str, str], name: str) -> bool:
    return name in sent or any(key.startswith(f"{name}[") for key in sent)


def _resolved(client: Client, catalog: Catalog, api: Api, param: Parameter, sent: dict[str, str]) -> str:
    values = sent[param.name].split(",") if param.type == "list" else [sent[param.name]]
    if all(lookup.is_identifier(value) for value in values):
        return sent[param.name]
    list_name = lookup.source(catalog, api, param)
    if not list_name:
        return sent[param.name]
    found = []
    for value in values:
        given = {**sent, param.name: value}
        known = lookup.is_identifier(value)
        found.append(value if known else lookup.identifier(client, catalog, list_name, param, given))
    return ",".join(found)
