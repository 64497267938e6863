"""Network ACL lists: what the guests of a VPC's tiers may open, and what may be opened to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, and_, or_, select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, AccountListRequest, Page, Request, command
from manager.api.commands.place import hold, named, narrowed, with_keyword
from manager.api.errors import Denied, Invalid, missing
from manager.api.fields import Flag, Ref, Text
from manager.api.response import Bool, Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id
from manager.models import Network, NetworkAclList, PrivateGateway, Vpc, WorkflowRow
from manager.models.acl import DEFAULT_ALLOW, DEFAULT_DENY
from manager.workflows.acl import replace_list
from manager.workflows.acl_rows import forget_lists, tiers_of
from manager.workflows.private_gateway import replace_list as replace_list_of_gateway
from manager.workflows.vpc_ways import gateways_with

LONGEST_DESCRIPTION = 255


class NetworkAclListResponse(Response):
    object_key = "networkacllist"
    shows: ClassVar[type[Any] | None] = NetworkAclList
    has_jobs = True
    id = Str("the list's id")
    name = Str("its name")
    description = Str("what it is for")
    vpcid = Str("the id of the VPC whose tiers may have it; absent when those of all may")
    vpcname = Str("the VPC's name")
    fordisplay = Bool("whether users see it", root_only=True)

    @classmethod
    def render(cls, call: Call, rows: Sequence[NetworkAclList]) -> list[Shown]:
        vpcs = by_id(call, Vpc, (row.vpc_id for row in rows))
        return [
            {
                "id": row.id,
                "name": row.name,
                "description": row.description,
                "vpcid": row.vpc_id,
                "vpcname": vpcs[row.vpc_id].name if row.vpc_id else None,
                "fordisplay": row.display,
            }
            for row in rows
        ]


def shown_to(call: Call, model: type[Any]) -> ColumnElement[bool]:
    """The lists, or items of lists, that a list of them shows: those in its scope, and those that are everybody's."""
    return or_(access.visible(call, model), and_(model.account_id.is_(None), model.removed.is_(None)))


def demand_changeable(acl: NetworkAclList) -> None:
    """:raises Invalid: it is one of the lists that every cloud has"""
    if acl.id in (DEFAULT_ALLOW, DEFAULT_DENY):
        raise Invalid(f"The network ACL {acl.name} is a default one, which cannot be changed; make a list of your own.")


class CreateNetworkAclList(Request):
    name = Text("its name", required=True)
    description = Text("what it is for", max_length=LONGEST_DESCRIPTION)
    vpcid = Ref(Vpc, "the VPC whose tiers may have it; without one, which administrators may, those of all VPCs")
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


@command("createNetworkACLList", CreateNetworkAclList, NetworkAclListResponse, is_async=True, creates=True,
         roles=EVERYONE, event="NETWORK.ACL.CREATE", rehearses=True)  # fmt: skip
def create_network_acl_list(
    call: Call, name: str, description: str | None, vpcid: Vpc | None, fordisplay: bool
) -> WorkflowRow:  # fmt: skip
    """Make a network ACL list; until it has items, it denies all."""
    if vpcid is None and not call.is_root_admin:
        raise missing(call.command, "vpcid")
    acl = NetworkAclList(
        name=named("network ACL", name),
        description=description or "",
        vpc_id=vpcid.id if vpcid else None,
        account_id=vpcid.account_id if vpcid else None,
        display=fordisplay,
    )
    call.subject = call.add(acl)
    return call.job_done(acl)


class OneNetworkAclList(Request):
    id = Ref(NetworkAclList, "the list", required=True)


class UpdateNetworkAclList(OneNetworkAclList):
    name = Text("its new name")
    description = Text("what it is for", max_length=LONGEST_DESCRIPTION)
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateNetworkACLList", UpdateNetworkAclList, NetworkAclListResponse, is_async=True, roles=EVERYONE,
         event="NETWORK.ACL.UPDATE")  # fmt: skip
def update_network_acl_list(
    call: Call, id: NetworkAclList, name: str | None, description: str | None, fordisplay: bool | None
) -> WorkflowRow:
    """Change what a network ACL list is called and what it is for."""
    demand_changeable(id)
    id.name = id.name if name is None else named("network ACL", name)
    id.description = id.description if description is None else description
    id.display = id.display if fordisplay is None else fordisplay
    call.flush()
    return call.job_done(id)


@command("deleteNetworkACLList", OneNetworkAclList, SuccessResponse, is_async=True, roles=EVERYONE,
         event="NETWORK.ACL.DELETE")  # fmt: skip
def delete_network_acl_list(call: Call, id: NetworkAclList) -> WorkflowRow:
    """Remove a network ACL list that no tier has, with its items."""
    demand_changeable(id)
    hold(call, id)
    tiers = tiers_of(call.session, id.id)
    if tiers:
        names = ", ".join(tier.name for tier in tiers)
        raise Invalid(f"The network ACL {id.name} cannot be removed: the tiers {names} have it.")
    gateways = gateways_with(call.session, id.id)
    if gateways:
        addresses = ", ".join(gateway.address for gateway in gateways)
        raise Invalid(f"The network ACL {id.name} cannot be removed: the private gateways at {addresses} have it.")
    forget_lists(call.session, NetworkAclList.id == id.id)
    return call.job_done(id)


class ListNetworkAclLists(AccountListRequest):
    id = Ref(NetworkAclList, "only this list")
    networkid = Ref(Network, "only the list of this tier")
    vpcid = Ref(Vpc, "only lists of this VPC")
    name = Text("only lists of this name")
    fordisplay = Flag("only those that users see, or only others", roles=ROOT)


@command("listNetworkACLLists", ListNetworkAclLists, NetworkAclListResponse, roles=EVERYONE)
def list_network_acl_lists(call: Call, **filters: Any) -> Page:
    """List network ACL lists; those that every cloud has are among them."""
    query = select(NetworkAclList).where(shown_to(call, NetworkAclList))
    columns = {"id": NetworkAclList.id, "name": NetworkAclList.name}
    query = with_keyword(narrowed(query, filters, columns), filters["keyword"], NetworkAclList.name)
    if filters["vpcid"] is not None:
        query = query.where(or_(NetworkAclList.vpc_id == filters["vpcid"].id, NetworkAclList.vpc_id.is_(None)))
    if filters["networkid"] is not None:
        query = query.where(NetworkAclList.id == filters["networkid"].acl_id)
    query = displayed(call, query, NetworkAclList, only=filters["fordisplay"])
    return call.paged(query.order_by(NetworkAclList.created, NetworkAclList.id))


def displayed(call: Call, query: Any, model: type[Any], *, only: bool | None) -> Any:
    """Root administrators see all, or `only` those that users see or do not; others what users see."""
    if only is None and call.is_root_admin:
        return query
    return query.where(model.display.is_(only is not False))


class ReplaceNetworkAclList(Request):
    aclid = Ref(NetworkAclList, "the list that it shall have", required=True)
    networkid = Ref(Network, "the tier", right=access.MANAGE)
    gatewayid = Ref(PrivateGateway, "or the private gateway", right=access.MANAGE)


@command("replaceNetworkACLList", ReplaceNetworkAclList, SuccessResponse, is_async=True, roles=EVERYONE,
         event="NETWORK.ACL.REPLACE", rehearses=True)  # fmt: skip
def replace_network_acl_list(
    call: Call, aclid: NetworkAclList, networkid: Network | None, gatewayid: PrivateGateway | None
) -> WorkflowRow:
    """Hold the guests of a tier, or what passes a private gateway, to another list; connections that it does not allow
    end.
    """
    if networkid is not None and gatewayid is not None:
        raise Invalid("The network ACL of one thing is replaced: of a networkid, or of a gatewayid.")
    if gatewayid is not None:
        call.subject = gatewayid
        list_id = demand_list(call, aclid, gatewayid.vpc_id)
        return replace_list_of_gateway.start(call.session, gatewayid, call=call, list_id=list_id)
    if networkid is None:
        raise missing(call.command, "networkid")
    call.subject = networkid
    demand_fit(aclid, networkid)
    return replace_list.start(call.session, networkid, call=call, list_id=aclid.id)


def demand_fit(acl: NetworkAclList, network: Network) -> None:
    """:raises ApiError: the network is no tier, or the list is that of another VPC"""
    if network.vpc_id is None:
        raise Invalid(f"The network {network.name} is no tier of a VPC; only those have network ACLs.")
    if acl.vpc_id not in (None, network.vpc_id):
        raise Denied(f"The network ACL {acl.name} is another VPC's; the tier {network.name} cannot have it.")


def demand_list(call: Call, acl: NetworkAclList, vpc_id: str) -> str:
    """The id of a list that a private gateway of the VPC shall have, which stays until the call ends.

    :raises ApiError: it is that of another VPC
    """
    hold(call, acl)
    if acl.vpc_id not in (None, vpc_id):
        raise Denied(f"The network ACL {acl.name} is another VPC's; private gateways of VPC {vpc_id} cannot have it.")
    return acl.id
