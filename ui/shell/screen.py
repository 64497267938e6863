"""Text for people: widths of characters, colours, tables and records that fit the terminal."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from typing import IO, Any

from ui.shell.client import is_secret
from ui.shell.rows import Row, fields_of, plain

MANY = 16  # fields of one thing, more of which are not all shown unasked
NARROWEST = 8  # columns that a cell keeps when others need room
WIDEST = 24  # columns of a cell that are enough when it is decided which fields have room
USUAL_WIDTH = 80  # columns of a terminal that does not tell
WIDE_ENOUGH_FOR_IDS = 64  # columns; names serve as well in commands
GAP = "  "
FIRST = (
    *("id", "jobid", "name", "username", "path", "state", "status", "allocationstate", "resourcestate"),
    *(
        "jobstatus",
        "cmd",
        "ipaddress",
        "cidr",
        "type",
        "displayname",
        "displaytext",
        "description",
        "zonename",
        "account",
        "domain",
    ),
    *("cpunumber", "memory", "size", "virtualmachinename", "hostname", "level", "value", "created", "hypervisor"),
)
_GOOD = ("running", "up", "enabled", "ready", "allocated", "implemented", "done", "true", "active", "connected")
_BAD = ("error", "down", "failed", "disconnected", "alert", "stuck", "destroyed", "expunging")
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_OF_256 = {"green": "38;5;28", "yellow": "38;5;130", "cyan": "38;5;31"}
"""Shades that can be read on a light ground and on a dark one, where the usual ones cannot."""


class Screen:
    """How to write to one stream: how wide it is, and whether it takes colours."""

    def __init__(self, stream: IO[str], color: str = "auto") -> None:
        self.stream = stream
        self.is_terminal = stream.isatty()
        plain_only = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        deep = "256" in os.environ.get("TERM", "") or bool(os.environ.get("COLORTERM"))
        self._codes = {**_CODES, **(_OF_256 if deep else {})}
        self.has_color = color == "always" or (color == "auto" and self.is_terminal and not plain_only)

    @property
    def width(self) -> int:
        """In columns; 0 where the output is no terminal and lines may be as long as they like."""
        if not self.is_terminal:
            return 0
        said = os.environ.get("COLUMNS", "")
        try:
            return int(said) if said.isdecimal() else os.get_terminal_size(self.stream.fileno()).columns or USUAL_WIDTH
        except OSError:
            return USUAL_WIDTH

    def styled(self, text: str, style: str) -> str:
        return f"\x1b[{self._codes[style]}m{text}\x1b[0m" if self.has_color and style and text else text

    def write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def width_of(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` columns, with an ellipsis where something is missing."""
    if width_of(text) <= width:
        return text
    taken = ""
    for letter in text:
        if width_of(taken + letter) > width - 1:
            break
        taken += letter
    return taken + "…"


def padded(text: str, width: int, *, right: bool = False) -> str:
    blanks = " " * (width - width_of(text))
    return blanks + text if right else text + blanks


def one_line(value: Any) -> str:
    """A value in a cell; what could move the cursor or the colours is shown, not obeyed."""
    return "".join(c if c.isprintable() else {"\n": "⏎", "\t": " "}.get(c, "·") for c in plain(value))


def wrapped(text: str, width: int, indent: str = "", first: str | None = None) -> str:
    """`text` in lines of at most `width` columns; 0 leaves lines as they are."""
    if not width:
        return (indent if first is None else first) + text
    import textwrap

    lines = textwrap.wrap(
        text,
        max(width, 2 * NARROWEST),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def style_of(name: str, text: str) -> str:
    if not name.endswith(("state", "status")):
        return ""
    return "green" if text.lower() in _GOOD else "red" if text.lower() in _BAD else ""


def telling(rows: Sequence[Row]) -> list[str]:
    """The single-valued fields of the rows, those that tell most first."""
    single = [name for name in fields_of(rows) if not any(isinstance(row.get(name), dict | list) for row in rows)]
    known = [name for name in FIRST if name in single]
    again = [name for name in ("displayname", "displaytext") if all(row.get(name) == row.get("name") for row in rows)]
    known = [name for name in known if name not in again]
    return [*known, *(name for name in single if name not in known and not name.endswith("id"))]


def table(screen: Screen, rows: Sequence[Row], names: Sequence[str], *, header: bool = True) -> tuple[str, int]:
    """The rows as a table that fits the screen, and how many fields have no column.

    Named fields all get one and share the width; else as many of the telling ones as have room.
    """
    shown = list(names) or telling(rows)
    cells = {name: [one_line(row.get(name)) for row in rows] for name in shown}
    widths = {name: max(width_of(name), *map(width_of, cells[name]), 1) for name in shown}
    if screen.width:
        if not names:
            shown = _fitting(shown, widths, screen.width)
        widths = _squeezed({name: widths[name] for name in shown}, screen.width)
    lines = []
    if header:
        titles = GAP.join(padded(cut(name.upper(), widths[name]), widths[name]) for name in shown)
        lines.append(screen.styled(titles.rstrip(), "bold"))
    for number, row in enumerate(rows):
        parts = [_cell(screen, name, cells[name][number], widths[name], row.get(name)) for name in shown]
        lines.append(GAP.join(parts).rstrip())
    return "".join(line + "\n" for line in lines), len(fields_of(rows)) - len(shown) if not names else 0


def _cell(screen: Screen, name: str, text: str, width: int, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return screen.styled(padded(cut(text, width), width, right=is_number), style_of(name, text))


def _fitting(names: Sequence[str], widths: dict[str, int], total: int) -> list[str]:
    """The names that have room when none is wider than it may be; at least one beside the id, which comes last."""
    has_id = "id" in names and (total >= WIDE_ENOUGH_FOR_IDS or len(names) == 1)
    taken: list[str] = []
    used = widths["id"] + len(GAP) if has_id else 0
    for name in names:
        if name == "id":
            continue
        width = min(widths[name], WIDEST)
        if len(taken) >= 1 + (not has_id) and used + width > total:
            break
        taken.append(name)
        used += width + len(GAP)
    return [*taken, *(["id"] if has_id else [])]


def _squeezed(widths: dict[str, int], total: int) -> dict[str, int]:
    """The widths, the widest made smaller until all have room; identifiers last, for half of one is of no use."""
    found = dict(widths)
    excess = sum(found.values()) + len(GAP) * (len(found) - 1) - total
    while excess > 0:
        soft = [name for name in found if name != "id" and found[name] > NARROWEST]
        name = max(soft or found, key=lambda name: found[name])
        if found[name] <= NARROWEST:
            break
        found[name] -= 1
        excess -= 1
    return found


def column(rows: Sequence[Row], names: Sequence[str], *, header: bool) -> str:
    """Aligned columns of whole values, for grep and awk: no cell is cut, an empty one is a dash."""
    cells = [[one_line(row.get(name)) or "-" for name in names] for row in rows]
    lines = [[name.upper() for name in names], *cells] if header and names else cells
    widths = [max((width_of(line[place]) for line in lines), default=0) for place in range(len(names))]
    pairs = ([padded(text, width) for text, width in zip(line, widths, strict=True)] for line in lines)
    return "".join(GAP.join(parts).rstrip() + "\n" for parts in pairs)


def record(screen: Screen, row: Row, names: Sequence[str]) -> tuple[str, int]:
    """One thing, those of its fields that tell most first, and how many are left out.

    None is but on a terminal, where many would push what was done before off the screen; a secret, which may never
    be shown again, stays.
    """
    shown = list(names) or [name for name in dict.fromkeys((*FIRST, *row)) if name in row]
    if screen.width and not names and len(shown) > MANY:
        shown = [name for name in shown if name in FIRST or (is_secret(name) and isinstance(row[name], str))]
    wide = max((width_of(name) for name in shown), default=0)
    lines: list[str] = []
    for name in shown:
        value = row.get(name)
        if value is None or value in ([], {}):
            continue
        listed = value if isinstance(value, list) and any(isinstance(one, dict) for one in value) else [value]
        for number, one in enumerate(listed):
            title = screen.styled(padded("" if number else name, wide), "bold")
            lines.append(_record_line(screen, name, one, title, wide))
    return "".join(line + "\n" for line in lines), 0 if names else len(row) - len(shown)


def _record_line(screen: Screen, name: str, value: Any, title: str, wide: int) -> str:
    text = one_line(value)
    room = screen.width - wide - len(GAP)
    if not screen.width or width_of(text) <= room or room < NARROWEST:
        return title + GAP + screen.styled(text, style_of(name, text))
    import textwrap

    first, *rest = textwrap.wrap(text, room, break_on_hyphens=False)
    return "\n".join([title + GAP + first, *(" " * wide + GAP + line for line in rest)])
