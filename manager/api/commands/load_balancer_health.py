"""Health check policies of load balancer rules: how virtual machines are watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, Given, ListRequest, Page, Request, command
from manager.api.commands.load_balancer import begin_change
from manager.api.commands.load_balancer_stickiness import named, of_rules
from manager.api.commands.rule import remove, shown_state
from manager.api.errors import Invalid
from manager.api.fields import Flag, Integer, Ref, Text
from manager.api.response import Bool, Int, Many, Response, Shown, Str, SuccessResponse
from manager.models import HealthPolicy, LoadBalancerRule, WorkflowRow
from manager.workflows.rules import add_rules, start_for
from network.balancing import CHECK_PATH, LONGEST_INTERVAL, MOST_TRIES


class HealthPolicyResponse(Response):
    object_key = "healthcheckpolicy"
    id = Str("the policy's id")
    pingpath = Str("the path that is asked for")
    description = Str("what it is for")
    state = Str("Add until its network's router has it, then Active; Deleting while it is taken away")
    responsetime = Int("seconds that are waited for an answer")
    healthcheckinterval = Int("seconds between two tries")
    healthcheckthresshold = Int("successes in a row until it is used again")
    unhealthcheckthresshold = Int("failures in a row until it is not used any more")
    fordisplay = Bool("whether users see it")


class HealthResponse(Response):
    object_key = "healthcheckpolicies"
    shows = HealthPolicy
    lbruleid = Str("the id of the load balancer rule")
    account = Str("the account that owns the rule")
    domainid = Str("the id of the owner's domain")
    domain = Str("the owner's domain")
    zoneid = Str("the id of the rule's zone")
    healthcheckpolicy = Many("the rule's policy", HealthPolicyResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[HealthPolicy]) -> list[Shown]:
        return of_rules(call, rows, {row.related_id: [_describe(row)] for row in rows}, "healthcheckpolicy")


def _describe(row: HealthPolicy) -> Shown:
    options = row.options or {}
    return {
        "id": row.id,
        "pingpath": options["path"],
        "description": row.description,
        "state": shown_state(row),
        "responsetime": options["timeout"],
        "healthcheckinterval": options["interval"],
        "healthcheckthresshold": options["healthy"],
        "unhealthcheckthresshold": options["unhealthy"],
        "fordisplay": row.display,
    }


class CreateHealthPolicy(Request):
    lbruleid = Ref(LoadBalancerRule, "the load balancer rule", right="manage", required=True)
    description = Text("what it is for")
    pingpath = Text("the path that is asked for by HTTP, and answered with 2xx or 3xx", default="/")
    responsetimeout = Integer("seconds to wait for an answer", least=1, most=LONGEST_INTERVAL, default=2)
    intervaltime = Integer("seconds between two tries", least=1, most=LONGEST_INTERVAL, default=5)
    healthythreshold = Integer("successes in a row until it is used again", least=1, most=MOST_TRIES, default=2)
    unhealthythreshold = Integer("failures in a row until it is not used", least=1, most=MOST_TRIES, default=10)
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


@command("createLBHealthCheckPolicy", CreateHealthPolicy, HealthResponse, is_async=True, creates=True,
         roles=EVERYONE, event="LB.HEALTHCHECKPOLICY.CREATE", rehearses=True)  # fmt: skip
def create_health_policy(call: Call, given: Given) -> WorkflowRow:
    """Watch the virtual machines of a load balancer rule by HTTP. Without a policy a connection is tried every 2 s."""
    rule: LoadBalancerRule = given.lbruleid
    if not CHECK_PATH.fullmatch(given.pingpath):
        raise Invalid(
            f"The pingpath {given.pingpath} is not a path such as /health: of letters, digits and ._~/?=&:@,;+-"
        )
    if given.responsetimeout > given.intervaltime:
        raise Invalid(
            f"The responsetimeout of {given.responsetimeout} s is longer than the intervaltime, {given.intervaltime} s."
        )
    revision = begin_change(call, rule)
    policy = HealthPolicy(
        account_id=rule.account_id,
        network_id=rule.network_id,
        address_id=rule.address_id,
        related_id=rule.id,
        description=given.description,
        options={
            "path": given.pingpath,
            "interval": given.intervaltime,
            "timeout": given.responsetimeout,
            "healthy": given.healthythreshold,
            "unhealthy": given.unhealthythreshold,
        },
        display=given.fordisplay,
        live=f"health/{rule.id}",
    )
    call.add(policy, taken=f"The load balancer rule {rule.name} has a health check policy already; a rule has one.")
    return start_for(call.session, add_rules, [policy], revision, call=call)


class OneHealthPolicy(Request):
    id = Ref(HealthPolicy, "the policy", required=True)


@command("deleteLBHealthCheckPolicy", OneHealthPolicy, SuccessResponse, is_async=True, roles=EVERYONE,
         event="LB.HEALTHCHECKPOLICY.DELETE", rehearses=True)  # fmt: skip
def delete_health_policy(call: Call, id: HealthPolicy) -> WorkflowRow:
    """Take its health check policy from a load balancer rule."""
    return remove(call, id)


class UpdateHealthPolicy(OneHealthPolicy):
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateLBHealthCheckPolicy", UpdateHealthPolicy, HealthResponse, is_async=True, roles=EVERYONE,
         event="LB.HEALTHCHECKPOLICY.UPDATE")  # fmt: skip
def update_health_policy(call: Call, id: HealthPolicy, fordisplay: bool | None) -> WorkflowRow:
    """Show a health check policy to users, or hide it."""
    id.display = id.display if fordisplay is None else fordisplay
    return call.job_done(id)


class ListHealthPolicies(ListRequest):
    lbruleid = Ref(LoadBalancerRule, "of this load balancer rule")
    id = Ref(HealthPolicy, "only this policy")
    fordisplay = Flag("only those that users see, or only others", roles=ROOT)


@command("listLBHealthCheckPolicies", ListHealthPolicies, HealthResponse, roles=EVERYONE)
def list_health_policies(call: Call, given: Given) -> Page | dict[str, Any]:
    """List the health check policies of a load balancer rule."""
    rule, policies = named(call, HealthPolicy, given)
    shown = of_rules(call, [rule], {rule.id: [_describe(one) for one in policies]}, "healthcheckpolicy")
    return {"count": 1, "healthcheckpolicies": shown}
