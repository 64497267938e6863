"""Health checks of virtual routers: what hosts found right or wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import ADMINS, Request, command
from manager.api.errors import Invalid
from manager.api.fields import Flag, Ref
from manager.api.response import Bool, Int, Many, Response, Shown, Str, When
from manager.models import Router, RouterHealthCheck, WorkflowRow
from manager.workflows.router_health import check_router, open_check

BASIC, ADVANCED = "basic", "advanced"
CONTENT = frozenset({"balancer", "dhcp", "dns", "firewall", "metadata"})
"""Checks that compare what a service holds with what is wanted; the others see that things are up."""


class HealthCheckResponse(Response):
    object_key = "healthchecks"
    checkname = Str(
        "what was looked at: interfaces, gateway, connections, firewall, dhcp, dns, metadata, balancer, vpn"
    )
    checktype = Str("basic for whether it is up, advanced for whether it is what is wanted")
    success = Bool("whether it is as it must be")
    status = Str("SUCCESS or FAILED")
    lastupdated = When("when it was looked at")
    details = Str("what is wrong, or what was found right, as a sentence")


class RouterHealthResponse(Response):
    object_key = "routerhealthchecks"
    routerid = Str("the router's id")
    healthchecks = Many("its health checks", HealthCheckResponse)
    jobid = Str("the id of the job that looks at the router at the moment")
    jobstatus = Int("0 while that job is under way")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Router]) -> list[Shown]:
        found = checks_of(call, [row.id for row in rows])
        jobs = _open_jobs(call, [row.id for row in rows])
        return [{"routerid": row.id, "healthchecks": found[row.id], **jobs.get(row.id, {})} for row in rows]


def _open_jobs(call: Call, router_ids: Sequence[str]) -> dict[str, Shown]:
    """By router: the job that looks at it at the moment."""
    holds = {check_router.holds(router_id): router_id for router_id in router_ids}
    query = select(WorkflowRow.holds, WorkflowRow.id).where(WorkflowRow.holds.in_(holds))
    return {holds[str(hold)]: {"jobid": job_id, "jobstatus": 0} for hold, job_id in call.session.execute(query)}


def checks_of(call: Call, router_ids: Iterable[str]) -> dict[str, list[Shown]]:
    """By router: its health checks in the order of their names; one statement."""
    found: dict[str, list[Shown]] = {router_id: [] for router_id in router_ids}
    query = select(RouterHealthCheck).where(RouterHealthCheck.router_id.in_(found)).order_by(RouterHealthCheck.name)
    for check in call.session.scalars(query):
        found[check.router_id].append(_describe(check))
    return found


def _describe(check: RouterHealthCheck) -> Shown:
    return {
        "checkname": check.name,
        "checktype": ADVANCED if check.name in CONTENT else BASIC,
        "success": check.success,
        "status": "SUCCESS" if check.success else "FAILED",
        "lastupdated": check.checked,
        "details": check.detail,
    }


class GetRouterHealthCheckResults(Request):
    routerid = Ref(Router, "the router", required=True, right="manage")
    performfreshchecks = Flag(
        "have its host look at it now; the results are there when the job has ended", default=False
    )


@command("getRouterHealthCheckResults", GetRouterHealthCheckResults, RouterHealthResponse, roles=ADMINS)
def get_router_health_check_results(call: Call, routerid: Router, performfreshchecks: bool) -> Router:
    """Tell what was found right or wrong with a router when its host was last asked, and ask it again if wanted."""
    if performfreshchecks:
        if routerid.state != "Running":
            raise Invalid(f"The router {routerid.name} is {routerid.state}; it must be Running to be looked at.")
        if open_check(call.session, routerid) is None:
            check_router.start(call.session, routerid, call=call)
    return routerid
