"""What a network is asked to be: its guests' range, name servers, MTUs, source NAT; each refused with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from sqlalchemy import select

from manager import configuration
from manager.api.call import Call
from manager.api.command import Given
from manager.api.commands import ipv4
from manager.api.commands.balancer_limits import is_apart
from manager.api.errors import PARAMETER, ApiError, Denied, Invalid
from manager.models import Network, NetworkOffering, NetworkRule, Nic, PublicAddress, Zone
from manager.models.network import ISOLATED
from manager.placement.address import NoAddress, hosts_of, lock_addresses, take_public_address
from network.overlays import OVERLAYS

LEAST_MTU = 576
"""What every host must take (RFC 791): a shorter link carries no answer of DHCP."""
LONGEST_PREFIX = 30
MTUS = {
    "privatemtu": ("mtu", "vr.private.interface.max.mtu"),
    "publicmtu": ("public_mtu", "vr.public.interface.max.mtu"),
}
"""By parameter: the column that holds it, and the setting that bounds it."""
SETTING_OF = dict(MTUS.values())
MTU_OF_USERS = "allow.end.users.to.specify.vr.mtu"
RESOLVERS = ("dns1", "dns2")


def guests_range(gateway: str, subnet: IPv4Network, first: str | None, last: str | None) -> dict[str, str]:
    """The columns of a range from startip to endip; the one address of startip without endip.

    :raises Invalid: an end of it is no host of the subnet, or the gateway lies within
    """
    if not first:
        if last:
            raise Invalid("The endip of a network comes with its startip.")
        return {}
    span = ipv4.span(gateway, str(subnet.netmask), first, last or first)
    return {"first_address": str(span.first), "last_address": str(span.last)}


def resolvers(given: Given, offering: NetworkOffering, known: Network | None = None) -> dict[str, str | None]:
    """The columns of name servers that are given; an empty one takes what `known` has away.

    :raises Invalid: no addresses, a second one without a first, or the offering has no Dns
    """
    found = {
        name: ipv4.optional_address(name, text) for name in RESOLVERS if (text := getattr(given, name)) is not None
    }
    wanted = {name: found.get(name, getattr(known, name, None)) for name in RESOLVERS}
    if any(found.values()) and "Dns" not in offering.services:
        raise Invalid(f"The network offering {offering.name} has no service Dns, which name servers are for.")
    if wanted["dns2"] and not wanted["dns1"]:
        raise Invalid("A network with a dns2 needs a dns1.")
    return found


def mtus(call: Call, given: Given, zone: Zone, overlay: str = "gre", only: Iterable[str] = MTUS) -> dict[str, int]:
    """The columns of the MTUs that are given, of the parameters `only`.

    :raises Denied: the zone leaves them to root administrators
    :raises Invalid: larger than the zone admits, or too small for DHCP
    """
    found = {}
    for name in only:
        column, setting = MTUS[name]
        wanted = getattr(given, name)
        if wanted is None:
            continue
        if not call.is_root_admin and not configuration.value(call.session, MTU_OF_USERS, zone):
            raise Denied(f"The {name} of networks of zone {zone.name} is for root administrators; the setting "
                         f"{MTU_OF_USERS} could change that.")  # fmt: skip
        most = _largest(call, column, zone, overlay)
        if not LEAST_MTU <= wanted <= most:
            raise Invalid(f"The {name} {wanted} does not lie within {LEAST_MTU} and {most}: the most is the setting "
                          f"{setting} of zone {zone.name} for {OVERLAYS[overlay].name}.")  # fmt: skip
        found[column] = wanted
    return found


def usual_mtus(call: Call, zone: Zone, overlay: str = "gre") -> dict[str, int]:
    """The columns of the MTUs of networks that ask for none: the largest that the zone admits."""
    return {column: _largest(call, column, zone, overlay) for column in SETTING_OF}


def _largest(call: Call, column: str, zone: Zone, overlay: str) -> int:
    """The settings speak of GRE; what another overlay costs more, its guests have less."""
    most: int = configuration.value(call.session, SETTING_OF[column], zone)
    return most if column != "mtu" else most - OVERLAYS[overlay].overhead + OVERLAYS["gre"].overhead


def take_source_nat(call: Call, network: Network, offering: NetworkOffering, text: str | None) -> None:
    """Give a new network its public address before it has a router.

    :raises ApiError: it is none, not free, or the network has no source NAT
    """
    wanted = ipv4.optional_address("sourcenatipaddress", text)
    if wanted is None:
        return
    if "SourceNat" not in offering.services:
        raise Invalid(
            f"The network offering {offering.name} has no service SourceNat, which sourcenatipaddress is for."
        )
    try:
        take_public_address(call.session, network, source_nat=True, wanted=wanted)
    except NoAddress as error:
        raise ApiError(PARAMETER, str(error)) from error


def next_source_nat(call: Call, network: Network, text: str | None) -> str | None:
    """The id of the public address that shall be the source NAT from now on; None where it is, or none is given.

    :raises Invalid: the network does not have it, or it stands for a virtual machine
    """
    wanted = ipv4.optional_address("sourcenatipaddress", text)
    if wanted is None:
        return None
    held = call.session.scalar(
        select(PublicAddress).filter_by(network_id=network.id, address=wanted, releasing=False, zone_id=network.zone_id)
    )
    if held is None:
        raise Invalid(f"The public address {wanted} is not one of network {network.name}; associate it first.")
    if held.source_nat:
        return None
    apart = is_apart(call.session.get_one(NetworkOffering, network.offering_id))
    balanced = select(NetworkRule.id).filter_by(address_id=held.id, purpose="LoadBalancing", removed=None)
    if apart and call.session.scalar(balanced) is not None:
        raise Invalid(f"The public address {wanted} is balanced by a device; it cannot be the source NAT.")
    nat = select(NetworkRule.id).filter_by(address_id=held.id, purpose="StaticNat", removed=None)
    if call.session.scalar(nat) is not None:
        raise Invalid(f"The public address {wanted} stands for a virtual machine by static NAT; disable that first.")
    return held.id


def reserve(call: Call, network: Network, text: str | None) -> None:
    """Have virtual machines be given addresses of this part of the network's range alone; all of it ends that.

    :raises Invalid: it is no part of the range, or a virtual machine has an address outside it
    """
    if not text:
        return
    if network.guest_type != ISOLATED:
        raise Invalid(f"The network {network.name} is {network.guest_type}; guestvmcidr is for Isolated networks.")
    part, whole = IPv4Network(ipv4.cidr("guestvmcidr", text)), IPv4Network(network.cidr)
    if not part.subnet_of(whole) or part.prefixlen > LONGEST_PREFIX:
        raise Invalid(f"The guestvmcidr {part} is not a part of {whole}, the range of network {network.name}, with a "
                      f"prefix of at most /{LONGEST_PREFIX}.")  # fmt: skip
    further, _ = lock_addresses(call.session, network)
    span = hosts_of(str(part))
    held = select(Nic.address).where(Nic.network_id == network.id, Nic.vm_id.is_not(None))
    used = further | set(map(IPv4Address, call.session.scalars(held)))
    outside = sorted(address for address in used if not span.first <= address <= span.last)
    if outside:
        raise Invalid(f"The address {outside[0]} of a virtual machine in network {network.name} lies outside the "
                      f"guestvmcidr {part}, whose hosts are {span.first} to {span.last}.")  # fmt: skip
    is_part = part != whole
    network.guest_cidr = str(part) if is_part else None
    network.first_address = str(span.first) if is_part else None
    network.last_address = str(span.last) if is_part else None
