"""What zones, pods, clusters and all that stands in them share: names, filters, locks, refusals to remove."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from sqlalchemy import ColumnElement, Select, func, select

from manager.api.call import Call
from manager.api.errors import Invalid
from manager.api.rows import by_id
from manager.models import Cluster, Pod, Zone

ALLOCATION_STATES = ("Enabled", "Disabled")
HYPERVISORS = ("KVM", "Simulator")
NETWORK_DOMAIN = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


def named(kind: str, name: str) -> str:
    """The name without space around it.

    :raises Invalid: nothing is left
    """
    stripped = name.strip()
    if not stripped:
        raise Invalid(f"The {kind} needs a name; it cannot be blank.")
    return stripped


def kind_of(model: type[Any]) -> str:
    """What messages call a row of `model`: 'storage pool'."""
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", model.__name__).lower()


def rename(call: Call, thing: Any, name: str, scope: str = "") -> None:
    """Give the thing another name, new in `scope`, which starts its `live`.

    :raises Invalid: the name is blank or taken
    """
    kind = kind_of(type(thing))
    thing.name = named(kind, name)
    thing.live = f"{scope}{thing.name.lower()}"
    call.flush(taken=f"There is a {kind} named {thing.name} already.")


def network_domain(text: str | None) -> str | None:
    """:raises Invalid: `text` is no DNS name"""
    if text and not NETWORK_DOMAIN.fullmatch(text):
        raise Invalid(f"{text} is not a DNS suffix such as cs.example.org.")
    return text or None


def split_url(url: str) -> SplitResult:
    """:raises Invalid: it has brackets around what is no IPv6 address"""
    try:
        return urlsplit(url)
    except ValueError:
        raise Invalid(f"The url {url} cannot be read.") from None


def path_of(url: str, schemes: Iterable[str]) -> tuple[str, str]:
    """Scheme and absolute path of a URL such as file:///var/lib/pool.

    :raises Invalid: another scheme, a host in it, or a path that is not absolute and plain
    """
    parts = split_url(url)
    if parts.scheme not in schemes:
        known = " or ".join(f"{scheme}:///directory" for scheme in schemes)
        raise Invalid(f"The url {url} cannot be used; it must be {known}.")
    path = unquote(parts.path)
    steps = path.split("/")[1:]
    if parts.netloc or parts.query or parts.fragment or not path.startswith("/") or {"", ".", ".."} & set(steps):
        raise Invalid(f"The url {url} cannot be used; it must name an absolute path, as {parts.scheme}:///directory.")
    return parts.scheme, path


def narrowed(query: Select[Any], filters: Mapping[str, Any], columns: Mapping[str, Any]) -> Select[Any]:
    """`query` with an equality for every filter that is given; an entity stands for its id."""
    for name, column in columns.items():
        value = filters[name]
        if value is not None and value != "":
            query = query.where(column == getattr(value, "id", value))
    return query


def with_keyword(query: Select[Any], keyword: str | None, column: Any) -> Select[Any]:
    return query.where(column.contains(keyword, autoescape=True)) if keyword else query


def places_of(call: Call, rows: Iterable[Any], *models: type[Any]) -> dict[str | None, str]:
    """By id: the names of the zones, pods and clusters (those of `models`) that the rows are in."""
    columns = {Zone: "zone_id", Pod: "pod_id", Cluster: "cluster_id"}
    names: dict[str | None, str] = {}
    things = list(rows)
    for model in models:
        found = by_id(call, model, (getattr(thing, columns[model]) for thing in things))
        names |= {identifier: place.name for identifier, place in found.items()}
    return names


def hold(call: Call, thing: Any) -> None:
    """Lock the row until the call ends: nothing is put into what is being removed, or removed while it is filled.

    :raises Invalid: it was removed meanwhile
    """
    model = type(thing)
    query = select(model).where(model.id == thing.id, model.removed.is_(None)).with_for_update()
    if call.session.scalar(query.execution_options(populate_existing=True)) is None:
        raise Invalid(f"The {kind_of(model)} {thing.id} has been removed.")


def refuse_while(call: Call, what: str, contents: Iterable[tuple[str, type[Any], ColumnElement[bool]]]) -> None:
    """:raises Invalid: there are living rows of one of `contents`, each given as (their name, model, condition)"""
    for name, model, condition in contents:
        query = select(func.count()).select_from(model).where(condition)
        if hasattr(model, "removed"):
            query = query.where(model.removed.is_(None))
        count = call.session.scalar(query) or 0
        if count:
            raise Invalid(f"{what} cannot be removed: it still has {count} {name}.")


def demand_within(kind: str, thing: Any, outer_kind: str, outer: Any) -> None:
    """:raises Invalid: `thing` (a pod, cluster ..) is not in `outer` (a zone, pod ..)"""
    if getattr(thing, f"{outer_kind}_id") != outer.id:
        raise Invalid(f"The {kind} {thing.name} is not in the {outer_kind} {outer.name}.")


def shown_number(value: float) -> str:
    """A number as CloudStack shows it: at most two decimals, none that are zero."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def shown_percentage(part: float, whole: float) -> str:
    return shown_number(100 * part / whole if whole else 0.0)
