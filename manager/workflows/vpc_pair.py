"""Two routers of one VPC on two hosts: how each comes and goes while the other forwards."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, update

from agents.contract import ApplyNetwork, ApplyRouter
from manager.db import write
from manager.models import Host, Nic, PhysicalNetwork, Router, TrafficType, Vpc, VpcOffering
from manager.models.states import ROUTER_MOVES
from manager.placement.address import NoAddress
from manager.placement.tunnel_key import take_key
from manager.workflows.engine import Ask, Outcome, Run, StepFailed
from manager.workflows.network import begin_at, host_for_router, new_router
from manager.workflows.router_pair import Line
from manager.workflows.views import picture
from manager.workflows.vpc_line import VpcLine
from manager.workflows.vpc_view import tiers_of, vpc_router
from network.overlays import overlay_named


def routers_of_vpc(run: Run) -> list[Router]:
    """The VPC's routers, locked, the first one first: who gives them a leg knows where they are until he has ended."""
    run.session.flush()
    query = select(Router).filter_by(vpc_id=run.row.subject_id, removed=None).order_by(Router.standby)
    return list(run.session.scalars(query.with_for_update().execution_options(populate_existing=True)))


def put_legs(run: Run, first: Router) -> None:
    """The legs are the first router's, and known where it is; where it is nowhere, where the other one is."""
    run.session.flush()
    elsewhere = next((one.host_id for one in routers_of_vpc(run) if one.host_id), None)
    host_id = first.host_id or elsewhere
    write(run.session, update(Nic).where(Nic.router_id == first.id).values(host_id=host_id))


def ensure_line(run: Run, vpc: Vpc) -> None:
    """The VPC is redundant, and has a line.

    :raises StepFailed: the zone has no tunnel key for it
    """
    vpc.redundant = True
    if vpc.line_key is not None:
        return
    guests = select(TrafficType.physical_network_id).where(
        TrafficType.traffic_type == "Guest", TrafficType.removed.is_(None)
    )
    query = select(PhysicalNetwork).where(PhysicalNetwork.zone_id == vpc.zone_id, PhysicalNetwork.removed.is_(None))
    carrying = PhysicalNetwork.id.in_(guests).desc()
    physical = run.session.scalars(query.order_by(carrying, PhysicalNetwork.created, PhysicalNetwork.id)).first()
    if physical is None:
        raise StepFailed(f"The zone has no physical network, so VPC {vpc.name} has one router.", 431)
    try:
        vpc.line_key = take_key(run.session, physical, vpc.id, vpc.account_id)
    except NoAddress as error:
        raise StepFailed(str(error), error.code) from error
    vpc.line_overlay = str(overlay_named(physical.isolation_methods))


def place_second(run: Run, vpc: Vpc, first: Router) -> None:
    """The other router of the pair is on another host than the first, which must be somewhere."""
    ensure_line(run, vpc)
    second = next((one for one in routers_of_vpc(run) if one.standby), None)
    if second is None:
        offering = run.session.get_one(VpcOffering, vpc.offering_id)
        second = new_router(run, vpc, offering.service_offering_id, vpc_id=vpc.id, standby=True)
    begin_at(second, host_for_router(run, vpc, second, but=first.host_id))
    run.session.flush()


def take_off(run: Run, routers: Sequence[Router]) -> list[Ask]:
    """Those routers are on no host, and neither tiers nor the line know them on any.

    Where another one waits, they end at once, so that it forwards from then on. A view that is on its way may bring
    one back: `end` ends them after all views were told.
    """
    left = {router.id: router.host_id for router in routers if router.host_id}
    if not left:
        return []
    run.note(left=left, hosts={**(run.recall("hosts") or {}), **left})
    for router in routers:
        if router.state == "Running":
            ROUTER_MOVES.move(router, "stop")
        router.host_id = None
    all_of_them = routers_of_vpc(run)
    put_legs(run, all_of_them[0])
    views = tell_all(run, sorted(set(left.values())))
    return [*(end(run) if any(one.host_id for one in all_of_them) else ()), *views]


def tell_all(run: Run, leaving: Sequence[str] = ()) -> list[Ask]:
    """The line and the routers to their hosts, before the tiers' views bring what depends on them.

    `leaving` are hosts that may have an end of the line no more.
    """
    run.session.flush()
    tiers = tiers_of(run.session, run.row.subject_id)
    found = vpc_router(run.session, run.row.subject_id)
    line = found.line if found is not None else None
    asks = found.asks() if found is not None else []
    asks += _without_line(run, [host_id for host_id in leaving if line is None or host_id not in line.places])
    return asks + [ask for tier in tiers for ask in picture(run.session, tier, leaving=leaving).asks()]


def _without_line(run: Run, hosts: Sequence[str]) -> list[Ask]:
    """The line's view for hosts that have no end of it any more."""
    vpc = run.session.get_one(Vpc, run.row.subject_id, populate_existing=True)
    if vpc.line_key is None or not hosts:
        return []
    empty = VpcLine(Line((), ()), {})
    return [
        Ask(agent_id, ApplyNetwork(empty.view(vpc, host_id)), vpc.generation)
        for host_id, agent_id in _agents(run, hosts).items()
    ]


def _agents(run: Run, hosts: Sequence[str]) -> dict[str, str]:
    """Agents of those hosts that are there."""
    query = select(Host.id, Host.agent_id).where(Host.id.in_(hosts), Host.state == "Up").order_by(Host.id)
    return {row.id: row.agent_id for row in run.session.execute(query)}


def end(run: Run) -> list[Ask]:
    """The routers that were handed over end on the hosts that they were on. One that is not there is not asked."""
    left = run.recall("left") or {}
    if not left:
        return []
    write(run.session, update(Vpc).where(Vpc.id == run.row.subject_id).values(generation=Vpc.generation + 1))
    vpc = run.session.get_one(Vpc, run.row.subject_id, populate_existing=True)
    agents = _agents(run, sorted(set(left.values())))
    return [
        Ask(agents[host_id], ApplyRouter(router_id), vpc.generation)
        for router_id, host_id in sorted(left.items())
        if host_id in agents
    ]


def forget_routers(run: Run, routers: Sequence[Router]) -> None:
    for router in routers:
        write(run.session, delete(Nic).where(Nic.router_id == router.id))
        router.state, router.host_id = "Stopped", None
        router.remove()


def take_second_off(run: Run) -> list[Ask]:
    """With `cleanup` the second router is made anew before the first, while that one forwards."""
    vpc = run.session.get_one(Vpc, run.row.subject_id)
    routers = routers_of_vpc(run) if vpc.redundant and run.arguments.get("cleanup") else []
    seconds = [one for one in routers if one.standby]
    return take_off(run, seconds) if seconds and _is_up(run, routers[0]) else []


def end_second(run: Run) -> list[Ask]:
    asks = end(run)
    for router in routers_of_vpc(run):
        if router.standby and router.host_id is None:
            router.state = "Stopped"
    run.note(left={})
    return asks


def _is_up(run: Run, router: Router) -> bool:
    host = run.session.get(Host, router.host_id) if router.host_id else None
    return host is not None and host.state == "Up"


def place_second_again(run: Run) -> Outcome:
    """The second router has a host that is Up, or another one; it waits as soon as it is there.

    With `make_redundant` the VPC has two routers from now on. No undo but that: the next restart places it again.
    """
    vpc = run.session.get_one(Vpc, run.row.subject_id, populate_existing=True)
    first = next((one for one in routers_of_vpc(run) if not one.standby), None)
    if first is None or not (vpc.redundant or run.arguments.get("make_redundant")):
        return None
    second = next((one for one in routers_of_vpc(run) if one.standby), None)
    if second is not None and _is_up(run, second):
        return None
    run.note(made_redundant=not vpc.redundant)
    place_second(run, vpc, first)
    return tell_all(run)


def single_again(run: Run) -> Outcome:
    """What this job made redundant is not: the second router goes in the rows, and then on its host."""
    if not run.recall("made_redundant"):
        return None
    vpc = run.session.get_one(Vpc, run.row.subject_id)
    routers = routers_of_vpc(run)
    asks = take_off(run, routers[1:])
    hosts = [*(run.recall("left") or {}).values(), *(one.host_id for one in routers if one.host_id)]
    forget_routers(run, routers[1:])
    vpc.redundant = False
    return [*asks, *tell_all(run, sorted(hosts))]
