"""Workflows of tenant networks: implement, restart, delete."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, select

from manager.db import write
from manager.models import (
    Host,
    Network,
    NetworkOffering,
    NetworkRule,
    NetworkShare,
    Nic,
    PublicAddress,
    RemoteAccessVpn,
    Router,
    ServiceOffering,
    ServiceProvider,
    VirtualRouterElement,
    Vpc,
    WorkflowRow,
    Zone,
    utcnow,
)
from manager.models.network import SHARED
from manager.models.states import NETWORK_MOVES, ROUTER_MOVES
from manager.placement import limits
from manager.placement.address import NoAddress, add_nic, free_public_addresses, source_nat_of, take_public_address
from manager.placement.dedication import kept
from manager.placement.guest_range import forget_ranges
from manager.placement.host import tags_in
from manager.placement.portable import free_addresses
from manager.placement.tunnel_key import free_vlan
from manager.workflows import router_pair
from manager.workflows.devices import (
    cabled_hosts,
    forget_devices,
    is_gateway_by_device,
    place_devices,
    plug_devices,
    unplug_devices,
)
from manager.workflows.engine import WORKFLOWS, Ask, Await, Outcome, Run, Step, StepFailed, Workflow, workflow
from manager.workflows.numbers import next_number
from manager.workflows.rule_rows import forget_rules, forget_vpns
from manager.workflows.views import picture
from network.catalog import VIRTUAL_ROUTER


def network_of(run: Run) -> Network:
    network: Network = run.subject(Network)
    return network


def router_of(run: Run) -> Router | None:
    return run.session.scalar(select(Router).filter_by(network_id=run.row.subject_id, removed=None, standby=False))


def implementation_of(network: Network) -> Workflow:
    """A tier of a VPC gets a leg of that one's router, another network a router of its own."""
    return WORKFLOWS["tier.implement"] if network.vpc_id is not None else implement_network


def await_implemented(run: Run, network: Network) -> Await | None:
    """Wait for the network to be there; starts its implementation when nobody has.

    :raises StepFailed: the implementation that was waited for failed, or the network goes away
    """
    if network.state == "Implemented":
        return None
    key = f"implement:{network.id}"
    waited_for = run.recall(key)
    if waited_for is not None:
        row = run.session.get_one(WorkflowRow, waited_for)
        if row.status != "running" and row.name == implementation_of(network).name:
            raise StepFailed(f"Network {network.name} could not be implemented: {row.error}", row.error_code)
    open_row = run.session.scalar(select(WorkflowRow).filter_by(holds=f"networks:{network.id}"))
    if open_row is None:
        if network.removed is not None or network.state != "Allocated":
            raise StepFailed(f"Network {network.name} is {network.state}.", 534)
        open_row = implementation_of(network).start(run.session, network)
    run.note(**{key: open_row.id})
    return Await(open_row.id)


def begin_implementing(run: Run) -> Outcome:
    NETWORK_MOVES.move(network_of(run), "implement")
    return None


def back_to_allocated(run: Run) -> Outcome:
    NETWORK_MOVES.move(network_of(run), "reset")
    return None


def place_router(run: Run) -> Outcome:
    """Give the network its router and devices: rows, the gateway address, a public address, and the host with fewest
    routers. One of a redundant pair gets a second router on another host, unless that is there.
    """
    network = network_of(run)
    offering = _offering_of(run, network)
    services = offering.services
    try:
        if "SourceNat" in services and source_nat_of(run.session, network.id) is None:
            run.note(taken=take_public_address(run.session, network, source_nat=True).id)
        place_devices(run.session, network, services)
        if VIRTUAL_ROUTER in services.values():
            _place_own(run, network, offering)
    except (NoAddress, limits.LimitReached) as error:
        raise StepFailed(str(error), error.code) from error
    return None


def _place_own(run: Run, network: Network, offering: NetworkOffering) -> None:
    """:raises NoAddress: the network has none left for the router"""
    router = router_of(run) or new_router(run, network, offering.service_offering_id, network_id=network.id)
    second = router_pair.second_of(run) if offering.redundant_router else None
    begin_at(router, host_for_router(run, network, router, but=second.host_id if second is not None else None))
    nic = run.session.scalar(select(Nic).filter_by(router_id=router.id, is_default=True))
    if nic is None:
        address = _router_address(network, offering.services)
        nic_id = add_nic(run.session, network, wanted=address, router_id=router.id)
        nic = run.session.get_one(Nic, nic_id)
    nic.host_id = router.host_id
    if offering.redundant_router:
        router_pair.add_line_end(run, network, router)
        if second is None or second.host_id is None:
            place_second(run, network, router, second)
    run.session.flush()


def place_second(run: Run, network: Network, first: Router, second: Router | None) -> None:
    """The other router of a pair, on another host than the first."""
    if second is None:
        second = new_router(run, network, first.service_offering_id, network_id=network.id, standby=True)
    begin_at(second, host_for_router(run, network, second, but=first.host_id))
    router_pair.add_line_end(run, network, second)


def begin_at(router: Router, host_id: str) -> None:
    router.host_id = host_id
    router.state, router.redundant_state = "Starting", "UNKNOWN"
    router.generation += 1


def _router_address(network: Network, services: dict[str, Any]) -> str | None:
    """The gateway; where that is none of ours, the address that is asked for, or any."""
    is_outside = is_gateway_by_device(services) or (network.guest_type == SHARED and "SourceNat" not in services)
    return network.router_address if is_outside else network.gateway


def _offering_of(run: Run, network: Network) -> NetworkOffering:
    """The network's offering.

    :raises StepFailed: its physical network has no new virtual routers
    """
    router = (ServiceProvider.name == VIRTUAL_ROUTER) & ServiceProvider.removed.is_(None)
    query = (
        select(NetworkOffering, ServiceProvider.state, VirtualRouterElement.enabled)
        .select_from(NetworkOffering)
        .outerjoin(ServiceProvider, (ServiceProvider.physical_network_id == network.physical_network_id) & router)
        .outerjoin(VirtualRouterElement, VirtualRouterElement.provider_id == ServiceProvider.id)
        .where(NetworkOffering.id == network.offering_id)
    )
    row = run.session.execute(query).one()
    offering: NetworkOffering = row[0]
    state, is_enabled = row[1:]
    if state == "Disabled" or is_enabled is False:
        raise StepFailed(f"Network {network.name} can have no router: the provider VirtualRouter of its physical "
                         "network, or the element of that, is disabled.", 534)  # fmt: skip
    return offering


def new_router(run: Run, network: Network | Vpc, service_offering_id: str | None, **serves: Any) -> Router:
    """`serves` is its network_id or vpc_id, and whether it is the `standby` one of two."""
    number = next_number(run.session, "router")
    router = Router(
        number=number,
        name=f"r-{number}-VM",
        **serves,
        account_id=network.account_id,
        zone_id=network.zone_id,
        service_offering_id=service_offering_id,
        live=f"{network.id}/2" if serves.get("standby") else network.id,
    )
    run.session.add(router)
    run.session.flush()
    return router


def host_for_router(run: Run, network: Network | Vpc, router: Router, *, but: str | None = None) -> str:
    """Of the hosts that are not dedicated to others and have the tags of its offering, the one with fewest routers.

    Never the host `but`, which has the other router of a pair.

    :raises StepFailed: there is none
    """
    held = func.count(Router.id)
    others = kept(run.session, network.account_id).others
    wanted = select(ServiceOffering.host_tags).filter_by(id=router.service_offering_id).scalar_subquery()
    query = (
        select(Host.id, Host.tags, wanted)
        .outerjoin(Router, (Router.host_id == Host.id) & Router.removed.is_(None))
        .where(Host.zone_id == network.zone_id, Host.removed.is_(None))
        .where(Host.state == "Up", Host.resource_state == "Enabled", *(() if but is None else (Host.id != but,)))
        .where(*(column.not_in(others) for column in (Host.id, Host.cluster_id, Host.pod_id, Host.zone_id) if others))
        .group_by(Host.id, Host.tags)
        .order_by(held, Host.id)
    )
    hosts = run.session.execute(query).all()
    tags = tags_in(hosts[0][2] or "") if hosts else set()
    host_id: str | None = next((key for key, own, _ in hosts if tags <= tags_in(own)), None)
    if host_id is None:
        zone = run.session.get_one(Zone, network.zone_id)
        kind = "Up, Enabled and not dedicated to others" if others else "Up and Enabled"
        kind += " besides that of the other router of the pair" if but is not None else ""
        kind += f" with the host tags {', '.join(sorted(tags))}" if tags else ""
        raise StepFailed(f"No host of zone {zone.name} is {kind}, so the router has no place.", 533)
    return host_id


def remove_router(run: Run) -> Outcome:
    """Take the router and devices back in the database, once no host has them, and the public address that was taken.

    Addresses that the network was given before stay.
    """
    forget_router(run)
    forget_devices(run.session, run.row.subject_id)
    if run.recall("taken") is not None:
        free_public_addresses(run.session, PublicAddress.id == run.recall("taken"), is_unused=True)
    return None


def forget_router(run: Run) -> Outcome:
    for router in router_pair.routers_of(run):
        write(run.session, delete(Nic).where(Nic.router_id == router.id))
        router.state, router.host_id = "Stopped", None
        router.remove()
    return None


def give_up_addresses(run: Run) -> Outcome:
    """The network goes: its router in the database, its rules, and its public addresses."""
    forget_router(run)
    forget_devices(run.session, run.row.subject_id)
    forget_rules(run.session, NetworkRule.network_id == run.row.subject_id)
    forget_vpns(run.session, RemoteAccessVpn.network_id == run.row.subject_id)
    free_addresses(run.session, PublicAddress.network_id == run.row.subject_id)
    return None


def start_router(run: Run) -> list[Ask]:
    return picture(run.session, run.row.subject_id).asks()


def stop_router(run: Run) -> list[Ask]:
    """Take the router off its host, or both; guests' NICs, if any, keep their part of the network, as do devices."""
    return _stop(run, set())


def take_down(run: Run) -> list[Ask]:
    """As `stop_router`, and take the network off its devices."""
    cabled = cabled_hosts(run.session, run.row.subject_id)
    if cabled:
        unplug_devices(run.session, run.row.subject_id)
    return _stop(run, cabled)


def _stop(run: Run, cabled: set[str]) -> list[Ask]:
    routers = router_pair.routers_of(run)
    if not routers and not cabled:
        return []
    hosts = set(run.session.scalars(select(Nic.host_id).filter_by(network_id=run.row.subject_id)))
    for nic in run.session.scalars(select(Nic).where(Nic.router_id.in_([router.id for router in routers]))):
        nic.host_id = None
    run.session.flush()
    leaving = {host for host in {*hosts, *cabled, *(router.host_id for router in routers)} if host}
    return picture(run.session, run.row.subject_id, leaving=leaving).asks()


def put_router_back(run: Run) -> list[Ask]:
    """The router is again where it was before `stop_router`, if it was anywhere."""
    for router in router_pair.routers_of(run):
        for nic in run.session.scalars(select(Nic).filter_by(router_id=router.id)):
            nic.host_id = router.host_id
        run.session.flush()
    return start_router(run)


def put_back(run: Run) -> list[Ask]:
    """As `put_router_back`, and the network is on its devices again."""
    plug_devices(run.session, run.row.subject_id)
    return put_router_back(run)


def mark_implemented(run: Run) -> Outcome:
    NETWORK_MOVES.move(network_of(run), "implemented")
    return mark_restarted(run)


implement_network = workflow(
    "network.implement",
    Network,
    [
        Step(begin_implementing, undo=back_to_allocated),
        Step(place_router, undo=remove_router),
        Step(start_router, undo=take_down),
        Step(mark_implemented),
    ],
    awaited=True,
)


def clean_up_router(run: Run) -> Outcome:
    """With `cleanup` the router and what devices have are taken down first and made anew; of a pair, the other one
    forwards meanwhile.
    """
    if not run.arguments.get("cleanup"):
        return None
    routers = router_pair.routers_of(run)
    return _take_off(run, routers[0]) if len(routers) > 1 else take_down(run)


def _take_off(run: Run, router: Router) -> list[Ask]:
    """One router of a pair."""
    router_pair.leave_host(run, router)
    run.session.flush()
    leaving = [router.host_id] if router.host_id else []
    return picture(run.session, run.row.subject_id, leaving=leaving).asks()


def clean_up_second(run: Run) -> Outcome:
    """With `cleanup` the second router of a pair is made anew before the first."""
    second = router_pair.second_of(run) if run.arguments.get("cleanup") else None
    return _take_off(run, second) if second is not None else None


def place_second_again(run: Run) -> Outcome:
    """The second router of a pair gets a place as `forget_place` says of the first; it waits as soon as it is there."""
    first, second = router_of(run), router_pair.second_of(run)
    network = network_of(run)
    if first is None or not run.session.get_one(NetworkOffering, network.offering_id).redundant_router:
        return None
    if not run.arguments.get("cleanup") and second is not None and _is_up(run, second):
        return None
    try:
        place_second(run, network, first, second)
    except NoAddress as error:
        raise StepFailed(str(error), error.code) from error
    run.session.flush()
    return start_router(run)


def _is_up(run: Run, router: Router) -> bool:
    host = run.session.get(Host, router.host_id) if router.host_id else None
    return host is not None and host.state == "Up"


def forget_place(run: Run) -> Outcome:
    """With `cleanup` the place is chosen anew; else the router stays where it is, unless that host is gone."""
    router = router_of(run)
    if router is None:
        return place_router(run)
    return place_router(run) if run.arguments.get("cleanup") or not _is_up(run, router) else None


def mark_restarted(run: Run) -> Outcome:
    for router in router_pair.routers_of(run):
        ROUTER_MOVES.move(router, "started")
    return None


restart_network = workflow(
    "network.restart",
    Network,
    [
        Step(clean_up_second),
        Step(place_second_again),
        Step(clean_up_router),
        Step(forget_place),
        Step(start_router, undo=start_router),
        Step(mark_restarted),
    ],
    awaited=True,
)


def begin_deleting(run: Run) -> Outcome:
    network = network_of(run)
    vm_nics = run.session.scalar(
        select(func.count()).select_from(Nic).where(Nic.network_id == network.id, Nic.vm_id.is_not(None))
    )
    if vm_nics:
        raise StepFailed(f"Network {network.name} still has {vm_nics} NICs of virtual machines; expunge those first.")
    NETWORK_MOVES.move(network, "destroy")
    return None


def keep_network(run: Run) -> Outcome:
    network = network_of(run)
    if network.state == "Destroy":
        is_served = router_of(run) is not None or bool(cabled_hosts(run.session, network.id))
        network.state = "Implemented" if is_served else "Allocated"
    return None


def mark_deleted(run: Run) -> Outcome:
    network = network_of(run)
    if network.removed is None:
        network.removed = utcnow()
        network.live = None
        write(run.session, delete(NetworkShare).where(NetworkShare.network_id == network.id))
        free_vlan(run.session, network.id)
        forget_ranges(run.session, network.id)
        limits.release(run.session, network.account_id, networks=1)
    return None


delete_network = workflow(
    "network.delete",
    Network,
    [
        Step(begin_deleting, undo=keep_network),
        Step(take_down, undo=put_back),
        Step(give_up_addresses),
        Step(mark_deleted),
    ],
    awaited=True,
)
