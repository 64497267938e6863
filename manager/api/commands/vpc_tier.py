"""What a tier of a VPC is asked to be, and what networks that are none may not be; each refused with the reason."""

from __future__ import annotations

from ipaddress import IPv4Network

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import Given
from manager.api.commands import ipv4
from manager.api.commands.place import hold
from manager.api.commands.vpc_offering import demand_services
from manager.api.errors import Invalid
from manager.models import Account, Network, NetworkAclList, NetworkOffering, Vpc, VpcOffering
from manager.models.acl import DEFAULT_DENY
from network import catalog

LONGEST_PREFIX = 29
OF_VPC = ("networkdomain", "dns1", "dns2", "publicmtu", "sourcenatipaddress")
"""What all tiers of a VPC have alike, and none by itself."""


def is_for_vpc(offering: NetworkOffering) -> bool:
    return catalog.VPC_VIRTUAL_ROUTER in offering.services.values()


def demand_fit(call: Call, given: Given) -> None:
    """Hold the VPC, if there is one, so that it stays and no other tier comes meanwhile.

    :raises Invalid: the offering is not for such networks, or the VPC does not take the tier
    """
    vpc, offering, zone = given.vpcid, given.networkofferingid, given.zoneid
    if is_for_vpc(offering) != (vpc is not None):
        told = "of VPCs; createNetwork needs a vpcid" if vpc is None else "not of VPCs; choose one with forvpc"
        raise Invalid(f"The network offering {offering.name} is for networks {told}.")
    if vpc is None:
        return
    hold(call, vpc)
    if vpc.state != "Enabled":
        raise Invalid(f"The VPC {vpc.name} is {vpc.state}; it takes no more tiers.")
    if vpc.zone_id != zone.id:
        raise Invalid(f"The VPC {vpc.name} is not in zone {zone.name}.")
    refuse_shared(vpc, given)
    demand_services(vpc, call.session.get_one(VpcOffering, vpc.offering_id), offering.services)


def refuse_shared(vpc: Vpc, given: Given) -> None:
    """:raises Invalid: something is given that the VPC says for all its tiers"""
    alone = [name for name in OF_VPC if getattr(given, name)]
    if alone:
        raise Invalid(f"A tier has no {alone[0]} of its own; it has that of its VPC {vpc.name}.")


def owner_of(call: Call, vpc: Vpc | None) -> Account:
    """Whose the network is: a tier's the owner of its VPC.

    :raises Invalid: it is to be made for another account
    """
    if vpc is None:
        return call.owner
    if call.owner.id not in (vpc.account_id, call.account.id):
        raise Invalid(f"The VPC {vpc.name} belongs to another account; its tiers belong to that.")
    return call.session.get_one(Account, vpc.account_id)


def acl_of(call: Call, vpc: Vpc | None, wanted: NetworkAclList | None) -> str | None:
    """The id of the ACL list that holds the network; None outside VPCs.

    :raises Invalid: the list is another VPC's, or there is no VPC
    """
    if vpc is None:
        if wanted is not None:
            raise Invalid("An aclid is for tiers of VPCs, and no vpcid is given.")
        return None
    if wanted is not None and wanted.vpc_id not in (None, vpc.id):
        raise Invalid(f"The ACL list {wanted.name} is not one of VPC {vpc.name}.")
    if wanted is None:
        return DEFAULT_DENY
    hold(call, wanted)
    return wanted.id


def tier_range(call: Call, vpc: Vpc, gateway: str | None, netmask: str | None) -> tuple[str, IPv4Network]:
    """The gateway and the subnet that it is in; the VPC is held.

    :raises Invalid: they are no addresses, the range is not one of the VPC's, or another tier's
    """
    if not gateway or not netmask:
        raise Invalid(f"A tier needs a gateway and a netmask, which say what part of {vpc.cidr} it has.")
    router = ipv4.address("gateway", gateway)
    subnet = ipv4.subnet(router, netmask)
    if not subnet.subnet_of(IPv4Network(vpc.cidr)):
        raise Invalid(f"The range {subnet} is not a part of {vpc.cidr}, the range of VPC {vpc.name}.")
    if subnet.prefixlen > LONGEST_PREFIX:
        raise Invalid(f"The range {subnet} is too small for a tier; the longest prefix is /{LONGEST_PREFIX}.")
    query = select(Network.name, Network.cidr).where(Network.vpc_id == vpc.id, Network.removed.is_(None))
    for name, cidr in call.session.execute(query.order_by(Network.created, Network.id)):
        if subnet.overlaps(IPv4Network(cidr)):
            raise Invalid(f"The range {subnet} overlaps {cidr}, which the tier {name} of VPC {vpc.name} has.")
    return str(router), subnet
