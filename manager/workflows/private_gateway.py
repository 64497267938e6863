"""Workflows of private gateways: a change is in its rows at once; its job ends when the VPC's router has it."""

from __future__ import annotations

from sqlalchemy import select

from manager.models import NetworkAclList, PrivateGateway
from manager.models.states import PRIVATE_GATEWAY_MOVES
from manager.workflows.engine import Ask, Outcome, Run, Step, StepFailed, workflow
from manager.workflows.vpc_view import vpc_router
from manager.workflows.vpc_ways import forget_gateways


def _gateway(run: Run) -> PrivateGateway:
    gateway: PrivateGateway = run.subject(PrivateGateway)
    return gateway


def tell_router(run: Run) -> list[Ask]:
    """A router that runs nowhere is told when it starts."""
    run.session.flush()
    router = vpc_router(run.session, _gateway(run).vpc_id)
    return router.asks() if router is not None else []


def take_back(run: Run) -> list[Ask]:
    forget_gateways(run.session, PrivateGateway.id == run.row.subject_id)
    return tell_router(run)


def mark_ready(run: Run) -> Outcome:
    if _gateway(run).state == "Creating":
        PRIVATE_GATEWAY_MOVES.move(_gateway(run), "created")
    return None


def keep(run: Run) -> list[Ask]:
    gateway = _gateway(run)
    if gateway.removed is None and gateway.state == "Deleting":
        PRIVATE_GATEWAY_MOVES.move(gateway, "keep")
    return tell_router(run)


def drop(run: Run) -> Outcome:
    forget_gateways(run.session, PrivateGateway.id == run.row.subject_id)
    return None


def use_list(run: Run) -> list[Ask]:
    """:raises StepFailed: the list or the gateway was removed meanwhile"""
    query = select(NetworkAclList).where(NetworkAclList.id == run.arguments["list_id"]).with_for_update()
    acl = run.session.scalars(query.execution_options(populate_existing=True)).one()
    gateway = _gateway(run)
    for thing, called in ((acl, f"network ACL {acl.name}"), (gateway, f"private gateway {gateway.address}")):
        if thing.removed is not None:
            raise StepFailed(f"The {called} has been removed.", 431)
    if run.recall("former") is None:
        run.note(former=gateway.acl_id)
    gateway.acl_id = acl.id
    return tell_router(run)


def use_former(run: Run) -> list[Ask]:
    gateway, former = _gateway(run), run.recall("former")
    if former is not None and gateway.removed is None:
        gateway.acl_id = former
    return tell_router(run)


create_gateway = workflow(
    "private-gateway.create", PrivateGateway, [Step(tell_router, undo=take_back), Step(mark_ready)]
)
delete_gateway = workflow("private-gateway.delete", PrivateGateway, [Step(tell_router, undo=keep), Step(drop)])
replace_list = workflow("private-gateway.acl", PrivateGateway, [Step(use_list, undo=use_former)])
