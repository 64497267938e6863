"""The wire: parameters from a request, answers to JSON and XML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from lxml import etree
from werkzeug.wrappers import Request

from manager.api.errors import MALFORMED, ApiError

JSON_TYPE = "application/json; charset=UTF-8"
XML_TYPE = "text/xml; charset=UTF-8"
MAX_PARAMETERS = 2000

_NAME = re.compile(r"[A-Za-z_][\w.-]*\Z", re.ASCII)
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INDEXED = re.compile(r"([^\[\]]+)\[(\d{1,9})\]\.(.+)\Z", re.DOTALL)


@dataclass(frozen=True)
class Incoming:
    """A request: `raw` has names as they were sent, for the signature; `names` has them in lower case.

    `headers` are by lower-case name. `source` is the address of who sent it: at first the peer's, then what trusted
    proxies tell (manager.api.origin).
    """

    method: str
    raw: Mapping[str, str]
    names: Mapping[str, str]
    cookies: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    user_agent: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def wants_json(self) -> bool:
        return self.names.get("response", "").lower() == "json"


def sender(request: Request) -> tuple[str, str, dict[str, str]]:
    """The last three fields of an Incoming: source, user agent and headers of the request."""
    headers = {name.lower(): value for name, value in request.headers}
    return request.remote_addr or "", request.user_agent.string, headers


@dataclass
class Reply:
    """An answer before it is written: one outermost key, headers, and cookies to set (None: to expire)."""

    status: int
    body: dict[str, Any]
    error_text: str = ""
    cookies: dict[str, str | None] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def parse(query: bytes, form: bytes) -> dict[str, str]:
    """Parameters of query string and form body; the query wins over the body, and in each the last wins.

    :raises ApiError: 430, not UTF-8, or too many
    """
    found: dict[str, str] = {}
    try:
        for source in (form, query):
            pairs = parse_qsl(source.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
            found.update(pairs)
    except ValueError as error:
        raise ApiError(MALFORMED, "The parameters cannot be read: they are not UTF-8, or too many.") from error
    return found


def lower_names(raw: Mapping[str, str]) -> dict[str, str]:
    """Parameters by lower-case name; the fields of maps keep their case.

    :raises ApiError: 430, one name in two spellings, of which verifier and handler might read different ones
    """
    names: dict[str, str] = {}
    for name, value in raw.items():
        head, bracket, rest = name.partition("[")
        lowered = head.lower() + bracket + rest
        if lowered in names:
            raise ApiError(MALFORMED, f"The parameter {lowered} is given twice, in different case.")
        names[lowered] = value
    return names


def unpack_maps(names: Mapping[str, str]) -> dict[str, Any]:
    """`tags[0].key=a` becomes {'tags': {0: {'key': 'a'}}}; other parameters stay as they are.

    :raises ApiError: 430, a name with brackets that is not of that form
    """
    found: dict[str, Any] = {}
    for name, value in names.items():
        if "[" not in name:
            found[name] = value
            continue
        match = _INDEXED.match(name)
        if match is None:
            raise ApiError(MALFORMED, f"The parameter {name} cannot be read; a map is written name[0].field=value.")
        entries = found.setdefault(match[1], {})
        if not isinstance(entries, dict):
            raise ApiError(MALFORMED, f"The parameter {match[1]} is given both as a map and as a plain value.")
        entries.setdefault(int(match[2]), {})[match[3]] = value
    return found


def to_json(body: dict[str, Any]) -> bytes:
    return msgspec.json.encode(body)


def to_xml(body: dict[str, Any], version: str) -> bytes:
    """The same structure as in JSON: an element for each key, repeated for each element of a list."""
    ((wrapper, content),) = body.items()
    root = etree.Element(wrapper, {"cloud-stack-version": version})
    _fill(root, content)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _fill(parent: etree._Element, content: dict[str, Any]) -> None:
    for name, value in content.items():
        for item in value if isinstance(value, list) else [value]:
            if _NAME.match(name):
                element = etree.SubElement(parent, name)
            else:
                element = etree.SubElement(parent, "entry", {"key": _NOT_XML.sub("", name)})
            if isinstance(item, dict):
                _fill(element, item)
            elif item is not None:
                element.text = _text(item)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(value))
