"""The API as OpenAPI 3.1 describes it: a path for each command, since all commands share one address.

Pileus, as CloudStack, answers at any path below /client/api; the path here ends in the command's name, so that each
command has a description of its own, and the parameter `command` says which it is.
"""

from __future__ import annotations

from typing import Any

from manager.api.command import COMMANDS, ApiCommand
from manager.api.fields import Choice, Integer, ListOf, MapList, Parameter, Text
from manager.api.pages import responses
from manager.api.response import Out, Response
from manager.servers import VERSION

Schema = dict[str, Any]

_SCALARS: dict[str, Schema] = {
    "string": {"type": "string"}, "boolean": {"type": "boolean"}, "integer": {"type": "integer", "format": "int32"},
    "long": {"type": "integer", "format": "int64"}, "float": {"type": "number"}, "double": {"type": "number"},
    "date": {"type": "string"}, "map": {"type": "object"}, "uuid": {"type": "string", "format": "uuid"},
}  # fmt: skip
_ERROR: Schema = {
    "type": "object",
    "description": "One key, the wrapper of the command or errorresponse, with what was refused and why.",
    "additionalProperties": {
        "type": "object",
        "required": ["errorcode", "errortext", "uuidList"],
        "properties": {
            "errorcode": {"type": "integer"},
            "cserrorcode": {"type": "integer"},
            "errortext": {"type": "string"},
            "uuidList": {"type": "array"},
        },
    },
}


def document() -> dict[str, Any]:
    schemas = {name: _object(response) for name, response in responses().items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pileus",
            "version": VERSION,
            "description": "The API of Apache CloudStack, as far as Pileus has it. Requests are signed (apiKey and "
            "signature), or carry the session key of a login; see the guide for clients.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"apiKey": [], "signature": []}, {"session": [], "sessionkey": []}],
        "paths": {f"/client/api/{name}": _path(COMMANDS[name]) for name in sorted(COMMANDS)},
        "components": {"schemas": {**schemas, "Error": _ERROR}, "securitySchemes": _security()},
    }


def _security() -> dict[str, Any]:
    places = {"apiKey": ("query", "apiKey"), "signature": ("query", "signature"),
              "session": ("cookie", "JSESSIONID"), "sessionkey": ("query", "sessionkey")}  # fmt: skip
    return {name: {"type": "apiKey", "in": place, "name": key} for name, (place, key) in places.items()}


def _path(api: ApiCommand) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": api.name, "summary": api.description}
    if api.is_open:
        operation["security"] = []
    operation["parameters"] = [_fixed("command", api.name), _fixed("response", "json")]
    if api.reads:
        operation["parameters"] += [_query(name, parameter) for name, parameter in sorted(api.parameters.items())]
    elif api.parameters:
        operation["requestBody"] = _form(api)
    operation["responses"] = {
        "200": {"description": "Done, or begun", "content": {"application/json": {"schema": _answer(api)}}},
        "default": {
            "description": "Refused; the status is CloudStack's error code",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        },
    }
    return {"get" if api.reads else "post": operation}


def _fixed(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": True, "schema": {"const": value}}


def _query(name: str, parameter: Parameter) -> dict[str, Any]:
    described = {
        "name": name, "in": "query", "required": bool(parameter.required), "description": parameter.description,
        "schema": _input(name, parameter),
    }  # fmt: skip
    if isinstance(parameter, ListOf):
        described |= {"style": "form", "explode": False}
    return described


def _form(api: ApiCommand) -> dict[str, Any]:
    """The parameters in a body; maps there are fields named as `tags[0].key`."""
    plain = {n: p for n, p in sorted(api.parameters.items()) if not isinstance(p, MapList)}
    maps = {n: p for n, p in sorted(api.parameters.items()) if isinstance(p, MapList)}
    schema: Schema = {
        "type": "object",
        "properties": {n: _input(n, p) | {"description": p.description} for n, p in plain.items()},
    }
    if maps:
        schema["patternProperties"] = {
            _indexed(n): {"type": "string", "maxLength": p.max_length, "description": p.description}
            for n, p in maps.items()
        }
    required = [name for name, parameter in plain.items() if parameter.required]
    content: dict[str, Any] = {"schema": schema | ({"required": required} if required else {})}
    lists = {n: {"style": "form", "explode": False} for n, p in plain.items() if isinstance(p, ListOf)}
    return {"content": {"application/x-www-form-urlencoded": content | ({"encoding": lists} if lists else {})}}


def _indexed(name: str) -> str:
    return rf"^{name}\[[0-9]+\]\..+$"


def _input(name: str, parameter: Parameter) -> Schema:
    if isinstance(parameter, MapList):
        text = {"type": "string", "maxLength": parameter.max_length}
        return {"type": "object", "patternProperties": {_indexed(name): text}}
    if isinstance(parameter, ListOf):
        return {"type": "array", "items": _input(name, parameter.inner), "maxItems": parameter.most}
    schema = dict(_SCALARS[parameter.type_name])
    if isinstance(parameter, Choice):
        schema["enum"] = list(parameter.allowed)
    elif isinstance(parameter, Text):
        schema["maxLength"] = parameter.length
    elif isinstance(parameter, Integer):
        schema |= {"minimum": parameter.least, "maximum": parameter.most}
    return schema


def _answer(api: ApiCommand) -> Schema:
    """The answer; for a job its identifiers, with the schema of the result as `x-jobresult`."""
    content = _content(api, api.shape)
    if api.is_async:
        names = ["jobid", "id"] if api.creates else ["jobid"]
        identifiers = {"type": "object", "properties": {name: dict(_SCALARS["uuid"]) for name in names}}
        result = _content(api, "success" if api.shape == "success" else "object")
        content = {**identifiers, "required": names, "x-jobresult": result}
    return {"type": "object", "properties": {api.wrapper: content}, "required": [api.wrapper]}


def _content(api: ApiCommand, shape: str) -> Schema:
    thing = {"$ref": f"#/components/schemas/{api.response.__name__}"}
    if shape in ("flat", "success"):
        return thing
    if shape == "object":
        return {"type": "object", "properties": {api.object_key: thing}}
    rows = {"type": "array", "items": thing}
    return {"type": "object", "properties": {"count": {"type": "integer"}, api.object_key: rows}}


def _object(response: type[Response]) -> Schema:
    properties = {name: _field(out) for name, out in sorted(response.fields.items())}
    if response.has_jobs:
        properties |= {"jobid": dict(_SCALARS["uuid"]), "jobstatus": dict(_SCALARS["integer"])}
    return {"type": "object", "properties": properties}


def _field(out: Out) -> Schema:
    if out.kind != "list":
        return _SCALARS[out.kind] | {"description": out.description}
    items: Schema = {"$ref": f"#/components/schemas/{out.nested.__name__}"} if out.nested else {}
    return {"type": "array", "items": items, "description": out.description}
