"""Workflows of VPCs: make, start, restart, change and delete their router, which serves all their tiers."""

from __future__ import annotations

from sqlalchemy import func, select

from manager.models import Host, Network, NetworkAclList, PublicAddress, Router, Vpc, VpcOffering
from manager.models.states import ROUTER_MOVES, VPC_MOVES
from manager.placement import limits
from manager.placement.address import NoAddress, free_public_addresses, source_nat_of_vpc, take_public_address
from manager.placement.portable import free_addresses
from manager.workflows.acl_rows import forget_lists
from manager.workflows.engine import Ask, Outcome, Run, Step, StepFailed, workflow
from manager.workflows.network import begin_at, host_for_router, new_router
from manager.workflows.vpc_pair import (
    end,
    end_second,
    forget_routers,
    place_second,
    place_second_again,
    put_legs,
    routers_of_vpc,
    single_again,
    take_off,
    take_second_off,
    tell_all,
)
from manager.workflows.vpc_ways import forget_ways_of_vpc
from manager.workflows.vpn_site import forget_vpns_of_vpc


def vpc_of(run: Run) -> Vpc:
    vpc: Vpc = run.subject(Vpc)
    return vpc


def router_of_vpc(run: Run, vpc_id: str) -> Router | None:
    """The router, or the first of two, locked: whoever gives it a leg knows where it is until his transaction ends."""
    run.session.flush()
    query = select(Router).filter_by(vpc_id=vpc_id, removed=None, standby=False).with_for_update()
    return run.session.scalar(query.execution_options(populate_existing=True))


def _own_router(run: Run) -> Router | None:
    return router_of_vpc(run, run.row.subject_id)


def place_vpc_router(run: Run) -> Outcome:
    """Give the VPC its router: a row, a public address, and the host with fewest routers. Its legs go with it.

    A redundant one gets a second router on another host, unless that is there.
    """
    vpc, router = vpc_of(run), _own_router(run)
    if router is None:
        offering = run.session.get_one(VpcOffering, vpc.offering_id)
        router = new_router(run, vpc, offering.service_offering_id, vpc_id=vpc.id)
        run.note(made=True)
    try:
        if source_nat_of_vpc(run.session, vpc.id) is None:
            run.note(taken=take_public_address(run.session, vpc, source_nat=True).id)
    except (NoAddress, limits.LimitReached) as error:
        raise StepFailed(str(error), error.code) from error
    second = next((one for one in routers_of_vpc(run) if one.standby), None)
    begin_at(router, host_for_router(run, vpc, router, but=second.host_id if second is not None else None))
    if vpc.redundant and (second is None or second.host_id is None):
        place_second(run, vpc, router)
    put_legs(run, router)
    return None


def unplace_vpc_router(run: Run) -> Outcome:
    """No host runs it. What this job made of it goes; what was there before stays, without a host."""
    for router in routers_of_vpc(run):
        router.host_id, router.state = None, "Stopped"
    first = _own_router(run)
    if first is not None:
        put_legs(run, first)
    if run.recall("made"):
        forget_vpc_router(run)
    if run.recall("taken") is not None:
        free_public_addresses(run.session, PublicAddress.id == run.recall("taken"), is_unused=True)
    return None


def forget_vpc_router(run: Run) -> Outcome:
    forget_routers(run, routers_of_vpc(run))
    return None


def begin_telling(_run: Run) -> Outcome:
    """Nothing runs yet; it is the undo that ends the router, after the views that may carry it along."""
    return None


def tell_vpc_router(run: Run) -> list[Ask]:
    """The router to its host, or both to theirs, and its tiers' views to all of theirs."""
    return tell_all(run)


def take_legs_off(run: Run) -> list[Ask]:
    """The tiers lose their gateways on every host, and no view carries a router along any more.

    The routers themselves are ended by the step after, so that no earlier view revives them.
    """
    return take_off(run, routers_of_vpc(run))


def end_vpc_router(run: Run) -> list[Ask]:
    return end(run)


def put_legs_back(run: Run) -> list[Ask]:
    """The routers are again where they were, or where they were placed since, with all legs."""
    hosts = run.recall("hosts") or {}
    routers = routers_of_vpc(run)
    if not hosts or not routers:
        return []
    for router in routers:
        router.host_id = router.host_id or hosts.get(router.id)
        router.state = "Running" if router.host_id else "Stopped"
    put_legs(run, routers[0])
    return tell_all(run)


def mark_vpc_started(run: Run) -> Outcome:
    for router in routers_of_vpc(run):
        if router.host_id is not None:
            ROUTER_MOVES.move(router, "started")
    return None


STARTING = (
    Step(place_vpc_router, undo=unplace_vpc_router),
    Step(begin_telling, undo=end_vpc_router),
    Step(tell_vpc_router, undo=take_legs_off),
    Step(mark_vpc_started),
)
implement_vpc = workflow("vpc.implement", Vpc, STARTING, awaited=True)


def begin_creating(_run: Run) -> Outcome:
    """The VPC is there since the call."""
    return None


def forget_vpc(run: Run) -> Outcome:
    vpc = vpc_of(run)
    if vpc.removed is None:
        vpc.remove()
        forget_lists(run.session, NetworkAclList.vpc_id == vpc.id)
        limits.release(run.session, vpc.account_id, vpcs=1)
    return None


create_vpc = workflow("vpc.create", Vpc, [Step(begin_creating, undo=forget_vpc), *STARTING], awaited=True)


def clean_up_legs(run: Run) -> Outcome:
    """With `cleanup` the router is taken down first and made anew; of two, the other one forwards meanwhile."""
    if not run.arguments.get("cleanup"):
        return None
    run.note(left={})
    return take_off(run, routers_of_vpc(run)[:1])


def clean_up_vpc_router(run: Run) -> Outcome:
    """No undo: the legs' undo starts it again."""
    return end(run) if run.arguments.get("cleanup") else None


def place_again(run: Run) -> Outcome:
    """With `cleanup` the place is chosen anew; else the router stays where it is, unless that host is gone."""
    router = _own_router(run)
    host = run.session.get(Host, router.host_id) if router is not None and router.host_id else None
    return place_vpc_router(run) if host is None or host.state != "Up" else None


restart_vpc = workflow(
    "vpc.restart",
    Vpc,
    [
        Step(take_second_off),  # no undo: the first router goes on alone until it is placed again
        Step(end_second),
        Step(place_second_again, undo=single_again),
        Step(clean_up_legs, undo=put_legs_back),
        Step(clean_up_vpc_router),
        Step(place_again),  # no undo: where it is placed it stays
        Step(tell_vpc_router, undo=tell_vpc_router),
        Step(mark_vpc_started),
    ],
    awaited=True,
)


def set_values(run: Run) -> Outcome:
    vpc = vpc_of(run)
    values = run.arguments["values"]
    run.note(before={name: getattr(vpc, name) for name in values})
    for name, value in values.items():
        setattr(vpc, name, value)
    return None


def set_back(run: Run) -> list[Ask]:
    vpc = vpc_of(run)
    for name, value in (run.recall("before") or {}).items():
        setattr(vpc, name, value)
    return tell_vpc_router(run)


change_vpc = workflow("vpc.change", Vpc, [Step(set_values, undo=set_back), Step(tell_vpc_router)], awaited=True)


def set_offerings(run: Run) -> Outcome:
    """Of the VPC and of tiers by their ids; what those had is noted once."""
    vpc, tiers = vpc_of(run), run.arguments["tiers"]
    rows = {network.id: network for network in run.session.scalars(select(Network).where(Network.id.in_(tiers)))}
    if run.recall("before") is None:
        run.note(before=vpc.offering_id, tiers={key: row.offering_id for key, row in rows.items()})
    vpc.offering_id = run.arguments["offering"]
    for key, row in rows.items():
        row.offering_id = tiers[key]
    return None


def set_offerings_back(run: Run) -> list[Ask]:
    if run.recall("before") is None:
        return []
    vpc_of(run).offering_id = run.recall("before")
    for network_id, offering_id in run.recall("tiers").items():
        run.session.get_one(Network, network_id).offering_id = offering_id
    return tell_vpc_router(run)


migrate_vpc = workflow(
    "vpc.migrate", Vpc, [Step(set_offerings, undo=set_offerings_back), Step(tell_vpc_router)], awaited=True
)


def demand_no_tiers(run: Run) -> None:
    """:raises StepFailed: a tier is left; with the VPC locked, so that no other comes"""
    run.session.refresh(vpc_of(run), with_for_update=True)
    left = select(func.count()).select_from(Network).where(Network.vpc_id == run.row.subject_id)
    count = run.session.scalar(left.where(Network.removed.is_(None)))
    if count:
        raise StepFailed(f"The VPC {vpc_of(run).name} still has {count} tiers; delete those first.", 431)


def begin_deleting(run: Run) -> Outcome:
    demand_no_tiers(run)
    VPC_MOVES.move(vpc_of(run), "delete")
    return None


def keep_vpc(run: Run) -> Outcome:
    if vpc_of(run).state == "Inactive":
        VPC_MOVES.move(vpc_of(run), "keep")
    return None


def give_up_vpc(run: Run) -> Outcome:
    """The VPC goes: its router in the database, and its public addresses."""
    forget_vpc_router(run)
    forget_vpns_of_vpc(run.session, run.row.subject_id)
    forget_ways_of_vpc(run.session, run.row.subject_id)
    free_addresses(run.session, PublicAddress.vpc_id == run.row.subject_id)
    return forget_vpc(run)


delete_vpc = workflow(
    "vpc.delete",
    Vpc,
    [
        Step(begin_deleting, undo=keep_vpc),
        Step(take_legs_off, undo=put_legs_back),
        Step(end_vpc_router),  # no undo: that of the legs starts it again
        Step(give_up_vpc),
    ],
    awaited=True,
)
