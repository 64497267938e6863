"""Items of network ACL lists: of those that fit, the one with the lowest number holds; what none fits is denied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sqlalchemy import select

from manager import access
from manager.acl_hits import hits_of
from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, Given, Page, Request, command
from manager.api.commands.network_acl_list import demand_changeable, demand_fit, displayed, shown_to
from manager.api.commands.place import narrowed, with_keyword
from manager.api.commands.rule import ANY, RuleListRequest, TrafficRequest, shown_networks, shown_state, traffic_of
from manager.api.commands.tag import TagResponse
from manager.api.errors import Denied, Invalid, missing
from manager.api.fields import Choice, Flag, Integer, Ref, Text
from manager.api.response import Bool, Int, Long, Many, Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id, tags_of
from manager.models import Network, NetworkAclItem, NetworkAclList, Tag, WorkflowRow
from manager.models.states import RULE_MOVES
from manager.workflows.acl import add_item, change_items, numbers_of, remove_item, start_for
from manager.workflows.acl_rows import live_of, next_change

DIRECTIONS, ACTIONS = ("Ingress", "Egress"), ("Allow", "Deny")
MOST_ITEMS, LARGEST_NUMBER, LONGEST_REASON, LONGEST_NAME = 10_000, 10**9, 255, 255


class NetworkAclResponse(Response):
    object_key = "networkacl"
    shows: ClassVar[type[Any] | None] = NetworkAclItem
    has_jobs = True
    id = Str("the item's id")
    aclid = Str("the id of its list")
    aclname = Str("the list's name")
    number = Int("its place: of the items that fit, the one with the lowest number holds")
    action = Str("Allow or Deny")
    traffictype = Str("Ingress, to guests, or Egress, from them")
    protocol = Str("tcp, udp, icmp, all, or a protocol number")
    startport = Str("the first port; absent for all")
    endport = Str("the last port")
    icmptype = Int("the type of icmp; -1 for all")
    icmpcode = Int("the code of icmp; -1 for all")
    cidrlist = Str("the networks that it comes from or goes to, with commas")
    reason = Str("why it is there")
    hits = Long("how many packets it has decided, as the hosts of its tiers counted it last; answers need no item")
    state = Str("Add until the hosts of its tiers have it, then Active; Deleting while it is taken away")
    fordisplay = Bool("whether users see it", root_only=True)
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[NetworkAclItem]) -> list[Shown]:
        hits = hits_of(call.session, [row.id for row in rows])
        lists, tags = by_id(call, NetworkAclList, (row.list_id for row in rows)), tags_of(call, rows)
        return [
            {**_describe(row), "aclname": lists[row.list_id].name, "hits": hits.get(row.id, 0), "tags": tags[row.id]}
            for row in rows
        ]


def _describe(row: NetworkAclItem) -> Shown:
    is_icmp = row.protocol == "icmp"
    return {
        "id": row.id,
        "aclid": row.list_id,
        "number": row.number,
        "action": "Allow" if row.allow else "Deny",
        "traffictype": row.direction.capitalize(),
        "protocol": row.protocol,
        "startport": None if row.first_port is None else str(row.first_port),
        "endport": None if row.last_port is None else str(row.last_port),
        "icmptype": (ANY if row.icmp_type is None else row.icmp_type) if is_icmp else None,
        "icmpcode": (ANY if row.icmp_code is None else row.icmp_code) if is_icmp else None,
        "cidrlist": shown_networks(row.networks),
        "reason": row.reason,
        "state": shown_state(row),
        "fordisplay": row.display,
    }


class CreateNetworkAcl(TrafficRequest):
    aclid = Ref(NetworkAclList, "the list")
    networkid = Ref(
        Network, "the tier whose list it is for, in place of aclid; a tier without one gets a new list",
        right=access.MANAGE,
    )  # fmt: skip
    traffictype = Choice("whether it is for traffic to guests or from them", DIRECTIONS, default="Ingress")
    number = Integer("its place in the list, from 1; the last when absent", least=1, most=LARGEST_NUMBER)
    action = Choice("what becomes of the traffic", ACTIONS, default="Allow")
    reason = Text("why it is there", max_length=LONGEST_REASON)


@command("createNetworkACL", CreateNetworkAcl, NetworkAclResponse, is_async=True, creates=True, roles=EVERYONE,
         event="NETWORK.ACL.ITEM.CREATE", rehearses=True)  # fmt: skip
def create_network_acl(call: Call, given: Given) -> WorkflowRow:
    """Put an item into a network ACL list."""
    acl = _list_of(call, given)
    demand_changeable(acl)
    columns = columns_of(given)
    revision = next_change(call.session, acl.id)
    numbers = numbers_of(call.session, acl.id).values()
    if len(numbers) >= MOST_ITEMS:
        raise Invalid(f"The network ACL {acl.name} has {len(numbers)} items, and at most {MOST_ITEMS} are possible.")
    number = given.number or max(numbers, default=0) + 1
    if number > LARGEST_NUMBER:
        raise Invalid(f"After the number {number - 1} none is left in the network ACL {acl.name}; give one.")
    item = NetworkAclItem(
        list_id=acl.id, account_id=acl.account_id, number=number, live=live_of(acl.id, number), **columns
    )  # fmt: skip
    call.add(item, taken=_taken(acl, number))
    return start_for(call.session, add_item, item, revision, call=call)


def _list_of(call: Call, given: Given) -> NetworkAclList:
    """:raises ApiError: neither is given, both are, the network is no tier, or the caller may not change the list"""
    found: NetworkAclList | None = given.aclid
    network: Network | None = given.networkid
    if network is not None:
        if found is not None:
            raise Invalid("The parameters aclid and networkid exclude each other.")
        found = _own_list(call, network)
    if found is None:
        raise missing(call.command, "aclid")
    demand_changeable(found)
    mine = access.reach(call, NetworkAclList, access.MANAGE)
    if call.session.scalar(select(NetworkAclList.id).where(NetworkAclList.id == found.id, mine)) is None:
        raise Denied(f"The network ACL {found.name} is for all VPCs; only an administrator can change it.")
    return found


def _own_list(call: Call, network: Network) -> NetworkAclList:
    """The tier's list; one that has none gets one, as empty, which denies what a tier without a list is denied."""
    call.session.refresh(network, with_for_update=True)
    if network.acl_id is None:
        acl = NetworkAclList(name=f"ACL of {network.name}"[:LONGEST_NAME], description="", vpc_id=network.vpc_id,
                             account_id=network.account_id)  # fmt: skip
        demand_fit(acl, network)
        call.add(acl)
        network.acl_id = acl.id
    return call.session.get_one(NetworkAclList, network.acl_id)


def _taken(acl: NetworkAclList, number: int) -> str:
    return f"The network ACL {acl.name} has an item with the number {number} already."


def columns_of(given: Given) -> dict[str, Any]:
    """Columns of an item from the parameters of a creating call.

    :raises Invalid: they do not fit together
    """
    columns = traffic_of(given)
    columns["networks"] = columns.pop("sources")
    return {
        **columns,
        "direction": given.traffictype.lower(),
        "allow": given.action == "Allow",
        "reason": given.reason,
    }


class OneNetworkAcl(Request):
    id = Ref(NetworkAclItem, "the item", required=True)


class UpdateNetworkAcl(OneNetworkAcl, TrafficRequest):
    protocol = Text("tcp, udp, icmp, all, or a protocol number")
    traffictype = Choice("whether it is for traffic to guests or from them", DIRECTIONS)
    number = Integer("its place in the list", least=1, most=LARGEST_NUMBER)
    action = Choice("what becomes of the traffic", ACTIONS)
    reason = Text("why it is there", max_length=LONGEST_REASON)
    partialupgrade = Flag("keep what is not given; else it becomes what a new item has", default=True)
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateNetworkACLItem", UpdateNetworkAcl, NetworkAclResponse, is_async=True, roles=EVERYONE,
         event="NETWORK.ACL.ITEM.UPDATE", rehearses=True)  # fmt: skip
def update_network_acl_item(call: Call, given: Given) -> WorkflowRow:
    """Change an item of a network ACL list."""
    item: NetworkAclItem = given.id
    acl = list_to_change(call, item)
    RULE_MOVES.demand(item, "revoke")
    revision = next_change(call.session, acl.id)
    numbers = numbers_of(call.session, acl.id)
    call.session.refresh(item)
    columns = columns_of(_merged(item, given))
    before = {name: getattr(item, name) for name in columns}
    for name, value in columns.items():
        setattr(item, name, value)
    if given.number is not None:
        item.number, item.live = given.number, live_of(acl.id, given.number)
    call.flush(taken=_taken(acl, given.number or item.number))
    mine = {item.id: numbers[item.id]}
    return start_for(call.session, change_items, item, revision, call=call, before=before, numbers=mine)


def _merged(item: NetworkAclItem, given: Given) -> Given:
    """What the item shall be, as a creating call would give it."""
    old = {} if not given.partialupgrade else _as_given(item)
    if given.protocol is not None and given.protocol.lower() != item.protocol:
        old |= dict.fromkeys(("startport", "endport", "icmptype", "icmpcode"))
    if given.startport is not None:
        old["endport"] = None
    if given.icmptype is not None:
        old["icmpcode"] = None
    new = {name: value for name, value in given.values.items() if value is not None}
    absent = dict.fromkeys(CreateNetworkAcl().fields)
    display = item.display if given.fordisplay is None else given.fordisplay
    plain = {"protocol": "all", "traffictype": "Ingress", "action": "Allow"}
    return Given({**absent, **plain, **old, **new, "fordisplay": display})


def _as_given(item: NetworkAclItem) -> dict[str, Any]:
    return {
        "protocol": item.protocol,
        "startport": item.first_port,
        "endport": item.last_port,
        "icmptype": item.icmp_type,
        "icmpcode": item.icmp_code,
        "cidrlist": list(item.networks),
        "traffictype": item.direction.capitalize(),
        "action": "Allow" if item.allow else "Deny",
        "reason": item.reason,
    }


def list_to_change(call: Call, item: NetworkAclItem) -> NetworkAclList:
    """:raises Invalid: the item is of a list that nobody changes"""
    acl = call.session.get_one(NetworkAclList, item.list_id)
    demand_changeable(acl)
    return acl


@command("deleteNetworkACL", OneNetworkAcl, SuccessResponse, is_async=True, roles=EVERYONE,
         event="NETWORK.ACL.ITEM.DELETE", rehearses=True)  # fmt: skip
def delete_network_acl(call: Call, id: NetworkAclItem) -> WorkflowRow:
    """Take an item out of its list; connections that no other item allows end."""
    revision = next_change(call.session, list_to_change(call, id).id)
    RULE_MOVES.demand(id, "revoke")
    RULE_MOVES.move(id, "revoke")
    return start_for(call.session, remove_item, id, revision, call=call)


class ListNetworkAcls(RuleListRequest):
    id = Ref(NetworkAclItem, "only this item")
    aclid = Ref(NetworkAclList, "only items of this list")
    networkid = Ref(Network, "only items of this tier's list")
    traffictype = Choice("only items for traffic to guests, or from them", DIRECTIONS)
    protocol = Text("only items of this protocol")
    action = Choice("only items that allow, or that deny", ACTIONS)


@command("listNetworkACLs", ListNetworkAcls, NetworkAclResponse, roles=EVERYONE)
def list_network_acls(call: Call, **filters: Any) -> Page:
    """List items of network ACL lists, in their order."""
    model = NetworkAclItem
    query = narrowed(
        select(model).where(shown_to(call, model)), filters, {"id": model.id, "aclid": model.list_id}
    )  # fmt: skip
    if filters["networkid"] is not None:
        query = query.where(model.list_id == filters["networkid"].acl_id)
    if filters["traffictype"]:
        query = query.where(model.direction == filters["traffictype"].lower())
    if filters["protocol"]:
        query = query.where(model.protocol == filters["protocol"].lower())
    if filters["action"]:
        query = query.where(model.allow.is_(filters["action"] == "Allow"))
    for key, value in (filters["tags"] or {}).items():
        query = query.where(model.id.in_(select(Tag.resource_id).where(Tag.key == key, Tag.value == value)))
    query = displayed(call, with_keyword(query, filters["keyword"], model.reason), model, only=filters["fordisplay"])
    return call.paged(query.order_by(model.list_id, model.number, model.id))
