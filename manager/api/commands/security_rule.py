"""Rules of security groups: what may reach the virtual machines of a group, and what they may reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select

from manager.api.call import Call
from manager.api.command import EVERYONE, Given, OwnedRequest, Request, command
from manager.api.commands import ipv4
from manager.api.commands.rule import ANY, LARGEST_BYTE, LARGEST_PORT, MOST_NETWORKS, traffic_of
from manager.api.commands.security_member import group_named, hold_groups
from manager.api.commands.security_response import AuthorizedResponse
from manager.api.errors import Invalid, missing
from manager.api.fields import Integer, ListOf, MapList, Ref, Text
from manager.api.response import SuccessResponse
from manager.models import Account, SecurityGroup, SecurityGroupRule, WorkflowRow, new_id
from manager.models.security import PROTOCOLS
from manager.models.states import RULE_MOVES
from manager.workflows.security import authorize_rules, revoke_rules, start_for

MOST_RULES = 500


class Authorize(OwnedRequest):
    securitygroupid = Ref(SecurityGroup, "the group", right="manage")
    securitygroupname = Text("the name of the account's group, in place of securitygroupid")
    protocol = Text("tcp, udp, icmp, ah, esp, gre, all, or a protocol number", default="all")
    startport = Integer("the first port, of tcp and udp; all when absent", least=0, most=LARGEST_PORT)
    endport = Integer("the last port; the first when absent", least=0, most=LARGEST_PORT)
    icmptype = Integer("the type, of icmp; -1 or absent for all", least=ANY, most=LARGEST_BYTE)
    icmpcode = Integer("the code, of icmp; -1 or absent for all", least=ANY, most=LARGEST_BYTE)
    cidrlist = ListOf(Text("a network"), "the networks at the other end, a rule for each", most=MOST_NETWORKS)
    usersecuritygrouplist = MapList(
        "the groups at the other end, a rule for each: account, which is in the domain of the group's own, and group"
    )


@command("authorizeSecurityGroupIngress", Authorize, AuthorizedResponse, is_async=True, roles=EVERYONE,
         event="SG.AUTH.INGRESS", rehearses=True)  # fmt: skip
def authorize_security_group_ingress(call: Call, given: Given) -> WorkflowRow:
    """Let traffic reach the virtual machines of a group, from networks, or from virtual machines of groups.

    The members of a group are meant where they are in the same network.
    """
    return _authorize(call, given, "ingress")


@command("authorizeSecurityGroupEgress", Authorize, AuthorizedResponse, is_async=True, roles=EVERYONE,
         event="SG.AUTH.EGRESS", rehearses=True)  # fmt: skip
def authorize_security_group_egress(call: Call, given: Given) -> WorkflowRow:
    """Let the virtual machines of a group reach something; with the first such rule they reach nothing else.

    The members of a group are meant where they are in the same network.
    """
    return _authorize(call, given, "egress")


def _authorize(call: Call, given: Given, direction: str) -> WorkflowRow:
    group = _group_of(call, given)
    call.subject = group
    traffic = _traffic(given)
    ends = [*_networks(given), *_sources(call, group, given)]
    if not ends:
        raise Invalid("At least one cidr or at least one security group needs to be specified.")
    named = [end["source_id"] for end in ends if "source_id" in end]
    _hold(call, group, named)
    fresh = _new_rules(call, group, [{"direction": direction, **traffic, **end} for end in ends])
    return start_for(call.session, authorize_rules, fresh, call=call)


def _group_of(call: Call, given: Given) -> SecurityGroup:
    if given.securitygroupid is not None and given.securitygroupname:
        raise Invalid("The parameters securitygroupid and securitygroupname exclude each other.")
    if given.securitygroupid is not None:
        found: SecurityGroup = given.securitygroupid
        return found
    if not given.securitygroupname:
        raise missing(call.command, "securitygroupid")
    return group_named(call, call.owner, given.securitygroupname)


def _traffic(given: Given) -> dict[str, Any]:
    """Columns of the rules but for the other end. All ports may be said by 0-65535, and by 0-0 as in CloudStack."""
    first, last = given.startport, given.endport
    if first == 0 and last in (0, LARGEST_PORT):
        first = last = None
    protocol = given.protocol.lower()
    known = {"protocol": PROTOCOLS.get(protocol, protocol)}
    values = {**given.values, **known, "startport": first, "endport": last, "cidrlist": None, "fordisplay": True}
    traffic = traffic_of(Given(values))
    names = ("protocol", "first_port", "last_port", "icmp_type", "icmp_code")
    return {name: traffic[name] for name in names} | ({"protocol": protocol} if protocol in PROTOCOLS else {})


def _networks(given: Given) -> list[dict[str, str]]:
    return [{"cidr": ipv4.cidr("cidrlist", text)} for text in given.cidrlist or ()]


def _sources(call: Call, group: SecurityGroup, given: Given) -> Iterator[dict[str, str]]:
    """The groups at the other end, of accounts of the domain that the group itself is in.

    :raises Invalid: an entry names none
    """
    owner = call.session.get_one(Account, group.account_id)
    for entry in given.usersecuritygrouplist or ():
        fields = {key.lower(): text for key, text in entry.items()}
        if not fields.get("group") or not set(fields) <= {"group", "account"}:
            raise Invalid("Each entry of usersecuritygrouplist has group, and account if it is another one; "
                          "nothing else.")  # fmt: skip
        other = owner
        if fields.get("account", owner.name) != owner.name:
            other = _account(call, owner, fields["account"])
        yield {"source_id": group_named(call, other, fields["group"]).id}


def _account(call: Call, owner: Account, name: str) -> Account:
    query = select(Account).filter_by(name=name, domain_id=owner.domain_id, removed=None)
    found = call.session.scalar(query)
    if found is None:
        raise Invalid(f"There is no account {name} in the domain of the account {owner.name}.")
    return found


def _hold(call: Call, group: SecurityGroup, named: list[str]) -> None:
    """Lock the group alone and those that the rules name against removal, in one order."""
    others = call.session.scalars(select(SecurityGroup).where(SecurityGroup.id.in_(named))).all() if named else []
    hold_groups(call, {one.id: one for one in (group, *others)}.values(), alone=True)


def _new_rules(call: Call, group: SecurityGroup, wanted: list[dict[str, Any]]) -> list[SecurityGroupRule]:
    """Those of the wanted rules that the group has not, stored. The group is locked.

    :raises Invalid: it has all of them, one is being taken away, or there would be too many
    """
    batch = new_id()
    rules = {_live(group, one): SecurityGroupRule(
        id=new_id(), group_id=group.id, account_id=group.account_id, batch=batch, live=_live(group, one), **one)
        for one in wanted
    }  # fmt: skip
    there = select(SecurityGroupRule).where(SecurityGroupRule.live.in_(rules))
    for old in call.session.scalars(there):
        if old.state == "Revoke":
            raise Invalid(f"The rule {old.id} is the same, and is being taken away; try again when that has ended.")
        del rules[str(old.live)]
    if not rules:
        raise Invalid(f"The security group {group.name} has this rule already.")
    _count(call, group, len(rules))
    call.session.add_all(rules.values())
    call.flush(taken=f"The security group {group.name} has this rule already.")
    return list(rules.values())


def _live(group: SecurityGroup, rule: dict[str, Any]) -> str:
    names = ("direction", "first_port", "last_port", "icmp_type", "icmp_code")
    number = PROTOCOLS.get(rule["protocol"], rule["protocol"])
    end = rule.get("cidr") or rule.get("source_id")
    return "/".join([group.id, number, *("" if rule[name] is None else str(rule[name]) for name in names), str(end)])


def _count(call: Call, group: SecurityGroup, more: int) -> None:
    query = select(func.count()).select_from(SecurityGroupRule).where(SecurityGroupRule.group_id == group.id)
    held = call.session.scalar(query.where(SecurityGroupRule.removed.is_(None))) or 0
    if held + more > MOST_RULES:
        raise Invalid(f"The security group {group.name} has {held} rules; with {more} more there were over the "
                      f"{MOST_RULES} that a group can have.")  # fmt: skip


class Revoke(Request):
    id = Ref(SecurityGroupRule, "the rule", required=True)


@command("revokeSecurityGroupIngress", Revoke, SuccessResponse, is_async=True, roles=EVERYONE,
         event="SG.REVOKE.INGRESS", rehearses=True)  # fmt: skip
def revoke_security_group_ingress(call: Call, id: SecurityGroupRule) -> WorkflowRow:
    """Take a rule away that lets traffic in; connections that no other rule allows end."""
    return _revoke(call, id, "ingress")


@command("revokeSecurityGroupEgress", Revoke, SuccessResponse, is_async=True, roles=EVERYONE,
         event="SG.REVOKE.EGRESS", rehearses=True)  # fmt: skip
def revoke_security_group_egress(call: Call, id: SecurityGroupRule) -> WorkflowRow:
    """Take a rule away that lets traffic out; connections that no other rule allows end.

    With the last one of all groups that a virtual machine is in, it may reach all again.
    """
    return _revoke(call, id, "egress")


def _revoke(call: Call, rule: SecurityGroupRule, direction: str) -> WorkflowRow:
    if rule.direction != direction:
        raise Invalid(f"The rule {rule.id} is one of {rule.direction}, not of {direction}.")
    call.session.refresh(rule, with_for_update=True)
    RULE_MOVES.demand(rule, "revoke")
    RULE_MOVES.move(rule, "revoke")
    return start_for(call.session, revoke_rules, [rule], call=call)
