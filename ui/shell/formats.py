"""Answers in the formats for programs. Each function gives the whole text, with its last newline."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ui.shell.errors import UsageError
from ui.shell.rows import Row, flat, plain, rows_of

_YAML_PLAIN = re.compile(r"[A-Za-z_/][\w ./+@-]*$")
_YAML_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_YAML_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n", "~")
_XML_NAME = re.compile(r"[A-Za-z_][\w.-]*$")


def as_json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def as_jsonl(content: Any) -> str:
    listed = content if isinstance(content, list) else rows_of(content) if isinstance(content, dict) else [content]
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in listed)


def as_yaml(content: Any) -> str:
    return "\n".join(_yaml(content)) + "\n"


def _yaml(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        lines = []
        for name, one in value.items():
            inner = _yaml(one)
            if isinstance(one, dict | list) and one:
                lines += [f"{_yaml_text(str(name))}:", *(("  " + line) for line in inner)]
            else:
                lines.append(f"{_yaml_text(str(name))}: {inner[0]}")
        return lines
    if isinstance(value, list) and value:
        lines = []
        for one in value:
            first, *rest = _yaml(one)
            lines += [f"- {first}", *(f"  {line}" for line in rest)]
        return lines
    if isinstance(value, float):
        return [re.sub(r"^(-?\d+)e", r"\1.0e", json.dumps(value))]
    return [_yaml_text(value) if isinstance(value, str) else json.dumps(value)]


def _yaml_text(text: str) -> str:
    """JSON's strings are YAML's as well, wherever a plain word could be taken for something else."""
    is_plain = _YAML_PLAIN.match(text) and text == text.strip() and text.lower() not in _YAML_WORDS
    if is_plain:
        return text
    return _YAML_UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def as_csv(rows: Sequence[Row], names: Sequence[str], *, header: bool) -> str:
    """RFC 4180 with plain newlines; nested values as JSON, so that nothing is lost."""
    lines = [",".join(_csv_cell(name) for name in names)] if header and names else []
    lines += [",".join(_csv_cell(_csv_value(row.get(name))) for name in names) for row in rows]
    return "".join(line + "\n" for line in lines)


def _csv_value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else plain(value)


def _csv_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]|^\s|\s$', text) else text


def as_text(rows: Sequence[Row]) -> str:
    """`name = value`, a line for each single value, a blank line between rows; newlines are escaped."""
    blocks = [
        "".join(f"{name} = {plain(value)}".replace("\r", "\\r").replace("\n", "\\n") + "\n" for name, value in pairs)
        for pairs in (flat(row).items() for row in rows)
    ]
    return "\n".join(blocks)


def as_xml(content: Any, root: str) -> str:
    """As the API itself would have answered: a list is its element again and again."""
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _element(root, content)


def _element(name: str, value: Any) -> str:
    tag = name if _XML_NAME.match(name) else "entry"
    if isinstance(value, list):
        return "".join(_element(name, one) for one in value)
    inner = "".join(_element(str(key), one) for key, one in value.items()) if isinstance(value, dict) else _xml(value)
    return f"<{tag}>{inner}</{tag}>" + ("\n" if value.__class__ is dict else "")


def _xml(value: Any) -> str:
    text = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f]", "\N{REPLACEMENT CHARACTER}", plain(value))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def as_ids(rows: Sequence[Row]) -> str:
    """The identifier of each row: its id, its job's, or else its name."""
    found = [next((row[name] for name in ("id", "jobid", "name") if row.get(name)), None) for row in rows]
    return "".join(f"{one}\n" for one in found if one is not None)


def queried(content: Any, expression: str) -> Any:
    """What the JMESPath `expression` takes out of the answer."""
    try:
        import jmespath
    except ImportError as error:
        raise UsageError("--query needs the Python package jmespath.", "pip install jmespath") from error
    try:
        return jmespath.search(expression, content)
    except jmespath.exceptions.JMESPathError as error:
        raise UsageError(f"The query {expression} is wrong: {' '.join(str(error).split())}") from error
