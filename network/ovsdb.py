"""What ovs-vsctl writes with --format=json (RFC 7047)."""

from __future__ import annotations

import json
from typing import Any


def rows(text: str) -> list[dict[str, Any]]:
    """The rows of one table by their columns: a map as dict, an empty set as None."""
    found = json.loads(text)
    return [dict(zip(found["headings"], map(_plain, row), strict=True)) for row in found["data"]]


def _plain(value: Any) -> Any:
    match value:
        case ["map", pairs]:
            return dict(pairs)
        case ["set", items]:
            return items or None
        case _:
            return value
