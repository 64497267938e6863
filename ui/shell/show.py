"""An answer on the screen or in a pipe: what is wanted of it, in the format that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ui.shell import formats, rows, screen
from ui.shell.errors import UsageError
from ui.shell.grammar import Options, Term
from ui.shell.profiles import CHOICES
from ui.shell.screen import Screen


class View:
    """One answer and how it is wanted. `api` names the command, `noun` what it lists."""

    def __init__(self, content: dict[str, Any], options: Options, terms: Sequence[Term] = ()) -> None:
        self.content, self.options = content, options
        self.api, self.noun = "", "rows"
        found = rows.rows_of(content)
        self.found, self.rows = len(found), rows.where(found, terms)
        self.names = rows.columns(options.columns, self.rows)
        self.is_list = rows.is_list(content)
        self.hidden = 0
        if terms:
            self.content = rows.with_rows(content, self.rows)

    def show(self, out: Screen, err: Screen) -> None:
        """Write the answer to `out`; remarks for people, and only for people, to `err`.

        :raises UsageError: the format, or the query, is none
        """
        name = self.options.output or ("table" if out.is_terminal else "json")
        if name not in CHOICES["output"]:
            raise UsageError(f"There is no format {name}.", f"Formats: {', '.join(CHOICES['output'])}.")
        if self.options.query:
            self._show_queried(name, out)
        elif name in ("json", "jsonl", "yaml", "xml"):
            narrowed = rows.with_rows(self.content, rows.only(self.rows, self.names)) if self.names else self.content
            out.write(_whole(name, narrowed, self.api))
        else:
            out.write(self._rows(name, out))
            if (
                name in ("table", "column")
                and (self.is_list or self.hidden)
                and err.is_terminal
                and not self.options.quiet
            ):
                self._remark(err)

    def _show_queried(self, name: str, out: Screen) -> None:
        found = formats.queried(self.content, self.options.query)
        if name in ("json", "jsonl", "yaml", "xml"):
            out.write(_whole(name, {"result": found} if name == "xml" else found, self.api))
            return
        listed = found if isinstance(found, list) else [found]
        if listed and all(isinstance(one, dict) for one in listed):
            self.rows, self.names, self.is_list = listed, rows.columns(self.options.columns, listed), True
            out.write(self._rows(name, out))
        else:
            out.write("".join(rows.plain(one) + "\n" for one in listed if one is not None))

    def _rows(self, name: str, out: Screen) -> str:
        header, names = not self.options.no_header, self.names
        chosen = rows.only(self.rows, names) if names else self.rows
        if name == "id":
            return formats.as_ids(self.rows)
        if name == "text":
            return formats.as_text(chosen)
        if name == "csv":
            return formats.as_csv(chosen, names or rows.fields_of(chosen), header=header)
        if name == "column":
            return screen.column(chosen, names or rows.fields_of(chosen), header=header)
        if not self.is_list:
            return "".join(self._single(out, row) for row in chosen)
        text, self.hidden = screen.table(out, chosen, names, header=header) if chosen else ("", 0)
        return text

    def _single(self, out: Screen, row: rows.Row) -> str:
        if row.get("success") in (True, "true") and not self.names and set(row) <= {"success", "displaytext"}:
            told = f": {row['displaytext']}" if row.get("displaytext") else ""
            return out.styled("done", "green") + told + "\n"
        text, self.hidden = screen.record(out, row, self.names)
        return text

    def _remark(self, err: Screen) -> None:
        """How many rows there are, and what is not seen of them."""
        count, total = len(self.rows), self.content.get("count", 0)
        noun = _singular(self.noun) if self.found == 1 else self.noun
        told = f"{count} of {self.found} {noun}" if count != self.found else f"{count or 'no'} {noun}"
        empty = [name for name in self.names if count and all(rows.value_of(row, name) is None for row in self.rows)]
        parts = [*([told] if self.is_list else []), *([f"none has {', '.join(empty)}"] if empty else [])]
        if int(total) > self.found > 0 and count == self.found:
            parts.append(f"the server has {total}: --all shows them")
        if self.hidden:
            parts.append(f"{self.hidden} more fields: -c '*'")
        err.write(err.styled(screen.wrapped("; ".join(parts), err.width), "dim") + "\n")


def _singular(noun: str) -> str:
    return noun[:-3] + "y" if noun.endswith("ies") else noun.removesuffix("es" if noun.endswith("sses") else "s")


def _whole(name: str, content: Any, api: str) -> str:
    if name == "xml":
        return formats.as_xml(content, f"{api.lower()}response")
    return {"json": formats.as_json, "jsonl": formats.as_jsonl, "yaml": formats.as_yaml}[name](content)
