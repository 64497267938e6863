"""Redundant routers of a VPC: two on two hosts with one wanted state, through every step that fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from agents.contract import ApplyRouter
from manager.db import transaction
from manager.models import Host, Router, Vpc
from manager.workflows import vpc, vpc_router
from manager.workflows.engine import WORKFLOWS
from manager.workflows.maintenance import maintain_host, reconnect_host
from network.redundancy import FIRST
from network.vpn import Tunnel, Vpn
from tests.unit.workflows.test_laws import breaking
from tests.unit.workflows.test_vpc import clear_all, cloud, make_tier, make_vpc, run  # noqa: F401 - cloud is a fixture

RESTART = len(vpc.restart_vpc.steps)


@pytest.fixture
def pair(cloud):  # noqa: F811 - pytest gives the fixture of that name
    """A cloud, a redundant VPC of it with two tiers and a guest in each: (cloud, VPC, tiers, VMs)."""
    return furnished(cloud, make_vpc(cloud, redundant=True))


def furnished(of, vpc_id):
    of.settle()
    tiers = [make_tier(of, vpc_id, number) for number in (1, 2)]
    vms = [of.deploy(f"vm{number}", network_id) for number, network_id in enumerate(tiers)]
    of.settle()
    return of, vpc_id, tiers, vms


def hosts_of(of):
    """By the id of the host: what its routers are wanted to be, and the views that it holds."""
    return {
        runner.host.id: (list(runner.host.routers.specs.values()), runner.host.views())
        for runner in of.runners.values()
        if runner.host.routers and runner.host.routers.specs
    }


def is_pair(of, vpc_id, legs=2) -> bool:
    """Whether two hosts run it, each with all legs as its own and its half of the line, as the database has it."""
    with transaction() as s:
        rows = s.scalars(select(Router).filter_by(vpc_id=vpc_id, removed=None).order_by(Router.standby)).all()
        wanted = {row.host_id: (row.id, row.state) for row in rows}
    found = hosts_of(of)
    if len(wanted) != 2 or found.keys() != wanted.keys():
        return False
    for host_id, (specs, views) in found.items():
        (spec,) = specs
        other = next(key for key in wanted if key != host_id)
        gateways = [nic for view in views for nic in view.nics if nic.role == "router"]
        right = (spec.id, "Running") == wanted[host_id] and len(spec.legs) == len(gateways) == legs
        right = right and {leg.nic.host_id for leg in spec.legs} | {spec.pair.nic.host_id} == {host_id}
        right = right and all((nic.host_id, nic.also_on) == (host_id, (other,)) for nic in gateways)
        (line,) = [view for view in views if view.id == vpc_id]
        if not right or {end.host_id for end in line.pair} != wanted.keys():
            return False
    return True


def test_a_redundant_vpc_has_two_routers_with_one_state(pair):
    of, vpc_id, tiers, vms = pair
    assert is_pair(of, vpc_id)
    first, second = (specs[0] for specs, _ in hosts_of(of).values())
    assert (first.public, first.inside, first.routes) == (second.public, second.inside, second.routes)
    assert (first.pair.nic, first.pair.peer) == (second.pair.peer, second.pair.nic)
    assert of.leftovers()["drift"] == []
    clear_all(of, vpc_id, tiers, vms)


def test_the_one_that_forwards_tells_of_tunnels(pair):
    of, _, _, _ = pair
    policy = "aes256-sha256;modp2048"
    sides = ("203.0.113.9", ("10.0.0.0/16",), ("10.8.0.0/24",))
    told = []
    for runner in of.runners.values():
        if runner.host.routers and runner.host.routers.specs:
            (spec,) = runner.host.routers.specs.values()
            tunnel = Tunnel("s2s", spec.public.address, *sides, "agreed", policy, policy)
            found = replace(spec, vpn=Vpn(tunnels=(tunnel,)), generation=spec.generation + 1)
            runner.host.hold_router(ApplyRouter(found.id, found))
            told.append((spec.pair.priority == FIRST, len(runner.host.inventory().tunnels)))
    assert sorted(told) == [(False, 0), (True, 1)]


@pytest.mark.parametrize("position", range(RESTART))
def test_a_restart_that_fails_leaves_one_that_forwards(pair, monkeypatch, position):
    of, vpc_id, tiers, vms = pair
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "vpc.restart", breaking(WORKFLOWS["vpc.restart"], position, after=True))
        run(of, WORKFLOWS["vpc.restart"], vpc_id, cleanup=True)
        of.settle(times=2)
    assert len(hosts_of(of)) >= 1
    assert all(spec.legs for specs, _ in hosts_of(of).values() for spec in specs)
    run(of, vpc.restart_vpc, vpc_id)
    of.settle()
    assert is_pair(of, vpc_id)
    clear_all(of, vpc_id, tiers, vms)


@pytest.mark.parametrize("standby", [False, True])
@pytest.mark.parametrize(("name", "position"), [
    *(("vpc.router.stop", position) for position in range(len(vpc_router.stop_vpc_router.steps) - 1)),
    *(("vpc.router.start", position) for position in range(len(vpc_router.start_vpc_router.steps))),
])  # fmt: skip
def test_one_that_is_stopped_or_started_alone_leaves_the_other(pair, monkeypatch, name, position, standby):
    of, vpc_id, tiers, vms = pair
    with transaction() as s:
        router = s.scalars(select(Router).filter_by(vpc_id=vpc_id, standby=standby)).one().id
    if name == "vpc.router.start":
        run(of, vpc_router.stop_vpc_router, vpc_id, router_id=router)
        of.settle()
        assert len(hosts_of(of)) == 1
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, name, breaking(WORKFLOWS[name], position, after=True))
        run(of, WORKFLOWS[name], vpc_id, router_id=router)
        of.settle(times=2)
    assert is_pair(of, vpc_id) is (name == "vpc.router.stop")
    assert of.get(Router, router).state == ("Running" if name == "vpc.router.stop" else "Stopped")
    assert of.leftovers()["drift"] == []
    run(of, vpc_router.start_vpc_router, vpc_id, router_id=router)
    of.settle()
    assert is_pair(of, vpc_id)
    clear_all(of, vpc_id, tiers, vms)


def test_one_forwards_at_every_moment_while_both_are_made_anew(pair):
    of, vpc_id, tiers, vms = pair
    run(of, vpc.restart_vpc, vpc_id, cleanup=True)
    seen = set()
    for _ in range(200):
        batch = of.take_messages()
        for message in batch:
            of.handle(*message)
            seen.add(len(hosts_of(of)))
        if not batch and not of.open_workflows():
            break
        if not batch:
            of.pass_time()
    assert seen == {1, 2}
    assert is_pair(of, vpc_id)
    clear_all(of, vpc_id, tiers, vms)


@pytest.mark.parametrize("position", [None, 2, 4, RESTART - 1])
def test_a_vpc_of_one_router_gets_a_second(cloud, monkeypatch, position):  # noqa: F811 - as above
    of, vpc_id, tiers, vms = furnished(cloud, make_vpc(cloud))
    with monkeypatch.context() as patch:
        if position is not None:
            patch.setitem(WORKFLOWS, "vpc.restart", breaking(WORKFLOWS["vpc.restart"], position, after=True))
        run(of, WORKFLOWS["vpc.restart"], vpc_id, make_redundant=True)
        of.settle(times=2)
    assert is_pair(of, vpc_id) is (position is None)
    assert of.get(Vpc, vpc_id).redundant is (position is None)
    if position is not None:
        ((specs, views),) = hosts_of(of).values()
        assert specs[0].pair is None
        assert vpc_id not in {view.id for view in views}
    clear_all(of, vpc_id, tiers, vms)


def test_a_host_that_returns_is_told_alone_and_one_in_maintenance_keeps_no_half_that_can_go(pair):
    of, vpc_id, tiers, vms = pair
    assert is_pair(of, vpc_id)
    with transaction() as s:
        standby = s.scalars(select(Router).filter_by(vpc_id=vpc_id, standby=True)).one().host_id
    run(of, reconnect_host, standby)
    of.settle()
    assert is_pair(of, vpc_id)
    run(of, maintain_host, standby)
    of.settle()
    assert of.get(Host, standby).resource_state == "Maintenance"
    ((host_id, (specs, _)),) = hosts_of(of).items()
    assert (host_id != standby, len(specs[0].legs)) == (True, 2), "there is no third host, so the first is alone"
    clear_all(of, vpc_id, tiers, vms)
