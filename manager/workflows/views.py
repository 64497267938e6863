"""What hosts must hold of a tenant network, computed whole from the database: views, and the router's wanted state."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Executable, bindparam, select, update
from sqlalchemy.orm import Session

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
    ServiceOffering,
    TrafficType,
    VlanIpRange,
    Vm,
    Zone,
)
from manager.models.network import L2
from manager.workflows.engine import Ask
from manager.workflows.published import published
from network.types import GUEST, ROUTER, Lease, NetworkView, NicView, Peer, PublicLeg, RouterSpec

PUBLIC_BRIDGE = "br-public"
PREFIX = 54
"""With a hyphen and 8 characters of an id it makes a label of 63 (RFC 1035)."""


@dataclass(frozen=True)
class Picture:
    """One generation of a network: the command for each host that holds a part of it, by host id."""

    commands: dict[str, ApplyNetwork]
    agents: dict[str, str]

    def asks(self, *, but: str | None = None) -> list[Ask]:
        """The command for every host, or for all others than `but`."""
        return [
            Ask(self.agents[host_id], command, command.view.generation)
            for host_id, command in sorted(self.commands.items())
            if host_id != but and host_id in self.agents
        ]


def picture(session: Session, network_id: str, *, leaving: Iterable[str] = (), of_router: bool = False) -> Picture:
    """A new generation of the network. The network's row stays locked until this transaction ends, so generations
    are computed one after the other and a later one knows all that an earlier one knew.

    `leaving` names hosts that held a part and may hold none now. With `of_router`, what changed concerns the router
    alone, and only its host is told.
    """
    next_one = Network.generation + 1
    # MariaDB takes assignments one after the other, so generation comes last.
    values = [(Network.generation, next_one)]
    if not of_router:
        values.insert(0, (Network.shared_generation, next_one))
    write(session, update(Network).where(Network.id == network_id).ordered_values(*values))
    facts = _facts(session, network_id)
    rows = _nics(session, network_id)
    places = _places(session, rows, leaving)
    further = _further(session, facts.Network)
    nics = tuple(
        NicView(nic.id, nic.mac, nic.address or "", nic.host_id, ROUTER if nic.router_id else GUEST,
                further.get(nic.id, ()), _rate(facts, nic, row))
        for nic, row in rows
        if nic.host_id
    )  # fmt: skip
    here = {nic.host_id for nic in nics}
    guests = {(nic.vm_id, address) for nic, _ in rows for address in (nic.address, *further.get(nic.id, ()))}
    router = _router_spec(facts, rows, nics, published(session, facts.Network, guests))
    commands = {}
    for host_id in places:
        if of_router and (router is None or router.nic.host_id != host_id):
            continue
        peers = tuple(Peer(other, address) for other, (_, address) in places.items() if other in here - {host_id})
        view = _view(facts, nics if host_id in here else (), peers)
        mine = router if router is not None and router.nic.host_id == host_id else None
        commands[host_id] = ApplyNetwork(view, mine)
    return Picture(commands, {host_id: agent_id for host_id, (agent_id, _) in places.items()})


def _rate(facts: Any, nic: Nic, row: Any) -> int:
    """Mbit/s that a guest's NIC may have: on its default NIC those of its own offering, else those of the network's."""
    if nic.router_id:
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
               NetworkOffering.network_rate, Router, PublicAddress,
               VlanIpRange, TrafficType.kvm_label)
        .join(Zone, Zone.id == Network.zone_id)
        .join(NetworkOffering, NetworkOffering.id == Network.offering_id)
        .outerjoin(Router, (Router.network_id == Network.id) & Router.removed.is_(None))
        .outerjoin(PublicAddress, (PublicAddress.network_id == Network.id) & PublicAddress.source_nat.is_(True))
        .outerjoin(VlanIpRange, VlanIpRange.id == PublicAddress.range_id)
        .outerjoin(TrafficType, (TrafficType.physical_network_id == VlanIpRange.physical_network_id)
                   & (TrafficType.traffic_type == "Public") & TrafficType.removed.is_(None))
        .where(Network.id == bindparam("network_id"))
        .execution_options(populate_existing=True)
    )  # fmt: skip


def _nics(session: Session, network_id: str) -> Sequence[Any]:
    """(NIC, and a row of its VM, the VM's offering and its host, or None of them) of all NICs of the network."""
    return [(row[0], row) for row in session.execute(_nics_query(), {"network_id": network_id})]


@cache
def _nics_query() -> Executable:
    columns = (
        Vm.id, Vm.number, Vm.name, Vm.instance_name, Vm.public_keys, Vm.user_data, Vm.password,
        Vm.user_data_details, ServiceOffering.name.label("offering"), ServiceOffering.network_rate,
        Host.agent_id, Host.underlay_address,
    )  # fmt: skip
    return (
        select(Nic, *columns)
        .outerjoin(Vm, Vm.id == Nic.vm_id)
        .outerjoin(ServiceOffering, ServiceOffering.id == Vm.service_offering_id)
        .outerjoin(Host, Host.id == Nic.host_id)
        .where(Nic.network_id == bindparam("network_id"))
        .order_by(Nic.id)
        .execution_options(populate_existing=True)
    )


def _view(facts: Any, nics: tuple[NicView, ...], peers: tuple[Peer, ...]) -> NetworkView:
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
        # A router knows the exceptions, so it is the one to stop what may not leave.
        egress_open=facts.egress_default or facts.Router is not None,
        gateway_outside=_is_outside(network, nics),
        bare=network.guest_type == L2,
    )


def _is_outside(network: Network, nics: tuple[NicView, ...]) -> bool:
    """Whether the gateway is a thing that is not ours: none of the network's routers has its address."""
    routers = [nic.address for nic in nics if nic.role == ROUTER]
    return bool(routers) and network.gateway not in routers


def _router_spec(
    facts: Any, rows: Sequence[Any], nics: tuple[NicView, ...], rules: dict[str, Any]
) -> RouterSpec | None:
    router, network, zone = facts.Router, facts.Network, facts.Zone
    nic = next((nic for nic in nics if nic.role == ROUTER), None)
    if router is None or nic is None:
        return None
    return RouterSpec(
        id=router.id,
        network_id=network.id,
        generation=network.generation,
        nic=nic,
        cidr=network.cidr,
        mtu=network.mtu,
        domain=network.network_domain,
        public=_public_leg(facts),
        leases=_leases(rows, zone.name),
        nameservers=resolvers_of(network, zone),
        egress_open=facts.egress_default,
        gateway=network.gateway if nic.address != network.gateway else "",
        **rules,
    )


def resolvers_of(network: Network, zone: Zone) -> tuple[str, ...]:
    """The name servers that the network's router asks: its own ones, else the zone's."""
    own = (network.dns1, network.dns2) if network.dns1 else (zone.dns1, zone.dns2)
    return tuple(server for server in own if server)


def _public_leg(facts: Any) -> PublicLeg | None:
    address, span = facts.PublicAddress, facts.VlanIpRange
    if address is None:
        return None
    prefix = ipaddress.IPv4Network(f"{span.gateway}/{span.netmask}", strict=False).prefixlen
    bridge, mtu = facts.kvm_label or PUBLIC_BRIDGE, facts.Network.public_mtu
    return PublicLeg(address.address, prefix, span.gateway, address.mac, bridge, mtu)


def _leases(rows: Sequence[Any], zone_name: str) -> tuple[Lease, ...]:
    """Of VMs of several accounts that have one name the oldest is known by it; each other by that and its id."""
    guests = [(nic, row) for nic, row in rows if nic.vm_id and nic.host_id]
    oldest: dict[str, int] = {}
    for _, row in guests:
        name = row.name.lower()
        oldest[name] = min(row.number, oldest.get(name, row.number))
    return tuple(_lease(nic, row, zone_name, _hostname(row, oldest)) for nic, row in guests)


def _hostname(row: Any, oldest: dict[str, int]) -> str:
    return row.name if oldest[row.name.lower()] == row.number else f"{row.name[:PREFIX]}-{row.id[:8]}"


def _lease(nic: Nic, row: Any, zone_name: str, hostname: str) -> Lease:
    return Lease(
        nic_id=nic.id,
        vm_id=row.id,
        mac=nic.mac,
        address=nic.address or "",
        hostname=hostname,
        instance_name=row.instance_name,
        service_offering=row.offering,
        zone_name=zone_name,
        public_keys=row.public_keys,
        user_data=row.user_data,
        password=row.password or "",
        leads_out=nic.is_default,
        metadata=row.user_data_details or {},
    )
