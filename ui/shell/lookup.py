"""What a parameter may be: the rows that its identifiers come from, and the names people know them by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ui.shell.errors import UsageError
from ui.shell.rows import rows_of

if TYPE_CHECKING:
    from ui.shell.catalog import Api, Catalog, Parameter
    from ui.shell.client import Client

PAGE = 50
LABELS = ("name", "displayname", "username", "ipaddress", "path", "displaytext", "description", "account", "key")
_NAMES = LABELS[:5]
_ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$|-?\d+$", re.IGNORECASE)
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+$|[0-9a-f]*:[0-9a-f:.]+$", re.IGNORECASE)
_AIM = re.compile(r"(?:to|from|for)([a-z]{4,})$")
_DEVICES = ("fwdevice", "lbdevice")
_SHOWN = 8  # candidates that a refusal lists
_OTHERWISE = {
    "storage": "storagepool",
    "srcpool": "storagepool",
    "destpool": "storagepool",
    "ipaddress": "publicipaddress",
    "publicip": "publicipaddress",
    "acl": "networkacllist",
    "gateway": "vpngateway",
    "lbrule": "loadbalancerrule",
    "group": "instancegroup",
    "vmgroup": "autoscalevmgroup",
    "cert": "sslcert",
    "vmprofile": "autoscalevmprofile",
    "policy": "autoscalepolicy",
    "startevent": "event",
    "fwdevice": "srxfirewall",
    "lbdevice": "netscalerloadbalancer",
}
"""What parameters are called, and what the lists of such things; for clouds that do not tell by `related`."""


def is_identifier(value: str) -> bool:
    return _ID.match(value) is not None


def takes_identifiers(param: Parameter) -> bool:
    if param.type == "uuid":
        return True
    return param.type in ("list", "string") and re.search(r"ids?$", param.name) is not None and bool(param.related)


def source(catalog: Catalog, api: Api, param: Parameter) -> str:
    """The list command whose rows the parameter takes identifiers of, or nothing.

    The server's own word (`related`) counts first, and of several lists the one that is named like the parameter.
    """
    known = catalog.nouns("list")
    stem = re.sub(r"ids?$", "", param.name)
    owners = [stem, *([_OTHERWISE[stem]] if stem in _OTHERWISE else [])] if stem else _subjects(api.noun)
    likely = [known[noun] for owner in owners for noun in plurals(owner) if noun in known]
    related = [name for name in param.related if name.startswith("list") and name in catalog]
    if not stem and _AIM.search(api.noun) and likely:
        return likely[0]  # rules of all kinds are one type to CloudStack: the name says more
    if related:
        return next((name for name in likely if name in related), min(related, key=len))
    if likely or not stem:
        return likely[0] if likely else ""
    return next((known[noun] for noun in sorted(known, key=len) if noun in _ends(stem)), "")


def _subjects(noun: str) -> list[str]:
    """What the `id` of a command may be of, the likeliest first.

    The rule of assign `toloadbalancerrule`, the offering of update `vpcoffering`, the host of cancel `hostmaintenance`.
    """
    found = _AIM.search(noun)
    starts = [noun[:end] for end in range(len(noun), 3, -1)]
    named = [*([found[1]] if found else []), noun, re.sub(r"s$", "", noun), *starts]
    return [one for name in named for one in (name, _OTHERWISE.get(name, "")) if one]


def plurals(noun: str) -> tuple[str, ...]:
    many = (f"{noun}s", f"{noun}es", noun)
    return (f"{noun[:-1]}ies", *many) if noun.endswith("y") else many


def _ends(stem: str) -> set[str]:
    """`networks` for `associatednetwork`."""
    return {noun for start in range(1, len(stem) - 2) for noun in plurals(stem[start:])}


def label(row: Mapping[str, Any]) -> str:
    """What people call the row."""
    return next((str(row[name]) for name in LABELS if row.get(name)), "")


def name_of(row: Mapping[str, Any]) -> str:
    """The name that stands for the row's id; nothing where it has none."""
    return next((str(row[name]) for name in _NAMES if row.get(name)), "")


def filters(api: Api, param: Parameter | None, given: Mapping[str, str]) -> dict[str, str]:
    """What the list command `api` needs so that it shows all that the caller may see."""
    wanted = {"listall": "true", "templatefilter": "executable", "isofilter": "executable"}
    sent = {name: value for name, value in wanted.items() if name in api.params}
    if param is not None and param.name in ("hostid", "hostids") and "type" in api.params:
        sent["type"] = "Routing"
    carried = [name for name, its in api.params.items() if its.required or name == "projectid"]
    return {**{name: given[name] for name in carried if name in given}, **sent}


def fetch(client: Client, api: Api, sent: Mapping[str, str], timeout: float | None = None) -> list[dict[str, Any]]:
    """The first page of a list, each thing once."""
    page = {"page": "1", "pagesize": str(PAGE)} if "pagesize" in api.params else {}
    rows = [_identified(row) for row in rows_of(client.call(api.name, {**sent, **page}, timeout))]
    return list({str(row.get("id", number)): row for number, row in enumerate(rows)}.values())


def _identified(row: dict[str, Any]) -> dict[str, Any]:
    """With `id` and `name`: hardware devices have theirs under the names of their kind."""
    kind = next((kind for kind in _DEVICES if row.get(f"{kind}id")), "")
    if row.get("id") or not kind:
        return row
    return {**row, "id": row[f"{kind}id"], "name": row.get(f"{kind}name", "")}


def identifier(client: Client, catalog: Catalog, list_name: str, param: Parameter, given: Mapping[str, str]) -> str:
    """The id of the one thing that is called as `given` says of `param`.

    :raises UsageError: none is, or several are; the sentence lists them
    """
    api, wanted = catalog[list_name], given[param.name]
    base = filters(api, param, given)
    near: dict[str, dict[str, Any]] = {}
    for narrowing in _narrowings(api, wanted):
        rows = [row for row in fetch(client, api, {**base, **narrowing}) if row.get("id")]
        found = _called(rows, wanted)
        if len(found) == 1:
            return str(found[0]["id"])
        if found:
            raise UsageError(f"Several are called {wanted} for {param.name}; give the id:", _told(found))
        near |= {str(row["id"]): row for row in rows}
    raise UsageError(f"Nothing is called {wanted} for {param.name}.", _nearest(wanted, list(near.values())))


def _narrowings(api: Api, wanted: str) -> list[dict[str, str]]:
    """Ways to ask for fewer rows, the surest first; the last asks for all."""
    names = (["ipaddress"] if _ADDRESS.match(wanted) else []) + ["name", "username", "keyword"]
    return [{name: wanted} for name in names if name in api.params] + [{}]


def _called(rows: list[dict[str, Any]], wanted: str) -> list[dict[str, Any]]:
    """Rows with exactly that name; else, with that name in whatever case."""
    for same in (str, lambda text: str(text).lower()):
        for name in _NAMES:
            found = [row for row in rows if name in row and same(row[name]) == same(wanted)]
            if found:
                return found
    return []


def _nearest(wanted: str, rows: list[dict[str, Any]]) -> str:
    from ui.shell.catalog import alike

    close = alike(wanted, [label(row) for row in rows if label(row)])
    if close:
        return f"Did you mean {', or '.join(close)}?"
    return "There are:\n" + _told(rows) if rows else "There is nothing to choose from."


def _told(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows[:_SHOWN]:
        more = [str(row[name]) for name in ("account", "domain", "zonename", "state") if row.get(name)]
        lines.append(f"  {row.get('id')}  {label(row)}" + (f"  ({', '.join(more)})" if more else ""))
    if len(rows) > _SHOWN:
        lines.append(f"  and {len(rows) - _SHOWN} more")
    return "\n".join(lines)
