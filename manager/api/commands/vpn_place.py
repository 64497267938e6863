"""Where a VPN may stand: a public address that other rules do not take its traffic from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, summarize_address_range

from sqlalchemy import select

from manager.api.call import Call
from manager.api.commands.place import hold
from manager.api.errors import ApiError, Invalid
from manager.models import (
    NetworkRule,
    PortForwardingRule,
    PrivateGateway,
    PublicAddress,
    RemoteAccessVpn,
    StaticRoute,
    Vpc,
    VpcOffering,
    VpnConnection,
    VpnCustomerGateway,
)
from manager.workflows.rule_rows import living
from manager.workflows.vpc_ways import network_of

KEY_EXCHANGE_PORTS = (500, 4500)
CONFLICT = 537


def refuse_udp_rules(call: Call, address: PublicAddress) -> None:
    """With the network locked.

    :raises ApiError: a rule leads the UDP ports of the key exchange elsewhere
    """
    led = ("StaticNat", "PortForwarding")
    for rule in living(call.session, NetworkRule.address_id == address.id, NetworkRule.purpose.in_(led)):
        if not isinstance(rule, PortForwardingRule) or takes_key_exchange(rule):
            raise ApiError(CONFLICT, f"The public address {address.address} is in use by rule {rule.id}, which leads "
                                     "the ports of a VPN, UDP 500 and 4500, to a guest.")  # fmt: skip


def takes_key_exchange(rule: NetworkRule) -> bool:
    first, last = rule.first_port or 0, rule.last_port or 0
    return rule.protocol == "udp" and any(first <= port <= last for port in KEY_EXCHANGE_PORTS)


def refuse_vpn(call: Call, address: PublicAddress) -> None:
    """With the network locked.

    :raises ApiError: a VPN ends at the address
    """
    query = select(RemoteAccessVpn.id).where(
        RemoteAccessVpn.address_id == address.id, RemoteAccessVpn.removed.is_(None)
    )
    found = call.session.scalar(query)
    if found is not None:
        raise ApiError(CONFLICT, f"The public address {address.address} is in use by remote access VPN {found}.")


def hold_vpc(call: Call, vpc: Vpc) -> None:
    """The VPC, locked until the call ends, may have private networks.

    :raises Invalid: it goes, or has no service Vpn
    """
    hold(call, vpc)
    if vpc.state != "Enabled":
        raise Invalid(f"The VPC {vpc.name} is being deleted.")
    if "Vpn" not in call.session.get_one(VpcOffering, vpc.offering_id).services:
        raise Invalid(f"The VPC {vpc.name} has no service Vpn; its offering lacks it.")


Named = tuple[IPv4Network, str]
"""A network, and whose it is."""


def known_to(call: Call, vpc: Vpc) -> Iterator[Named]:
    """Networks that the router of the VPC, which is held, leads to."""
    yield IPv4Network(vpc.cidr), f"the range of VPC {vpc.name}"
    gateways = select(PrivateGateway).where(PrivateGateway.vpc_id == vpc.id, PrivateGateway.removed.is_(None))
    for gateway in call.session.scalars(gateways):
        yield network_of(gateway), f"that of private gateway {gateway.id}"
    routes = select(StaticRoute).where(StaticRoute.vpc_id == vpc.id, StaticRoute.removed.is_(None))
    for route in call.session.scalars(routes):
        yield IPv4Network(route.cidr), f"that of static route {route.id}"
    joined = VpnConnection.customer_gateway_id == VpnCustomerGateway.id
    others = select(VpnCustomerGateway).join(VpnConnection, joined)
    for other in call.session.scalars(others.where(VpnConnection.vpc_id == vpc.id, VpnConnection.removed.is_(None))):
        for network in other.networks:
            yield IPv4Network(network), f"that of VPN customer gateway {other.name}"


def refuse_people_in(call: Call, vpc_id: str, networks: Iterable[IPv4Network]) -> None:
    """With the VPC locked.

    :raises Invalid: people who come by the VPC's remote access are given addresses in one of the networks
    """
    query = select(RemoteAccessVpn).where(RemoteAccessVpn.vpc_id == vpc_id, RemoteAccessVpn.removed.is_(None))
    vpn = call.session.scalar(query)
    if vpn is None:
        return
    first, last = IPv4Address(vpn.first_address), IPv4Address(vpn.last_address)
    for network in networks:
        if any(network.overlaps(part) for part in summarize_address_range(first, last)):
            raise Invalid(f"The network {network} overlaps {first}-{last}, the addresses that people are given who "
                          f"come by remote access VPN {vpn.id}.")  # fmt: skip
