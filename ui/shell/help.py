"""What the shell tells of itself and of every command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ui.shell import lookup
from ui.shell.catalog import Api, Catalog, Parameter
from ui.shell.grammar import COMMANDS, FLAGS
from ui.shell.screen import Screen, padded, wrapped

_MARGIN = "  "
_WIDEST = 30
_EXAMPLES = (
    ("pileus", "the interactive shell, with completion"),
    ("pileus list zones", "a table on a terminal, JSON in a pipe"),
    ("pileus start virtualmachine id=web", "names stand for ids; the job's steps are shown"),
    ("pileus list virtualmachines -c name,state where state=Running", "these fields of these rows"),
)


def overview(screen: Screen, catalog: Catalog) -> str:
    lines = [
        screen.styled("pileus VERB NOUN [name=value ...] [where CONDITION ...] [OPTION ...]", "bold"),
        "",
        _pairs(screen, _EXAMPLES),
        _heading(screen, "Arguments"),
        _pairs(
            screen,
            (
                ("name=value", "a name may stand where an id is wanted, and zone= for zoneid="),
                ("name@=FILE  name=-", "the value from a file, or from the standard input"),
                ("details.cpuNumber=2", "an entry of a map; also details[0].cpuNumber=2 and details='{...}'"),
                ("$last.id", "in the interactive shell: a field of the answer before"),
            ),
        ),
        _heading(screen, "Options"),
        _pairs(screen, [(f"{flag} {value}".strip(), text) for flag, (_, value, text) in FLAGS.items()]),
        _heading(screen, "The shell's own commands"),
        _pairs(screen, [(f"{name} {given}".strip(), text) for name, (given, text) in COMMANDS.items()]),
    ]
    if not catalog.is_empty:
        verbs = ", ".join(catalog.verbs())
        lines += [_heading(screen, "Verbs of this cloud (help VERB tells more)"), _text(screen, verbs)]
    return "\n".join(lines) + "\n"


def of_verb(screen: Screen, catalog: Catalog, verb: str) -> str:
    pairs = [(f"{verb} {noun}", catalog[name].description) for noun, name in sorted(catalog.nouns(verb).items())]
    return _pairs(screen, pairs) + "\n"


def of_command(screen: Screen, catalog: Catalog, api: Api) -> str:
    title = screen.styled(f"{api.verb} {api.noun}".strip(), "bold")
    job = "; gives a job, which the shell waits for" if api.is_async else ""
    lines = [f"{title}  {screen.styled(api.name + job, 'dim')}", wrapped(api.description, screen.width, _MARGIN)]
    for heading, needed in (("Needed", True), ("Possible", False)):
        params = [param for param in api.params.values() if param.required is needed]
        if params:
            lines += [_heading(screen, heading)]
            lines += [_pairs(screen, [(f"{p.name}=", _told(catalog, api, p)) for p in params])]
    if api.fields:
        names = ", ".join(sorted(str(field["name"]) for field in api.fields))
        lines += [_heading(screen, "Fields of the answer"), _text(screen, names)]
    return "\n".join(lines) + "\n"


def _told(catalog: Catalog, api: Api, param: Parameter) -> str:
    more = [param.type] if param.type not in ("string", "uuid") else []
    if param.allowed and not all(one in param.description for one in param.allowed):
        more.append("one of " + ", ".join(param.allowed))
    source = lookup.source(catalog, api, param) if lookup.takes_identifiers(param) else ""
    if source:
        more.append(f"id or name, from list {catalog[source].noun}")
    return param.description + (f" [{'; '.join(more)}]" if more else "")


def _heading(screen: Screen, text: str) -> str:
    return f"\n{screen.styled(text, 'bold')}"


def _text(screen: Screen, text: str) -> str:
    return wrapped(text, screen.width, _MARGIN)


def _pairs(screen: Screen, pairs: Sequence[tuple[str, Any]]) -> str:
    """Two columns; the right one is wrapped, and stands below where the left one is too long."""
    wide = min(max((len(left) for left, _ in pairs), default=0), _WIDEST)
    indent = _MARGIN + " " * (wide + len(_MARGIN))
    lines = []
    for left, right in pairs:
        shown = _MARGIN + screen.styled(padded(left, wide), "cyan")
        if len(left) > wide:
            lines += [shown, wrapped(str(right), screen.width, indent)]
        else:
            body = wrapped(str(right), screen.width, indent)
            lines.append(shown + _MARGIN + body[len(indent) :])
    return "\n".join(line.rstrip() for line in lines)
