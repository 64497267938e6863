"""How security groups are shown, with their rules and members, alone and with virtual machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from sqlalchemy import select

from manager.api.call import Call
from manager.api.commands.rule import ANY, LARGEST_PORT
from manager.api.commands.tag import TagResponse
from manager.api.response import Int, Many, Response, Shown, Str
from manager.api.rows import owners_of, tags_of
from manager.models import Account, SecurityGroup, SecurityGroupRule, SecurityMember, Vm

ORDER = (
    SecurityGroupRule.protocol, SecurityGroupRule.first_port, SecurityGroupRule.cidr, SecurityGroupRule.id
)  # fmt: skip
"""Of the rules of a group, which are all allowed alike."""


class GroupOfVmResponse(Response):
    id = Str("the group's id")
    name = Str("its name")
    description = Str("what it is for")


class SecurityRuleResponse(Response):
    ruleid = Str("the rule's id")
    protocol = Str("tcp, udp, icmp, ah, esp, gre, all, or a protocol number")
    startport = Int("the first port, of tcp and udp")
    endport = Int("the last port")
    icmptype = Int("the type of icmp; -1 for all")
    icmpcode = Int("the code of icmp; -1 for all")
    cidr = Str("the network at the other end")
    securitygroupname = Str("in place of cidr: the group that the virtual machines at the other end are in")
    account = Str("the account that owns that group")
    tags = Many("its tags", TagResponse)


class SecurityGroupResponse(Response):
    object_key = "securitygroup"
    shows: ClassVar[type[Any] | None] = SecurityGroup
    id = Str("the group's id")
    name = Str("its name")
    description = Str("what it is for")
    account = Str("the account that owns it")
    projectid = Str("the id of the project that owns it, in place of the account")
    project = Str("the project that owns it")
    domainid = Str("the id of the owner's domain")
    domain = Str("the owner's domain")
    domainpath = Str("the path of the owner's domain")
    ingressrule = Many("what may reach its virtual machines", SecurityRuleResponse)
    egressrule = Many("what they may reach; all while none of their groups has such a rule", SecurityRuleResponse)
    tags = Many("its tags", TagResponse)
    virtualmachinecount = Int("how many virtual machines are in it")
    virtualmachineids = Many("the ids of these")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        wanted = SecurityGroupRule.group_id.in_([row.id for row in rows])
        query = select(SecurityGroupRule).where(wanted, SecurityGroupRule.removed.is_(None))
        rules = call.session.scalars(query.order_by(*ORDER)).all()
        return shown_groups(call, rows, rules)


class AuthorizedResponse(SecurityGroupResponse):
    """The group with no rules but those of one call."""

    object_key = "securitygroup"
    shows = SecurityGroupRule

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        query = select(SecurityGroupRule).where(SecurityGroupRule.batch.in_([row.batch for row in rows]))
        rules = call.session.scalars(query.order_by(*ORDER)).all()
        groups = select(SecurityGroup).where(SecurityGroup.id.in_([row.group_id for row in rows]))
        found = {group.id: group for group in call.session.scalars(groups)}
        whole = dict(zip(found, shown_groups(call, list(found.values()), rules), strict=True))
        made: dict[str, set[str]] = {}
        for rule in rules:
            made.setdefault(rule.batch, set()).add(rule.id)
        return [_narrowed(whole[row.group_id], made[row.batch]) for row in rows]


def _narrowed(group: Shown, rule_ids: set[str]) -> Shown:
    ways = ("ingressrule", "egressrule")
    return group | {way: [entry for entry in group[way] if entry["ruleid"] in rule_ids] for way in ways}


def shown_groups(call: Call, rows: Sequence[SecurityGroup], rules: Sequence[SecurityGroupRule]) -> list[Shown]:
    """The groups with those of the rules that are theirs."""
    owners, tags = owners_of(call, rows, path=True), tags_of(call, [*rows, *rules])
    members, sources = _members(call, rows), _sources(call, rules)
    entries: dict[tuple[str, str], list[Shown]] = {}
    for rule in rules:
        entry = {**_described(rule), **sources[rule.source_id], "tags": tags[rule.id]}
        entries.setdefault((rule.group_id, rule.direction), []).append(entry)
    return [
        {
            "id": row.id,
            "name": row.name,
            "description": row.description or None,
            **owners[row.account_id],
            "ingressrule": entries.get((row.id, "ingress"), []),
            "egressrule": entries.get((row.id, "egress"), []),
            "tags": tags[row.id],
            "virtualmachinecount": len(members[row.id]),
            "virtualmachineids": members[row.id],
        }
        for row in rows
    ]


def _members(call: Call, rows: Iterable[SecurityGroup]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {row.id: [] for row in rows}
    query = select(SecurityMember.group_id, SecurityMember.vm_id).join(Vm, Vm.id == SecurityMember.vm_id)
    query = query.where(SecurityMember.group_id.in_(found), Vm.removed.is_(None)).order_by(SecurityMember.vm_id)
    for group_id, vm_id in call.session.execute(query):
        found[group_id].append(vm_id)
    return found


def _sources(call: Call, rules: Iterable[SecurityGroupRule]) -> dict[str | None, Shown]:
    """By id: the groups that the rules name, with their accounts."""
    ids = {rule.source_id for rule in rules} - {None}
    query = select(SecurityGroup.id, SecurityGroup.name, Account.name).join(
        Account, Account.id == SecurityGroup.account_id
    )
    rows = call.session.execute(query.where(SecurityGroup.id.in_(ids)))
    return {key: {"securitygroupname": name, "account": account} for key, name, account in rows} | {None: {}}


def _described(rule: SecurityGroupRule) -> Shown:
    is_icmp, has_ports = rule.protocol == "icmp", rule.protocol in ("tcp", "udp")
    return {
        "ruleid": rule.id,
        "protocol": rule.protocol,
        "startport": rule.first_port or 0 if has_ports else None,
        "endport": (LARGEST_PORT if rule.last_port is None else rule.last_port) if has_ports else None,
        "icmptype": (ANY if rule.icmp_type is None else rule.icmp_type) if is_icmp else None,
        "icmpcode": (ANY if rule.icmp_code is None else rule.icmp_code) if is_icmp else None,
        "cidr": rule.cidr,
    }


def security_groups_of(call: Call, vm_ids: Sequence[str]) -> dict[str, list[Shown]]:
    """By VM id: its groups without rules, in one statement; a VM that is in none is not there."""
    query = (
        select(SecurityMember.vm_id, SecurityGroup.id, SecurityGroup.name, SecurityGroup.description)
        .join(SecurityGroup, SecurityGroup.id == SecurityMember.group_id)
        .where(SecurityMember.vm_id.in_(vm_ids))
        .order_by(SecurityGroup.name, SecurityGroup.id)
    )
    found: dict[str, list[Shown]] = {}
    for row in call.session.execute(query):
        shown = {"id": row.id, "name": row.name, "description": row.description or None}
        found.setdefault(row.vm_id, []).append(shown)
    return found
