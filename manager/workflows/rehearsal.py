"""What a change of rules would change in routers and on hosts: what is wanted with the change beside what is without.

The change is made in the transaction at hand and taken back by the caller; nothing is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from agents.contract import ApplyNetwork, to_plain
from manager.models import Network, WorkflowRow
from manager.workflows.acl_rows import tiers_of
from manager.workflows.security import guarded_networks, of_group
from manager.workflows.views import Picture, present
from network.flow_preview import flow_changes

ROUTER, HOSTS = "router", "hosts"
UNTOLD = frozenset({"generation"})
"""What every change changes."""
SEQUENCES = (list, tuple)
NAMES = ("id", "network_id")
"""What entries name themselves by."""


@dataclass(frozen=True, slots=True)
class RuleChange:
    """An entry of what a router or the hosts of a network are told that comes or goes: `part` says which list of it."""

    network_id: str
    where: str
    part: str
    added: bool
    value: str


@dataclass(frozen=True, slots=True)
class HostChange:
    """The lines of flows, groups and meters of a network that come to a host and that go, with stand-in numbers."""

    network_id: str
    host_id: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    rules: tuple[RuleChange, ...]
    hosts: tuple[HostChange, ...]


def concerned(session: Session, job: WorkflowRow | None, subject: Any) -> list[str]:
    """The ids of the networks that hosts are told of anew by the job, or else by the change of `subject`."""
    known = job.arguments if job is not None else {}
    if "network_id" in known:
        return [known["network_id"]]
    if "list_id" in known:
        return [tier.id for tier in tiers_of(session, known["list_id"])]
    if "group_id" in known:
        return guarded_networks(session, of_group(known["group_id"]))
    network_id = getattr(subject, "network_id", None)
    if network_id is None and getattr(subject, "vpc_id", None):  # any tier knows the router of its VPC
        tiers = select(Network.id).where(Network.vpc_id == subject.vpc_id, Network.removed.is_(None))
        network_id = session.scalars(tiers.where(Network.state != "Allocated").order_by(Network.id)).first()
    return [network_id] if network_id else []


def pictures(session: Session, network_ids: Iterable[str]) -> dict[str, Picture]:
    session.flush()
    return {network_id: present(session, network_id) for network_id in network_ids}


def difference(before: dict[str, Picture], after: dict[str, Picture]) -> Difference:
    rules: dict[RuleChange, None] = {}
    hosts: list[HostChange] = []
    for network_id, there in after.items():
        for host_id, command in sorted(there.commands.items()):
            old = before[network_id].commands.get(host_id)
            if old is None:
                continue
            told = ((ROUTER, (old.router, command.router)), (HOSTS, (old.view, command.view)))
            for where, pair in (*told, *_of_devices(old, command)):
                found = _entries("", *(to_plain(one) for one in pair))
                rules |= dict.fromkeys(RuleChange(network_id, where, *entry) for entry in found)
            lines = flow_changes(host_id, old.view, command.view)
            if any(lines):
                hosts.append(HostChange(network_id, host_id, *(tuple(part) for part in lines)))
    return Difference(tuple(rules), tuple(hosts))


def _of_devices(old: ApplyNetwork, new: ApplyNetwork) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """What devices do in the router's place; never how they are reached."""
    had = {part.nic_id: part.router or part.balanced for part in old.devices}
    for part in new.devices:
        if part.nic_id in had:
            yield ROUTER, (had[part.nic_id], part.router or part.balanced)


def _entries(part: str, old: Any, new: Any) -> Iterator[tuple[str, bool, str]]:
    """(part, whether it is added, the entry as JSON) of what differs; what goes comes first."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            if name not in UNTOLD:
                yield from _entries(f"{part}.{name}".strip("."), old.get(name), new.get(name))
    elif isinstance(old, SEQUENCES) and isinstance(new, SEQUENCES):
        yield from _of_lists(part, old, new)
    else:
        yield from ((part, False, _json(old)),) if old is not None else ()
        yield from ((part, True, _json(new)),) if new is not None else ()


def _of_lists(part: str, old: Sequence[Any], new: Sequence[Any]) -> Iterator[tuple[str, bool, str]]:
    """Entries that name themselves are compared with those of the same name; others are there or not."""
    had, has = {_key(one): one for one in old}, {_key(one): one for one in new}
    for key in sorted(had.keys() | has.keys()):
        if key in had and key in has and (_holds_entries(had[key]) or _holds_entries(has[key])):
            yield from _entries(part, had[key], has[key])
        elif had.get(key) != has.get(key):
            yield from ((part, False, _json(had[key])),) if key in had else ()
            yield from ((part, True, _json(has[key] if key in had else _unnamed(has[key]))),) if key in has else ()


def _key(entry: Any) -> str:
    if isinstance(entry, dict) and any(name in entry for name in NAMES):
        return str(next(entry[name] for name in NAMES if name in entry))
    return _json(entry)


def _holds_entries(entry: Any) -> bool:
    """Whether it is told in parts, such as a policy by its rules, and a router's leg by what it does."""
    if not isinstance(entry, dict):
        return False
    parts = [part for part in entry.values() if isinstance(part, SEQUENCES)]
    return "network_id" in entry or any(isinstance(one, dict) for part in parts for one in part)


def _unnamed(entry: Any) -> Any:
    """Without the id of what the rehearsal made, which nobody will meet again."""
    return {name: one for name, one in entry.items() if name != "id"} if isinstance(entry, dict) else entry


def _json(value: Any) -> str:
    return msgspec.json.encode(_filled(value)).decode()


def _filled(value: Any) -> Any:
    """Without what is empty."""
    if not isinstance(value, dict):
        return value
    filled = {name: _filled(one) for name, one in value.items()}
    return {name: one for name, one in filled.items() if one not in ("", [], (), None, {})}
