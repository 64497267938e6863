"""Planners: in which order the hosts are taken that a virtual machine can run on."""

from __future__ import annotations

from collections.abc import Sequence

from manager.api.call import Call
from manager.api.command import ListRequest, Page, command
from manager.api.fields import Choice
from manager.api.response import Response, Shown, Str
from manager.placement.planner import PLANNERS


def planner_field(description: str, **options: tuple[str, ...]) -> Choice:
    return Choice(description, list(PLANNERS), **options)


class DeploymentPlannerResponse(Response):
    object_key = "deploymentPlanner"
    name = Str("the planner's name: " + "; ".join(f"{name}: {order}" for name, order in PLANNERS.items()))

    @classmethod
    def render(cls, _call: Call, rows: Sequence[str]) -> list[Shown]:
        return [{"name": row} for row in rows]


@command("listDeploymentPlanners", ListRequest, DeploymentPlannerResponse)
def list_deployment_planners(call: Call, keyword: str | None) -> Page:
    """List the planners that service offerings and deployments can name."""
    return call.window([name for name in PLANNERS if (keyword or "").lower() in name.lower()])
