"""Workflows of VPCs and their tiers: they unwind from every step, and survive kills and doubled messages."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from manager.celery_app import app
from manager.db import transaction
from manager.models import (
    Account,
    Network,
    NetworkOffering,
    PhysicalNetwork,
    PublicAddress,
    ResourceUse,
    Router,
    Vpc,
    VpcOffering,
    new_id,
)
from manager.placement import limits
from manager.placement.tunnel_key import take_key
from manager.workflows import engine, tier, vpc
from manager.workflows.engine import WORKFLOWS
from tests.unit.workflows.cloud import Cloud, Killed
from tests.unit.workflows.test_laws import EMPTY, breaking

CREATE, RESTART, REMOVE = (len(job.steps) for job in (vpc.create_vpc, vpc.restart_vpc, vpc.delete_vpc))
IMPLEMENT, DELETE = len(tier.implement_tier.steps), len(tier.delete_tier.steps)
AFTER = pytest.mark.parametrize("after", [False, True])


@pytest.fixture
def cloud(engine, tmp_path) -> Cloud:
    """On SQLite alone."""
    app.cache_clear()
    return Cloud(tmp_path)


@pytest.fixture
def any_cloud(any_engine, tmp_path) -> Cloud:
    app.cache_clear()
    return Cloud(tmp_path)


def make_vpc(cloud: Cloud, *, redundant: bool = False) -> str:
    with transaction() as s:
        limits.claim(s, s.get_one(Account, cloud.account_id), vpcs=1)
        offering = s.scalars(
            select(VpcOffering).filter_by(name="Redundant VPC offering" if redundant else "Default VPC offering")
        ).one()
        made = Vpc(name="shop", display_text="shop", account_id=cloud.account_id, zone_id=cloud.zone_id,
                   offering_id=offering.id, cidr="10.0.0.0/16", network_domain="shop.example",
                   redundant=redundant)  # fmt: skip
        s.add(made)
        s.flush()
        vpc.create_vpc.start(s, made)
        return made.id


def make_tier(cloud: Cloud, vpc_id: str, number: int) -> str:
    with transaction() as s:
        limits.claim(s, s.get_one(Account, cloud.account_id), networks=1)
        network_id, physical = new_id(), s.get_one(PhysicalNetwork, cloud.physical_id)
        named = "DefaultIsolatedNetworkOfferingForVpcNetworks"
        offering = s.scalars(select(NetworkOffering).filter_by(name=named)).one()
        s.add(Network(
            id=network_id, name=f"tier{number}", display_text="", account_id=cloud.account_id, zone_id=cloud.zone_id,
            offering_id=offering.id, physical_network_id=physical.id, vpc_id=vpc_id,
            key=take_key(s, physical, network_id), cidr=f"10.0.{number}.0/24", gateway=f"10.0.{number}.1",
            netmask="255.255.255.0", network_domain="shop.example",
        ))  # fmt: skip
    return network_id


def run(cloud: Cloud, job: engine.Workflow, subject_id: str, **arguments) -> None:
    with transaction() as s:
        job.start(s, s.get_one(job.subject, subject_id), **arguments)


@pytest.fixture
def shop(cloud):
    """A cloud, a VPC of it with two tiers and a guest in each: (cloud, VPC, tiers, VMs)."""
    vpc_id = make_vpc(cloud)
    cloud.settle()
    tiers = [make_tier(cloud, vpc_id, number) for number in (1, 2)]
    vms = [cloud.deploy(f"vm{number}", network_id) for number, network_id in enumerate(tiers)]
    cloud.settle()
    return cloud, vpc_id, tiers, vms


def specs_of(cloud):
    return [spec for runner in cloud.runners.values() if runner.host.routers
            for spec in runner.host.routers.specs.values()]  # fmt: skip


def is_whole(cloud, vpc_id: str, legs: int) -> bool:
    """Whether just one host runs the router, with that many legs, where the database has it."""
    (spec,) = specs_of(cloud)
    with transaction() as s:
        router = s.scalars(select(Router).filter_by(vpc_id=vpc_id, removed=None)).one()
        state, host_id = router.state, router.host_id
    (host,) = [r.host.id for r in cloud.runners.values() if r.host.routers and r.host.routers.specs]
    right = all(leg.nic.host_id == host for leg in spec.legs)
    return (state, host_id, len(spec.legs), right) == ("Running", host, legs, True)


def clear_all(cloud, vpc_id: str, tiers, vms) -> None:
    for vm_id in vms:
        cloud.destroy(vm_id)
    cloud.settle()
    for network_id in tiers:
        run(cloud, tier.delete_tier, network_id)
    cloud.settle()
    run(cloud, vpc.delete_vpc, vpc_id)
    cloud.delete_network()
    cloud.settle()
    assert cloud.leftovers() == EMPTY
    assert cloud.get(ResourceUse, cloud.account_id).vpcs == 0
    with transaction() as s:
        assert s.scalars(select(PublicAddress).where(PublicAddress.account_id.is_not(None))).all() == []


@AFTER
@pytest.mark.parametrize("position", range(CREATE))
def test_a_vpc_that_cannot_be_made_leaves_nothing(cloud, monkeypatch, position, after):
    monkeypatch.setitem(WORKFLOWS, "vpc.create", breaking(WORKFLOWS["vpc.create"], position, after=after))
    vpc_id = make_vpc(cloud)
    cloud.settle(times=2)
    assert cloud.get(Vpc, vpc_id).removed is not None
    assert specs_of(cloud) == []
    cloud.delete_network()
    cloud.settle()
    assert cloud.leftovers() == EMPTY
    assert cloud.get(ResourceUse, cloud.account_id).vpcs == 0


@AFTER
@pytest.mark.parametrize("position", range(IMPLEMENT))
def test_a_tier_that_cannot_be_implemented_leaves_the_others(shop, monkeypatch, position, after):
    cloud, vpc_id, tiers, vms = shop
    third = make_tier(cloud, vpc_id, 3)
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "tier.implement", breaking(WORKFLOWS["tier.implement"], position, after=after))
        vm = cloud.deploy("third", third)
        cloud.settle(times=2)
    assert cloud.get(Network, third).state == "Allocated"
    assert is_whole(cloud, vpc_id, legs=2)
    clear_all(cloud, vpc_id, [*tiers, third], [*vms, vm])


@AFTER
@pytest.mark.parametrize("position", range(DELETE - 1))
def test_a_tier_that_cannot_be_deleted_stays(shop, monkeypatch, position, after):
    cloud, vpc_id, tiers, vms = shop
    cloud.destroy(vms[0])
    cloud.settle()
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "tier.delete", breaking(WORKFLOWS["tier.delete"], position, after=after))
        run(cloud, WORKFLOWS["tier.delete"], tiers[0])
        cloud.settle(times=2)
    network = cloud.get(Network, tiers[0])
    assert (network.removed, network.state) == (None, "Implemented" if position < DELETE - 2 else network.state)
    clear_all(cloud, vpc_id, tiers, vms[1:])


@AFTER
@pytest.mark.parametrize("cleanup", [False, True])
@pytest.mark.parametrize("position", range(RESTART))
def test_a_restart_that_fails_leaves_the_router_running(shop, monkeypatch, position, cleanup, after):
    cloud, vpc_id, tiers, vms = shop
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "vpc.restart", breaking(WORKFLOWS["vpc.restart"], position, after=after))
        run(cloud, WORKFLOWS["vpc.restart"], vpc_id, cleanup=cleanup)
        cloud.settle(times=2)
    assert is_whole(cloud, vpc_id, legs=2)
    clear_all(cloud, vpc_id, tiers, vms)


@AFTER
@pytest.mark.parametrize("position", range(REMOVE - 1))
def test_a_vpc_that_cannot_be_deleted_stays_whole(cloud, monkeypatch, position, after):
    vpc_id = make_vpc(cloud)
    cloud.settle()
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "vpc.delete", breaking(WORKFLOWS["vpc.delete"], position, after=after))
        run(cloud, WORKFLOWS["vpc.delete"], vpc_id)
        cloud.settle(times=2)
    assert cloud.get(Vpc, vpc_id).state == "Enabled"
    assert is_whole(cloud, vpc_id, legs=0)
    clear_all(cloud, vpc_id, [], [])


def test_it_survives_kills_half_way_and_messages_that_come_twice_in_any_order(any_cloud, monkeypatch):
    cloud = any_cloud
    advance, calls = engine.advance, iter(range(10_000))

    def killed(workflow_id: str) -> None:
        advance(workflow_id)
        if next(calls) % 2 == 0:
            raise Killed

    monkeypatch.setattr(engine, "advance", killed)
    vpc_id = make_vpc(cloud)
    cloud.settle_killed()
    monkeypatch.setattr(engine, "advance", advance)
    tiers = [make_tier(cloud, vpc_id, number) for number in (1, 2, 3)]
    vms = [cloud.deploy(f"vm{number}", network_id) for number, network_id in enumerate(tiers)]
    cloud.settle(times=2, shuffle=True, lose=0.2)
    assert is_whole(cloud, vpc_id, legs=3)
    run(cloud, vpc.restart_vpc, vpc_id, cleanup=True)
    vms.append(cloud.deploy("late", tiers[0]))
    cloud.settle(times=2, shuffle=True, lose=0.2)
    assert is_whole(cloud, vpc_id, legs=3)
    assert cloud.leftovers()["drift"] == []
    clear_all(cloud, vpc_id, tiers, vms)


def test_the_router_moves_off_a_host_that_goes_into_maintenance(shop):
    from manager.models import Host
    from manager.workflows.maintenance import maintain_host, reconnect_host

    cloud, vpc_id, _tiers, _vms = shop
    (before,) = [spec.legs[0].nic.host_id for spec in specs_of(cloud)]
    run(cloud, reconnect_host, before)
    cloud.settle()
    run(cloud, maintain_host, before)
    cloud.settle()
    assert cloud.get(Host, before).resource_state == "Maintenance"
    assert is_whole(cloud, vpc_id, legs=2)
    (after,) = {leg.nic.host_id for leg in specs_of(cloud)[0].legs}
    assert after != before
