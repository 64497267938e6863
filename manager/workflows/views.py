"""What hosts must hold of a tenant network, computed whole from the database: views, and the router's wanted state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

from sqlalchemy import Executable, bindparam, select, update
from sqlalchemy.orm import Session, aliased

from agents.contract import ApplyNetwork
from manager.db import write
from manager.models import (
    Host,
    Network,
    NetworkOffering,
    Nic,
    NicAddress,
    PublicAddress,
    Router,
    TrafficType,
    VlanIpRange,
    Zone,
)
from manager.models.network import L2, SHARED
from manager.workflows.acl_rows import policy_of
from manager.workflows.device_parts import Parts, by_router, parts_of
from manager.workflows.devices import Serving, is_gateway_by_device, serving
from manager.workflows.engine import Ask
from manager.workflows.guards import guard_of
from manager.workflows.published import published
from manager.workflows.router_pair import Line, is_of_line, line_of
from manager.workflows.router_spec import TRUNK_BRIDGE, guest_leg, public_leg, resolvers_of
from manager.workflows.vpc_view import nics_query, vpc_router
from manager.workflows.vpc_ways import behind_guests
from network.overlays import VLAN
from network.types import GUEST, ROUTER, NetworkView, NicView, OverlayName, Peer, Policy, RouterSpec

GUEST_TRAFFIC = aliased(TrafficType)
CROWD = 16
"""A network on more hosts than that is a crowd's: its jobs have a carrier tell the hosts, for many at once."""


@dataclass(frozen=True)
class Picture:
    """One generation of a network: the command for each host that holds a part of it, by host id.

    One of a crowd's network has the command of the host that was asked for alone. `down` are the agents of hosts with
    NICs that are Down.
    """

    commands: dict[str, ApplyNetwork]
    agents: dict[str, str]
    generation: int = 0
    crowded: bool = False
    down: frozenset[str] = frozenset()

    def asks(self, *, but: str | None = None) -> list[Ask]:
        """The command for every host, or for all others than `but`."""
        return [
            Ask(self.agents[host_id], command, command.view.generation)
            for host_id, command in sorted(self.commands.items())
            if host_id != but and host_id in self.agents
        ]


def picture(
    session: Session, network_id: str, *, leaving: Iterable[str] = (), of_router: bool = False, own: str | None = None
) -> Picture:
    """A new generation of the network. The network's row stays locked until this transaction ends, so generations
    are computed one after the other and a later one knows all that an earlier one knew.

    `leaving` names hosts that held a part and may hold none now. With `of_router`, what changed concerns the router
    alone, and only its host is told. With `own`, that host alone where the network is a crowd's (crowds.py).
    """
    next_one = Network.generation + 1
    # MariaDB takes assignments one after the other, so generation comes last.
    values = [(Network.generation, next_one)]
    if not of_router:
        values.insert(0, (Network.shared_generation, next_one))
    write(session, update(Network).where(Network.id == network_id).ordered_values(*values))
    return _picture(session, network_id, leaving, own, of_router=of_router, new=True)


def present(session: Session, network_id: str) -> Picture:
    """As `picture`, of the generation that the network has: to be looked at."""
    return _picture(session, network_id, (), None, of_router=False, new=False)


def _picture(
    session: Session, network_id: str, leaving: Iterable[str], own: str | None, *, of_router: bool, new: bool
) -> Picture:
    facts = _facts(session, network_id)
    rows = _nics(session, network_id)
    places = _places(session, rows, leaving)
    further = _further(session, facts.Network)
    devices = serving(session, network_id) if any(nic.hardware_id for nic, _ in rows) else {}
    guard = guard_of(session, facts.Network.id, facts.services)
    behind = behind_guests(session, facts.Network)
    line = line_of([nic for nic, _ in rows], facts.Router)
    of_vpc = vpc_router(session, facts.Network.vpc_id, new=new) if facts.Network.vpc_id is not None else None
    if of_vpc is not None and of_vpc.line is not None:
        line, places = of_vpc.line.line, places | of_vpc.line.places
    nics = tuple(
        NicView(nic.id, _mac(nic, devices), nic.address or "", nic.host_id,
                ROUTER if nic.router_id or nic.hardware_id else GUEST, further.get(nic.id, ()),
                _rate(facts, nic, row), guard.groups_of(nic),
                _behind(behind, (nic.address, *further.get(nic.id, ()))) if nic.vm_id else ())
        # The first router's NIC is the one that DHCP goes to.
        for nic, row in sorted(rows, key=lambda one: one[0].hardware_id is not None)
        if nic.host_id and not (line is not None and is_of_line(nic))
    )  # fmt: skip
    here = {nic.host_id for nic in nics} | set(line.host_ids if line is not None else ())
    guests = {(nic.vm_id, address) for nic, _ in rows for address in (nic.address, *further.get(nic.id, ()))}
    parts: Parts = {}
    if facts.Network.vpc_id is not None:
        routers = of_vpc.specs if of_vpc is not None else {}
    else:
        rules = published(session, facts.Network, guests)
        owners = {nic.id: nic.hardware_id for nic, _ in rows if nic.hardware_id}
        parts = parts_of(facts, [(nic, owners[nic.id]) for nic in nics if nic.id in owners], rules, devices)
        left = by_router(facts.services, rules)
        routers = _own(_router_spec(facts, rows, [nic for nic in nics if nic.id not in owners], left), line)
    acl, commands = policy_of(session, facts.Network.acl_id), {}
    crowded = own is not None and len(places) > CROWD
    for host_id in places.keys() & ({own} if crowded else {*routers, *parts} if of_router else places.keys()):
        peers = tuple(Peer(other, address) for other, (_, address) in places.items() if other in here - {host_id})
        seen = line.seen_by(nics, host_id) if line is not None else nics
        view = replace(_view(facts, seen, peers, acl), **guard.shown) if host_id in here else _view(facts, (), peers)
        own_line = line is not None and of_vpc is None  # that of a VPC's routers is a view of its own
        view = replace(view, pair=line.ends) if line is not None and own_line and host_id in here else view
        commands[host_id] = ApplyNetwork(view, routers.get(host_id), parts.get(host_id, ()))
    agents = {host_id: agent_id for host_id, (agent_id, _) in places.items()}
    down = frozenset(row.agent_id for _, row in rows if row.host_state == "Down")
    return Picture(commands, agents, facts.Network.generation, crowded, down)


def _own(spec: RouterSpec | None, line: Line | None) -> dict[str, RouterSpec]:
    """The network's router by its host, or both."""
    if spec is None:
        return {}
    return line.specs(spec) if line is not None else {spec.legs[0].nic.host_id: spec}


def _behind(networks: dict[str | None, tuple[str, ...]], own: Iterable[str | None]) -> tuple[str, ...]:
    """The networks that routes reach by one of the NIC's own addresses."""
    return tuple(network for address in own for network in networks.get(address, ())) if networks else ()


def _mac(nic: Nic, devices: Mapping[str, Serving]) -> str:
    """A device has one MAC for all networks that it is on."""
    return devices[nic.hardware_id].device.mac if nic.hardware_id else nic.mac


def _rate(facts: Any, nic: Nic, row: Any) -> int:
    """Mbit/s that a guest's NIC may have: on its default NIC those of its own offering, else those of the network's."""
    if nic.router_id or nic.hardware_id:
        return 0
    return (row.network_rate if nic.is_default else facts.network_rate) or 0


def _places(session: Session, rows: Sequence[Any], leaving: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Agent and underlay address of every host that holds a NIC of `rows` or is in `leaving`."""
    places = {nic.host_id: (row.agent_id, row.underlay_address) for nic, row in rows if nic.host_id}
    others = [host_id for host_id in leaving if host_id not in places]
    if others:
        query = select(Host.id, Host.agent_id, Host.underlay_address).where(Host.id.in_(others))
        places |= {host.id: (host.agent_id, host.underlay_address) for host in session.execute(query)}
    return places


def _further(session: Session, network: Network) -> dict[str, tuple[str, ...]]:
    """By NIC id: its further addresses. Who gives a NIC one counts it as a change of the network's rules."""
    if not network.rules_wanted:
        return {}
    query = select(NicAddress.nic_id, NicAddress.address).where(
        NicAddress.network_id == network.id, NicAddress.removing.is_(False)
    )
    found: dict[str, tuple[str, ...]] = {}
    for row in session.execute(query.order_by(NicAddress.address)):
        found[row.nic_id] = (*found.get(row.nic_id, ()), row.address)
    return found


def _facts(session: Session, network_id: str) -> Any:
    """The network with its zone, offering, router and public address, in one statement."""
    return session.execute(_facts_query(), {"network_id": network_id}).first()


@cache
def _facts_query() -> Executable:
    return (
        select(Network, Zone, NetworkOffering.broadcast, NetworkOffering.egress_default,
               NetworkOffering.network_rate, NetworkOffering.services, NetworkOffering.specify_vlan, Router,
               PublicAddress, VlanIpRange, TrafficType.kvm_label, GUEST_TRAFFIC.kvm_label.label("guest_label"))
        .join(Zone, Zone.id == Network.zone_id)
        .join(NetworkOffering, NetworkOffering.id == Network.offering_id)
        .outerjoin(Router, (Router.network_id == Network.id) & Router.removed.is_(None) & ~Router.standby)
        .outerjoin(PublicAddress, (PublicAddress.network_id == Network.id) & PublicAddress.source_nat.is_(True))
        .outerjoin(VlanIpRange, VlanIpRange.id == PublicAddress.range_id)
        .outerjoin(TrafficType, (TrafficType.physical_network_id == VlanIpRange.physical_network_id)
                   & (TrafficType.traffic_type == "Public") & TrafficType.removed.is_(None))
        .outerjoin(GUEST_TRAFFIC, (GUEST_TRAFFIC.physical_network_id == Network.physical_network_id)
                   & (GUEST_TRAFFIC.traffic_type == "Guest") & GUEST_TRAFFIC.removed.is_(None))
        .where(Network.id == bindparam("network_id"))
        .execution_options(populate_existing=True)
    )  # fmt: skip


def _nics(session: Session, network_id: str) -> Sequence[Any]:
    """(NIC, and a row of its VM, the VM's offering and its host, or None of them) of all NICs of the network."""
    return [(row[0], row) for row in session.execute(_nics_query(), {"network_id": network_id})]


@cache
def _nics_query() -> Executable:
    return nics_query().where(Nic.network_id == bindparam("network_id"))


def _view(facts: Any, nics: tuple[NicView, ...], peers: tuple[Peer, ...], acl: Policy | None = None) -> NetworkView:
    network = facts.Network
    return NetworkView(
        id=network.id,
        key=network.key,
        generation=network.generation,
        cidr=network.cidr,
        gateway=network.gateway,
        mtu=network.mtu,
        nics=nics,
        peers=peers,
        broadcast=facts.broadcast,
        # A router knows the exceptions, so it is the one to stop what may not leave; in a tier, its ACL list.
        egress_open=facts.egress_default
        or facts.Router is not None
        or network.vpc_id is not None
        or is_gateway_by_device(facts.services),
        overlay=cast("OverlayName", network.overlay),
        acl=acl,
        gateway_outside=_is_outside(network, nics),
        bare=network.guest_type == L2,
        **_segment(facts),
    )


def _segment(facts: Any) -> dict[str, Any]:
    """Where a VLAN is, and whether things outside are in it as well: those of shared networks are, and those that
    administrators choose for layer 2 alone.
    """
    network = facts.Network
    if network.overlay != VLAN:
        return {}
    is_chosen = network.guest_type == L2 and facts.specify_vlan
    return {"trunk": facts.guest_label or TRUNK_BRIDGE, "is_flat": network.guest_type == SHARED or is_chosen}


def _is_outside(network: Network, nics: tuple[NicView, ...]) -> bool:
    """Whether the gateway is a thing that is not ours: none of the network's routers has its address."""
    routers = [nic.address for nic in nics if nic.role == ROUTER]
    return bool(routers) and network.gateway not in routers


def _router_spec(facts: Any, rows: Sequence[Any], nics: Sequence[NicView], rules: dict[str, Any]) -> RouterSpec | None:
    router, network, zone = facts.Router, facts.Network, facts.Zone
    nic = next((nic for nic in nics if nic.role == ROUTER), None)
    if router is None or nic is None:
        return None
    rules = dict(rules)
    leg = guest_leg(network, nic, rows, zone, nameservers=resolvers_of(network, zone), egress=rules.pop("egress", ()),
                    egress_open=facts.egress_default)  # fmt: skip
    held = None if is_gateway_by_device(facts.services) else facts.PublicAddress
    public = public_leg(held, facts.VlanIpRange, facts.kvm_label, network.public_mtu)
    return RouterSpec(id=router.id, generation=network.generation, legs=(leg,), public=public, **rules)
