"""Ranges of guests' addresses in flat zones: part of what createVlanIpRange and its kin do."""

from __future__ import annotations

from ipaddress import IPv4Address

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import Given
from manager.api.commands.ipv4 import Span
from manager.api.commands.network_kinds import UNTAGGED, check_prefix
from manager.api.commands.place import demand_within, hold
from manager.api.errors import Invalid, missing
from manager.models import Network, Nic, Pod, VlanIpRange, Zone
from manager.placement.guest_range import bound


def network_for(call: Call, given: Given) -> Network:
    """The network that the range is for: the one of the Basic zone of podid.

    :raises Invalid: there is none, or the parameters do not fit together
    """
    pod: Pod | None = given.podid
    if pod is None:
        raise missing(call.command, "podid")
    zone = call.session.get_one(Zone, pod.zone_id)
    if not zone.is_flat:
        raise Invalid(f"The zone {zone.name} is {zone.network_type}: guests' addresses come with createNetwork there, "
                      "and forvirtualnetwork must be true.")  # fmt: skip
    if given.zoneid is not None:
        demand_within("pod", pod, "zone", given.zoneid)
    if given.domainid is not None or given.account or given.projectid is not None:
        raise Invalid("Ranges of guests' addresses are for all who use the network; they cannot be dedicated.")
    query = select(Network).where(Network.zone_id == zone.id, Network.removed.is_(None))
    network: Network | None = given.networkid or call.session.scalar(query)
    if network is None or network.zone_id != zone.id:
        raise Invalid(f"The zone {zone.name} has no such network; createNetwork makes it.")
    if given.physicalnetworkid is not None and given.physicalnetworkid.id != network.physical_network_id:
        raise Invalid(f"The network {network.name} is not on the physical network {given.physicalnetworkid.name}.")
    hold(call, network)
    return network


def add_guest_range(call: Call, given: Given, network: Network, addresses: Span) -> VlanIpRange:
    """Let guests of the zone have the addresses, which no other range has.

    :raises Invalid: the range is of another segment than the network's others
    """
    check_prefix(addresses.subnet)
    vlan = str(network.key or UNTAGGED)
    if given.vlan and given.vlan.removeprefix("vlan://").lower() != vlan:
        raise Invalid(f"The vlan {given.vlan} is not that of network {network.name}, which is {vlan}.")
    place = {"gateway": str(addresses.gateway), "netmask": str(addresses.subnet.netmask)}
    if network.cidr and place != {"gateway": network.gateway, "netmask": network.netmask}:
        raise Invalid(f"The network {network.name} is one segment with the gateway {network.gateway} and the netmask "
                      f"{network.netmask}; all its ranges have these.")  # fmt: skip
    network.cidr, network.gateway, network.netmask = str(addresses.subnet), place["gateway"], place["netmask"]
    made: VlanIpRange = call.add(
        VlanIpRange(
            zone_id=network.zone_id,
            physical_network_id=network.physical_network_id,
            vlan=vlan,
            start_ip=str(addresses.first),
            end_ip=str(addresses.last),
            network_id=network.id,
            pod_id=given.podid.id,
            **place,
        )
    )
    bound(call.session, network)
    return made


def change_guest_range(call: Call, span: VlanIpRange, wanted: Span | None) -> None:
    """Give the range other ends, or take it away.

    :raises Invalid: a NIC has an address that would be in it no more
    """
    network = call.session.get_one(Network, span.network_id)
    hold(call, network)
    held = call.session.scalars(select(Nic.address).where(Nic.network_id == network.id, Nic.address.is_not(None)))
    left = [
        address
        for address in map(IPv4Address, filter(None, held))
        if IPv4Address(span.start_ip) <= address <= IPv4Address(span.end_ip)
        and (wanted is None or not wanted.first <= address <= wanted.last)
    ]
    if left:
        raise Invalid(f"{len(left)} addresses of the range {span.start_ip}-{span.end_ip} are in use, such as "
                      f"{min(left)}.")  # fmt: skip
    if wanted is None:
        span.remove()
    else:
        span.start_ip, span.end_ip = str(wanted.first), str(wanted.last)
    call.session.flush()
    bound(call.session, network)
