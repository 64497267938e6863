"""What a change of rules would change in routers and on hosts: what is wanted with the change beside what is without.

The change is made in the transaction at hand and taken back by the caller; nothing is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from agents.contract import ApplyNetwork, to_plain
from manager.models import Network, Nic, PrivateGateway, StaticRoute, Vm, WorkflowRow
from manager.workflows import acl, network, network_change, private_gateway, tier, vm_nic
from manager.workflows.acl_rows import tiers_of
from manager.workflows.engine import WORKFLOWS, Outcome, Run
from manager.workflows.security import guarded_networks, of_group
from manager.workflows.static_route import tier_with
from manager.workflows.views import Picture, present
from network.flow_preview import flow_changes
from network.types import NetworkView

ROUTER, HOSTS = "router", "hosts"
UNTOLD = frozenset({"generation", "peers", "pair"})
"""What every change changes, and what hosts are told of one another."""
HIDDEN = frozenset({"host_id", "also_on", "password", "private_key", "secret", "user_data"})
"""What no entry shows: places, and what is nobody's to read."""
SEQUENCES = (list, tuple)
NAMES = ("id", "network_id")
"""What entries name themselves by."""
MADE = ("id", "nic_id")


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


STEPS: dict[str, tuple[Callable[[Run], Outcome], ...]] = {
    "acl.replace": (acl.use_list,),
    "network.change": (network_change.set_values, network_change.set_source_nat),
    "network.delete": (network.take_down,),
    "private-gateway.acl": (private_gateway.use_list,),
    "tier.delete": (tier.take_leg_off,),
    "vm.add_nic": (vm_nic.put_on,),
    "vm.default_nic": (vm_nic.choose_default,),
    "vm.remove_nic": (vm_nic.take_off,),
}
"""By workflow: what changes rows in its steps, where the call itself does not."""


def play(session: Session, job: WorkflowRow | None) -> None:
    """Have the job's steps change the rows; nobody is asked anything.

    :raises StepFailed: as they do
    """
    if job is not None:
        for step in STEPS.get(job.name, ()):
            step(Run.of(session, job))


def concerned(session: Session, job: WorkflowRow | None, subject: Any) -> list[str]:
    """The ids of the networks that hosts are told of anew by the job, or else by the change of `subject`."""
    known = job.arguments if job is not None else {}
    model = WORKFLOWS[job.name].subject if job is not None and job.name in WORKFLOWS else None
    about = session.get(model, job.subject_id) if job is not None and model is not None else subject
    if isinstance(about, Network):
        return [about.id]
    if "network_id" in known:
        return [known["network_id"]]
    if "list_id" in known and not isinstance(about, PrivateGateway):
        return [one.id for one in tiers_of(session, known["list_id"])]
    if "group_id" in known:
        return guarded_networks(session, of_group(known["group_id"]))
    if isinstance(about, Vm):
        mine = select(Nic.network_id).where(Nic.vm_id == about.id).distinct()
        return sorted(session.scalars(mine))
    return _of_thing(session, about) or _of_thing(session, subject)


def _of_thing(session: Session, thing: Any) -> list[str]:
    """The network that it is in; of a VPC's, one whose hosts are told of it: any tier knows the router."""
    if getattr(thing, "network_id", None):
        return [thing.network_id]
    vpc_id = getattr(thing, "vpc_id", None)
    if not vpc_id:
        return []
    near = tier_with(session, vpc_id, thing.next_hop) if isinstance(thing, StaticRoute) else None
    if near is not None:
        return [near.id]
    tiers = select(Network.id).where(Network.vpc_id == vpc_id, Network.removed.is_(None))
    return list(session.scalars(tiers.where(Network.state != "Allocated").order_by(Network.id).limit(1)))


def pictures(session: Session, network_ids: Iterable[str]) -> dict[str, Picture]:
    """Of those networks that there are."""
    session.flush()
    there = sorted(session.scalars(select(Network.id).where(Network.id.in_(network_ids))))
    return {network_id: present(session, network_id) for network_id in there}


def difference(before: dict[str, Picture], after: dict[str, Picture]) -> Difference:
    rules: dict[RuleChange, None] = {}
    hosts: list[HostChange] = []
    for network_id in sorted(before.keys() & after.keys()):
        had, has = before[network_id].commands, after[network_id].commands
        for host_id in sorted(had.keys() | has.keys()):
            old = had.get(host_id) or ApplyNetwork(_without_nics(has[host_id].view))
            new = has.get(host_id) or ApplyNetwork(_without_nics(old.view))
            # All hosts have the same rules: one that joins or leaves is told of nothing that others do not know.
            views = (had.get(host_id, _any(had, old)).view, has.get(host_id, _any(has, new)).view)
            told = ((ROUTER, (old.router, new.router)), (HOSTS, views))
            for where, pair in (*told, *_of_devices(old, new)):
                found = _entries("", *(to_plain(one) for one in pair))
                rules |= dict.fromkeys(RuleChange(network_id, where, *entry) for entry in found)
            lines = flow_changes(host_id, old.view, new.view)
            if any(lines):
                hosts.append(HostChange(network_id, host_id, *(tuple(part) for part in lines)))
    return Difference(tuple(rules), tuple(hosts))


def _any(commands: dict[str, ApplyNetwork], otherwise: ApplyNetwork) -> ApplyNetwork:
    return next(iter(commands.values()), otherwise)


def _without_nics(view: NetworkView) -> NetworkView:
    """As a host has it that holds no part of the network."""
    return replace(view, nics=(), peers=(), pair=())


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
    return {name: one for name, one in entry.items() if name not in MADE} if isinstance(entry, dict) else entry


def _json(value: Any) -> str:
    return msgspec.json.encode(_filled(value)).decode()


def _filled(value: Any) -> Any:
    """Without what is empty or hidden."""
    if isinstance(value, SEQUENCES):
        return [_filled(one) for one in value]
    if not isinstance(value, dict):
        return value
    filled = {name: _filled(one) for name, one in value.items() if name not in HIDDEN}
    return {name: one for name, one in filled.items() if one not in ("", [], (), None, {})}
