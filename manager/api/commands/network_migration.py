"""Networks and VPCs that an administrator moves to other offerings, with all that they have."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import Page, Request, command
from manager.api.commands.network import check_change
from manager.api.commands.network_response import NetworkResponse
from manager.api.commands.vpc import VpcResponse
from manager.api.commands.vpc_offering import demand_services
from manager.api.errors import Invalid
from manager.api.fields import MapList, Ref
from manager.api.response import Response, Shown, Str
from manager.models import Network, NetworkOffering, Vpc, VpcOffering, WorkflowRow
from manager.models.states import VPC_MOVES
from manager.workflows.network_change import change_network
from manager.workflows.vpc import migrate_vpc as migration
from network.overlays import OVERLAYS


class IsolationMethodResponse(Response):
    object_key = "isolationmethod"
    name = Str("the method's name")

    @classmethod
    def render(cls, _call: Call, rows: Any) -> list[Shown]:
        return [{"name": row} for row in rows]


class ListIsolationMethods(Request):
    pass


@command("listNetworkIsolationMethods", ListIsolationMethods, IsolationMethodResponse)
def list_network_isolation_methods(_call: Call) -> Page:
    """List what can carry the tenant networks of a physical network."""
    names = [overlay.name for overlay in OVERLAYS.values()]
    return Page(names, len(names))


class MigrateNetwork(Request):
    networkid = Ref(Network, "the network", required=True, right="manage")
    networkofferingid = Ref(NetworkOffering, "its offering from now on", required=True)


@command("migrateNetwork", MigrateNetwork, NetworkResponse, is_async=True, event="NETWORK.MIGRATE")
def migrate_network(call: Call, networkid: Network, networkofferingid: NetworkOffering) -> WorkflowRow:
    """Move a network to another offering, with its virtual machines, addresses and rules. One that could not be moved
    is as it was, so there is nothing to resume.
    """
    call.subject = networkid
    if networkid.offering_id == networkofferingid.id:
        raise Invalid(f"The network {networkid.name} has the offering {networkofferingid.name} already.")
    if networkid.vpc_id is not None:
        raise Invalid(f"The network {networkid.name} is a tier; migrateVPC moves it with its VPC.")
    check_change(call, networkid, networkofferingid)
    values = {"offering_id": networkofferingid.id}
    return change_network.start(call.session, networkid, call=call, values=values, source_nat=None)


class MigrateVpc(Request):
    vpcid = Ref(Vpc, "the VPC", required=True, right="manage")
    vpcofferingid = Ref(VpcOffering, "its offering from now on", required=True)
    tiernetworkofferings = MapList("offerings of tiers from now on: networkid and networkofferingid of each; others "
                                   "keep theirs")  # fmt: skip


@command("migrateVPC", MigrateVpc, VpcResponse, is_async=True, event="VPC.MIGRATE")
def migrate_vpc(
    call: Call, vpcid: Vpc, vpcofferingid: VpcOffering, tiernetworkofferings: list[dict[str, str]] | None
) -> WorkflowRow:
    """Move a VPC and tiers of it to other offerings, with all that they have. One that could not be moved is as it
    was, so there is nothing to resume.
    """
    call.subject = vpcid
    VPC_MOVES.demand(vpcid, "delete")
    if vpcofferingid.state != "Enabled":
        raise Invalid(f"The VPC offering {vpcofferingid.name} is {vpcofferingid.state}; VPCs need an enabled one.")
    if vpcofferingid.redundant_router != vpcid.redundant:
        raise Invalid(f"The VPC {vpcid.name} has {_routers(vpcid.redundant)}, and those of the offering "
                      f"{vpcofferingid.name} have {_routers(vpcofferingid.redundant_router)}; restartVPC with "
                      "makeredundant gives a VPC a second one.")  # fmt: skip
    tiers = call.session.scalars(select(Network).where(Network.vpc_id == vpcid.id, Network.removed.is_(None))).all()
    wanted = _offerings(call, vpcid, {tier.id: tier for tier in tiers}, tiernetworkofferings or [])
    for tier in tiers:
        offering = wanted.get(tier.id) or call.session.get_one(NetworkOffering, tier.offering_id)
        demand_services(vpcid, vpcofferingid, offering.services)
    moved = {tier_id: offering.id for tier_id, offering in wanted.items()}
    return migration.start(call.session, vpcid, call=call, offering=vpcofferingid.id, tiers=moved)


def _routers(redundant: bool) -> str:
    return "two routers" if redundant else "one router"


def _offerings(
    call: Call, vpc: Vpc, tiers: dict[str, Network], entries: list[dict[str, str]]
) -> dict[str, NetworkOffering]:
    """By tier id.

    :raises Invalid: an entry names no tier, or no offering that it can have
    """
    found: dict[str, NetworkOffering] = {}
    for entry in entries:
        tier = tiers.get(entry.get("networkid", ""))
        if tier is None:
            raise Invalid(f"The network {entry.get('networkid')} of tiernetworkofferings is no tier of VPC {vpc.name}.")
        wanted = NetworkOffering.id == entry.get("networkofferingid"), NetworkOffering.removed.is_(None)
        offering = call.session.scalar(select(NetworkOffering).where(*wanted))
        if offering is None:
            raise Invalid(f"There is no network offering {entry.get('networkofferingid')} for the tier {tier.name}.")
        check_change(call, tier, offering)
        found[tier.id] = offering
    return found
