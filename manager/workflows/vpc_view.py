"""The wanted state of a VPC's router, computed whole from the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Executable, Select, bindparam, select, update
from sqlalchemy.orm import Session

from agents.contract import ApplyNetwork, ApplyRouter
from manager.db import write
from manager.models import (
    Host,
    Network,
    Nic,
    NicAddress,
    PublicAddress,
    Router,
    ServiceOffering,
    TrafficType,
    VlanIpRange,
    Vm,
    Vpc,
    Zone,
)
from manager.workflows.acl_rows import policy_of
from manager.workflows.engine import Ask
from manager.workflows.published import published_by_vpc
from manager.workflows.router_spec import guest_leg, public_leg, resolvers_of
from manager.workflows.vpc_line import VpcLine, line_of_vpc
from manager.workflows.vpc_ways import ways_of
from manager.workflows.vpn_wanted import vpn_of_vpc
from network.types import ROUTER, GuestLeg, NicView, RouterSpec


class VpcRouter(NamedTuple):
    """The router as it must run, by its host, and the agents of hosts; both of two, with the line between them."""

    specs: dict[str, RouterSpec]
    agents: dict[str, str]
    vpc: Vpc
    line: VpcLine | None = None

    def asks(self, *, only: str | None = None) -> list[Ask]:
        """The commands for each host of a router, or for the host `only`."""
        return [
            Ask(self.agents[host_id], command, spec.generation)
            for host_id, spec in sorted(self.specs.items())
            if only in (None, host_id)
            for command in self._commands(host_id, spec)
        ]

    def _commands(self, host_id: str, spec: RouterSpec) -> Iterator[ApplyNetwork | ApplyRouter]:
        """The line first: a router that hears nobody takes the other for dead."""
        if self.line is not None:
            yield ApplyNetwork(self.line.view(self.vpc, host_id), spec)
        yield ApplyRouter(spec.id, spec)


def vpc_router(session: Session, vpc_id: str, *, new: bool = True) -> VpcRouter | None:
    """A new generation of the VPC's router, or without `new` the present one; None while none is on a host.

    The VPC's row stays locked until this transaction ends. Who locks networks as well locks all of them before it.
    """
    if new:
        write(session, update(Vpc).where(Vpc.id == vpc_id).values(generation=Vpc.generation + 1))
    facts: Any = session.execute(_facts_query(), {"vpc_id": vpc_id}).first()
    line = line_of_vpc(session, facts.Vpc) if facts is not None else None
    if facts is None or not (facts.agent_id or (line is not None and line.places)):
        return None
    tiers = session.scalars(_tiers_query(), {"vpc_id": vpc_id}).all()
    rows = [(row[0], row) for row in session.execute(_nics_query(), {"vpc_id": vpc_id})] if tiers else []
    has_rules = any(tier.rules_wanted for tier in tiers)
    further = further_addresses(session, rows) if has_rules else {}
    vpc, router, legs = facts.Vpc, facts.Router, _legs(session, facts, tiers, rows, further)
    served = [leg.network_id for leg in legs]
    rules = published_by_vpc(session, vpc_id, served, _guests(rows, further)) if has_rules else {}
    spec = RouterSpec(
        id=router.id,
        generation=vpc.generation,
        legs=legs,
        vpc_id=vpc.id,
        inside=vpc.cidr,
        public=public_leg(facts.PublicAddress, facts.VlanIpRange, facts.kvm_label, vpc.public_mtu),
        vpn=vpn_of_vpc(session, vpc, legs),
        **ways_of(session, vpc, legs),
        **rules,
    )
    if line is None:
        return VpcRouter({router.host_id: spec}, {router.host_id: facts.agent_id}, vpc)
    return VpcRouter(line.line.specs(spec), {key: agent for key, (agent, _) in line.places.items()}, vpc, line)


@cache
def _facts_query() -> Executable:
    """The VPC with its zone, its router and the agent of that one's host, and its source NAT."""
    return (
        select(Vpc, Zone, Router, Host.agent_id, PublicAddress, VlanIpRange, TrafficType.kvm_label)
        .join(Zone, Zone.id == Vpc.zone_id)
        .join(Router, (Router.vpc_id == Vpc.id) & Router.removed.is_(None) & ~Router.standby)
        .outerjoin(Host, Host.id == Router.host_id)
        .outerjoin(PublicAddress, (PublicAddress.vpc_id == Vpc.id) & PublicAddress.source_nat.is_(True))
        .outerjoin(VlanIpRange, VlanIpRange.id == PublicAddress.range_id)
        .outerjoin(TrafficType, (TrafficType.physical_network_id == VlanIpRange.physical_network_id)
                   & (TrafficType.traffic_type == "Public") & TrafficType.removed.is_(None))
        .where(Vpc.id == bindparam("vpc_id"))
        .execution_options(populate_existing=True)
    )  # fmt: skip


@cache
def _tiers_query() -> Any:
    living = Network.removed.is_(None)
    query = select(Network).where(Network.vpc_id == bindparam("vpc_id"), living).order_by(Network.id)
    return query.execution_options(populate_existing=True)


@cache
def _nics_query() -> Executable:
    return nics_query().join(Network, Network.id == Nic.network_id).where(Network.vpc_id == bindparam("vpc_id"))


def nics_query() -> Select[Any]:
    """NICs, each with a row of its VM, the VM's offering and its host, or None of them."""
    columns = (
        Vm.id, Vm.number, Vm.name, Vm.instance_name, Vm.public_keys, Vm.user_data, Vm.password,
        Vm.user_data_details, ServiceOffering.name.label("offering"), ServiceOffering.network_rate,
        Host.agent_id, Host.underlay_address, Host.state.label("host_state"),
    )  # fmt: skip
    return (
        select(Nic, *columns)
        .outerjoin(Vm, Vm.id == Nic.vm_id)
        .outerjoin(ServiceOffering, ServiceOffering.id == Vm.service_offering_id)
        .outerjoin(Host, Host.id == Nic.host_id)
        .order_by(Nic.id)
        .execution_options(populate_existing=True)
    )


def _legs(
    session: Session, facts: Any, tiers: Sequence[Network], rows: Sequence[Any], further: dict[str, tuple[str, ...]]
) -> tuple[GuestLeg, ...]:
    """Of the tiers in which the router has a NIC on its host. ACL lists cost a statement where it has balancers."""
    nameservers = resolvers_of(facts.Vpc, facts.Zone)
    found = []
    for tier in tiers:
        mine = [(nic, row) for nic, row in rows if nic.network_id == tier.id]
        own = next((nic for nic, _ in mine if nic.router_id == facts.Router.id and nic.host_id), None)
        if own is not None:
            addresses = further.get(own.id, ())
            nic = NicView(own.id, own.mac, own.address, own.host_id, ROUTER, addresses)
            acl = policy_of(session, tier.acl_id) if addresses else None
            found.append(guest_leg(tier, nic, mine, facts.Zone, nameservers=nameservers, acl=acl))
    return tuple(found)


def further_addresses(session: Session, rows: Sequence[Any]) -> dict[str, tuple[str, ...]]:
    """By NIC id."""
    found: dict[str, tuple[str, ...]] = {}
    query = select(NicAddress).where(NicAddress.nic_id.in_([nic.id for nic, _ in rows]), NicAddress.removing.is_(False))
    for one in session.scalars(query.order_by(NicAddress.address)):
        found[one.nic_id] = (*found.get(one.nic_id, ()), one.address)
    return found


def _guests(rows: Sequence[Any], further: dict[str, tuple[str, ...]]) -> set[tuple[str | None, str]]:
    """(VM, address) of the tiers' NICs."""
    return {(nic.vm_id, address) for nic, _ in rows for address in (nic.address, *further.get(nic.id, ()))}


def tiers_of(session: Session, vpc_id: str) -> list[str]:
    """The ids of the VPC's tiers that hosts may know, locked."""
    query = select(Network.id).where(Network.vpc_id == vpc_id, Network.removed.is_(None), Network.state != "Allocated")
    found = sorted(session.scalars(query))
    lock_networks(session, found)
    return found


def lock_networks(session: Session, network_ids: Sequence[str]) -> None:
    """In the one order in which everybody locks networks."""
    query = select(Network.id).where(Network.id.in_(network_ids)).order_by(Network.id).with_for_update()
    session.execute(query).all()
