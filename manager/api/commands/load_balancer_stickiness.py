"""Stickiness policies of load balancer rules: how clients come back to the same virtual machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, Given, ListRequest, Page, Request, command
from manager.api.commands.balancer_limits import refuse_stickiness
from manager.api.commands.load_balancer import begin_change, check_sticky, policies_of
from manager.api.commands.rule import remove, shown_state
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, MapList, Ref, Text
from manager.api.response import Bool, Many, Map, Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id, owners_of
from manager.models import LoadBalancerRule, Network, StickinessPolicy, WorkflowRow
from manager.workflows.rules import add_rules, start_for
from network.balancer_catalog import STICKINESS_METHODS
from network.balancing import COOKIE, COOKIE_DOMAIN, COOKIE_MODES, LARGEST_TABLE, LONGEST_EXPIRY, LONGEST_VALUE

TIME = re.compile(r"([0-9]{1,7})([smhd])")
SIZE = re.compile(r"([0-9]{1,7})([km]?)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
UNITS = {"": 1, "k": 2**10, "m": 2**20}
PLACES = {"path-parameters": "path", "query-string": "query"}


class StickinessPolicyResponse(Response):
    object_key = "stickinesspolicy"
    id = Str("the policy's id")
    name = Str("its name")
    methodname = Str("LbCookie, AppCookie or SourceBased")
    description = Str("what it is for")
    state = Str("Add until its network's router has it, then Active; Deleting while it is taken away")
    fordisplay = Bool("whether users see it")
    params = Map("its parameters")


class StickinessResponse(Response):
    object_key = "stickinesspolicies"
    shows = StickinessPolicy
    lbruleid = Str("the id of the load balancer rule")
    account = Str("the account that owns the rule")
    domainid = Str("the id of the owner's domain")
    domain = Str("the owner's domain")
    zoneid = Str("the id of the rule's zone")
    stickinesspolicy = Many("the rule's policy", StickinessPolicyResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[StickinessPolicy]) -> list[Shown]:
        return of_rules(call, rows, {row.related_id: [_describe(row)] for row in rows}, "stickinesspolicy")


def of_rules(
    call: Call, rows: Sequence[LoadBalancerRule | StickinessPolicy | Any], policies: Mapping[Any, list[Shown]], key: str
) -> list[Shown]:
    """Each row's load balancer rule with its owner and, under `key`, its policies; rows are such rules or policies."""
    owners = owners_of(call, rows)
    networks = by_id(call, Network, (row.network_id for row in rows))
    found = []
    for row in rows:
        rule_id = row.id if isinstance(row, LoadBalancerRule) else row.related_id
        owner = {k: v for k, v in owners[row.account_id].items() if k in ("account", "domainid", "domain")}
        zone_id = networks[row.network_id].zone_id
        shown = [{k: v for k, v in one.items() if v is not None} for one in policies.get(rule_id, [])]
        found.append({"lbruleid": rule_id, **owner, "zoneid": zone_id, key: shown})
    return found


def _describe(row: StickinessPolicy) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "methodname": row.method,
        "description": row.description,
        "state": shown_state(row),
        "fordisplay": row.display,
        "params": (row.options or {})["params"],
    }


class CreateStickinessPolicy(Request):
    lbruleid = Ref(LoadBalancerRule, "the load balancer rule", right="manage", required=True)
    name = Text("the policy's name", required=True)
    description = Text("what it is for")
    methodname = Choice("how clients come back", list(STICKINESS_METHODS), required=True)
    param = MapList("the method's parameters: param[0].name=cookie-name&param[0].value=..; flags have no value")
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


@command("createLBStickinessPolicy", CreateStickinessPolicy, StickinessResponse, is_async=True, creates=True,
         roles=EVERYONE, event="LB.STICKINESSPOLICY.CREATE", rehearses=True)  # fmt: skip
def create_stickiness_policy(call: Call, given: Given) -> WorkflowRow:
    """Have clients of a load balancer rule come back to the virtual machine that they met first."""
    rule: LoadBalancerRule = given.lbruleid
    params = _params(given.methodname, given.param)
    means = {"method": given.methodname, **_means(given.methodname, params)}
    revision = begin_change(call, rule)
    check_sticky(given.methodname, rule.balanced_protocol)
    refuse_stickiness(call, call.session.get_one(Network, rule.network_id), given.methodname, params)
    policy = StickinessPolicy(
        account_id=rule.account_id,
        network_id=rule.network_id,
        address_id=rule.address_id,
        related_id=rule.id,
        name=given.name,
        description=given.description,
        options={"params": params, "means": means},
        display=given.fordisplay,
        live=f"stickiness/{rule.id}",
    )
    call.add(policy, taken=f"The load balancer rule {rule.name} has a stickiness policy already; a rule has one.")
    return start_for(call.session, add_rules, [policy], revision, call=call)


def _params(method: str, entries: list[dict[str, str]] | None) -> dict[str, str]:
    """The parameters by name, in both forms that CloudStack's clients send; flags as "true", false ones not at all.

    :raises Invalid: the method has no such parameter, or it is given twice
    """
    known = STICKINESS_METHODS[method][1]
    found: dict[str, str] = {}
    for entry in entries or []:
        pairs = (
            {entry["name"]: entry.get("value", "")} if set(entry) <= {"name", "value"} and "name" in entry else entry
        )
        for name, value in pairs.items():
            if name not in known:
                raise Invalid(f"The method {method} has no parameter {name}; it has {', '.join(known)}.")
            if name in found:
                raise Invalid(f"The parameter {name} is given twice.")
            found[name] = _flag(name, value) if known[name] else value
    return {name: value for name, value in found.items() if value != "false"}


def _flag(name: str, value: str) -> str:
    if value.lower() not in ("", "true", "false", "null"):
        raise Invalid(f"The parameter {name} is a flag; it has no value, or true or false.")
    return "false" if value.lower() == "false" else "true"


def _means(method: str, params: Mapping[str, str]) -> dict[str, Any]:
    """Fields of network.balancing.Stickiness.

    :raises Invalid: a value is not possible
    """
    readers = {**READERS, "mode": MODES.get(method, READERS["mode"])}
    return {readers[name][0]: readers[name][1](name, value) for name, value in params.items()}


def _cookie(name: str, value: str) -> str:
    if not COOKIE.fullmatch(value):
        raise Invalid(f"The {name} {value} is not 1 to 64 letters, digits, underscores, dots and dashes.")
    return value


def _domain(name: str, value: str) -> str:
    if not COOKIE_DOMAIN.fullmatch(value):
        raise Invalid(f"The {name} {value} is not that of a cookie, such as example.org or .example.org.")
    return value


def _mode(name: str, value: str) -> str:
    if value not in COOKIE_MODES:
        raise Invalid(f"The {name} {value} is none of {', '.join(COOKIE_MODES)}.")
    return value


def _place(name: str, value: str) -> str:
    if value not in PLACES:
        raise Invalid(f"The {name} {value} is none of {', '.join(PLACES)}.")
    return PLACES[value]


def _length(name: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= LONGEST_VALUE):
        raise Invalid(f"The {name} {value} is not a number of characters from 1 to {LONGEST_VALUE}.")
    return int(value)


def _time(name: str, value: str) -> int:
    match = TIME.fullmatch(value)
    seconds = int(match.group(1)) * SECONDS[match.group(2)] if match else 0
    if not 1 <= seconds <= LONGEST_EXPIRY:
        raise Invalid(
            f"The {name} {value} is not a time such as 20s, 30m, 4h or 5d, and at most {LONGEST_EXPIRY // 86400}d."
        )
    return seconds


def _size(name: str, value: str) -> int:
    match = SIZE.fullmatch(value)
    size = int(match.group(1)) * UNITS[match.group(2)] if match else 0
    if not 1 <= size <= LARGEST_TABLE:
        raise Invalid(f"The {name} {value} is not a number of entries such as 200k, of at most 1m.")
    return size


def _true(_name: str, _value: str) -> bool:
    return True


READERS: Mapping[str, tuple[str, Callable[[str, str], Any]]] = {
    "cookie-name": ("cookie", _cookie),
    "mode": ("mode", _mode),
    "nocache": ("nocache", _true),
    "indirect": ("indirect", _true),
    "postonly": ("postonly", _true),
    "domain": ("domain", _domain),
    "length": ("length", _length),
    "holdtime": ("expiry", _time),
    "request-learn": ("learns", _true),
    "tablesize": ("size", _size),
    "expire": ("expiry", _time),
}
"""By parameter: the field of network.balancing.Stickiness that it sets, and how it is read."""
MODES = {"AppCookie": ("place", _place)}
"""What mode is where it is something else than with LbCookie."""


class OneStickinessPolicy(Request):
    id = Ref(StickinessPolicy, "the policy", required=True)


@command("deleteLBStickinessPolicy", OneStickinessPolicy, SuccessResponse, is_async=True, roles=EVERYONE,
         event="LB.STICKINESSPOLICY.DELETE", rehearses=True)  # fmt: skip
def delete_stickiness_policy(call: Call, id: StickinessPolicy) -> WorkflowRow:
    """Take its stickiness policy from a load balancer rule."""
    return remove(call, id)


class UpdateStickinessPolicy(OneStickinessPolicy):
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateLBStickinessPolicy", UpdateStickinessPolicy, StickinessResponse, is_async=True, roles=EVERYONE,
         event="LB.STICKINESSPOLICY.UPDATE")  # fmt: skip
def update_stickiness_policy(call: Call, id: StickinessPolicy, fordisplay: bool | None) -> WorkflowRow:
    """Show a stickiness policy to users, or hide it."""
    id.display = id.display if fordisplay is None else fordisplay
    return call.job_done(id)


class ListStickinessPolicies(ListRequest):
    lbruleid = Ref(LoadBalancerRule, "of this load balancer rule")
    id = Ref(StickinessPolicy, "only this policy")
    fordisplay = Flag("only those that users see, or only others", roles=ROOT)


@command("listLBStickinessPolicies", ListStickinessPolicies, StickinessResponse, roles=EVERYONE)
def list_stickiness_policies(call: Call, given: Given) -> Page | dict[str, Any]:
    """List the stickiness policies of a load balancer rule."""
    rule, policies = named(call, StickinessPolicy, given)
    shown = of_rules(call, [rule], {rule.id: [_describe(one) for one in policies]}, "stickinesspolicy")
    return {"count": 1, "stickinesspolicies": shown}


def named(call: Call, kind: Any, given: Given) -> tuple[LoadBalancerRule, list[Any]]:
    """The rule that a list is asked of, and those of its policies that the caller shall see.

    :raises Invalid: neither rule nor policy is given, or they do not belong together
    """
    if given.lbruleid is None and given.id is None:
        raise Invalid("Give lbruleid, or the id of a policy.")
    rule = given.lbruleid or call.session.get_one(LoadBalancerRule, given.id.related_id)
    if given.id is not None and given.id.related_id != rule.id:
        raise Invalid(f"The policy {given.id.id} is not one of the load balancer rule {rule.name}.")
    found = [one for one in policies_of(call, kind, [rule.id]) if given.id in (None, one)]
    wanted = given.fordisplay if call.is_root_admin else True
    return rule, [one for one in found if wanted is None or one.display is wanted]
