"""Workflows of the tiers of VPCs: networks whose gateway is a leg of their VPC's router."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from manager.db import write
from manager.models import BalancerAppliance, Network, NetworkRule, Nic, PublicAddress, Router, Vpc, WorkflowRow
from manager.models.states import NETWORK_MOVES
from manager.placement.address import NoAddress, add_nic
from manager.workflows import network as own
from manager.workflows.balancer_appliance import forget_appliances
from manager.workflows.engine import Ask, Await, Outcome, Run, Step, StepFailed, Workflow, workflow
from manager.workflows.network import network_of
from manager.workflows.rule_rows import forget_rules
from manager.workflows.views import picture
from manager.workflows.vpc import implement_vpc, router_of_vpc


def leg_of(run: Run) -> Nic | None:
    """The NIC of the VPC's router in the tier."""
    return run.session.scalar(select(Nic).where(Nic.network_id == run.row.subject_id, Nic.router_id.is_not(None)))


def await_vpc_router(run: Run) -> Await | None:
    """Wait for the VPC's router to run; starts it when nobody has.

    :raises StepFailed: the start that was waited for failed, or the VPC goes away
    """
    vpc = run.session.get_one(Vpc, network_of(run).vpc_id)
    open_row = run.session.scalar(select(WorkflowRow).filter_by(holds=implement_vpc.holds(vpc.id)))
    router = router_of_vpc(run, vpc.id)
    if open_row is None and router is not None and router.state == "Running":
        return None
    begun = run.recall("vpc")
    if open_row is None and begun is not None:
        row = run.session.get_one(WorkflowRow, begun)
        raise StepFailed(f"The router of VPC {vpc.name} could not be started: {row.error}", row.error_code or 530)
    if open_row is None and (vpc.removed is not None or vpc.state != "Enabled"):
        raise StepFailed(f"The VPC {vpc.name} is {vpc.state}; it is going away.", 534)
    if open_row is None:
        open_row = implement_vpc.start(run.session, vpc)
        run.note(vpc=open_row.id)
    return Await(open_row.id)


def add_leg(run: Run) -> Outcome:
    """The router gets a NIC with the tier's gateway address, where it is."""
    wait = await_vpc_router(run)
    if wait is not None:
        return wait
    network = network_of(run)
    router = router_of_vpc(run, str(network.vpc_id))
    if router is None:
        raise StepFailed(f"The router of network {network.name} has gone; try again.")
    leg = leg_of(run)
    try:
        if leg is None:
            nic_id = add_nic(run.session, network, wanted=network.gateway, router_id=router.id)
            leg = run.session.get_one(Nic, nic_id)
    except NoAddress as error:
        raise StepFailed(str(error), error.code) from error
    leg.host_id = router.host_id
    run.session.flush()
    return None


def drop_leg(run: Run) -> Outcome:
    write(run.session, delete(Nic).where(Nic.network_id == run.row.subject_id, Nic.router_id.is_not(None)))
    return None


def take_leg_off(run: Run) -> list[Ask]:
    """The tier loses its gateway; guests' NICs, if any, keep their part of the network."""
    leg = leg_of(run)
    if leg is None:
        return []
    router = run.session.get_one(Router, leg.router_id)
    hosts = set(run.session.scalars(select(Nic.host_id).filter_by(network_id=run.row.subject_id)))
    leg.host_id = None
    run.session.flush()
    leaving = {host for host in {*hosts, router.host_id} if host}
    return picture(run.session, run.row.subject_id, leaving=leaving).asks()


def put_leg_back(run: Run) -> list[Ask]:
    leg = leg_of(run)
    if leg is not None:
        router = router_of_vpc(run, str(network_of(run).vpc_id))
        leg.host_id = router.host_id if router is not None else None
        run.session.flush()
    return own.start_router(run)


def mark_tier_implemented(run: Run) -> Outcome:
    NETWORK_MOVES.move(network_of(run), "implemented")
    return None


implement_tier = workflow(
    "tier.implement",
    Network,
    [
        Step(own.begin_implementing, undo=own.back_to_allocated),
        Step(add_leg, undo=drop_leg),
        Step(own.start_router, undo=take_leg_off),
        Step(mark_tier_implemented),
    ],
    awaited=True,
)
restart_tier = workflow("tier.restart", Network, [Step(own.start_router, undo=own.start_router)], awaited=True)


def keep_tier(run: Run) -> Outcome:
    network = network_of(run)
    if network.state == "Destroy":
        network.state = "Implemented" if leg_of(run) is not None else "Allocated"
    return None


def give_up_leg(run: Run) -> Outcome:
    """The tier goes with its rules; its public addresses are its VPC's as before."""
    drop_leg(run)
    forget_rules(run.session, NetworkRule.network_id == run.row.subject_id)
    forget_appliances(run.session, BalancerAppliance.network_id == run.row.subject_id)
    held = update(PublicAddress).where(PublicAddress.network_id == run.row.subject_id)
    write(run.session, held.values(network_id=None))
    return None


delete_tier = workflow(
    "tier.delete",
    Network,
    [
        Step(own.begin_deleting, undo=keep_tier),
        Step(take_leg_off, undo=put_leg_back),
        Step(give_up_leg),
        Step(own.mark_deleted),
    ],
    awaited=True,
)


def deletion_of(network: Network) -> Workflow:
    """The workflow that removes the network."""
    return delete_tier if network.vpc_id is not None else own.delete_network


def restart_of(network: Network) -> Workflow:
    """The workflow that tells all of the network again."""
    return restart_tier if network.vpc_id is not None else own.restart_network
