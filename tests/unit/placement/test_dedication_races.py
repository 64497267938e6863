"""A host that is dedicated while a VM is being placed there takes it only where the dedication is for its account."""

from __future__ import annotations

import threading

import pytest

from manager import db
from manager.models import Account, Cluster, Dedication, Host, Pod, StoragePool, Vm, Zone, new_id
from manager.placement import host as placement
from tests.client import Refused

MIB = 2**20


@pytest.fixture
def host(any_factory):
    """One that is empty, with a pool of its own."""
    cluster = any_factory(Cluster)
    made = any_factory(
        Host, zone_id=cluster.zone_id, pod_id=cluster.pod_id, cluster_id=cluster.id, cpus=4, cpu_mhz=1000, memory=2**30
    )
    any_factory(StoragePool, zone_id=made.zone_id, host_id=made.id, state="Up", capacity=2**30)
    return made


@pytest.fixture
def owner(any_factory):
    return any_factory.account("owner", any_factory.domain("west"))


def need_of(host: Host, owner: Account, disk: int = MIB) -> placement.Need:
    return placement.Need(host.zone_id, "Simulator", 1, 500, 64 * MIB, disk=disk, account_id=owner.id)


def dedication(kind: type, thing_id: str, domain_id: str, account_id: str | None = None) -> Dedication:
    return Dedication(
        id=new_id(), resource_id=thing_id, resource_type=kind.__name__, domain_id=domain_id, account_id=account_id
    )


def test_what_is_dedicated_after_the_judgement_is_not_claimed(any_factory, any_engine, host, owner):
    places = {Zone: host.zone_id, Pod: host.pod_id, Cluster: host.cluster_id, Host: host.id}
    east, beside = any_factory.domain("east"), any_factory.account("beside")
    own = [(owner.domain_id, None), (any_factory.root.id, None), (owner.domain_id, owner.id)]
    others = [(east.id, None), (owner.domain_id, beside.id)]
    for kind, thing_id in places.items():
        for domain_id, account_id in own + others:
            with db.transaction(any_engine) as session:
                need = need_of(host, owner)
                (verdict,) = placement.judge(session, need)
                assert verdict.fits
                session.add(dedication(kind, thing_id, domain_id, account_id))
                session.flush()
                assert placement.claim(session, need, verdict) is ((domain_id, account_id) in own)
                assert placement.confirm(session, need, verdict) is ((domain_id, account_id) in own)
                assert placement.confirm(session, need_of(host, owner, 0), verdict) is ((domain_id, account_id) in own)
                session.rollback()


def test_a_claim_that_waits_for_a_dedication_sees_it(any_factory, any_engine, host, owner):
    """The dedication holds the host's row until it is committed."""
    found: list[bool] = []
    begun = threading.Event()

    def place() -> None:
        with db.transaction(any_engine) as session:
            need = need_of(host, owner)
            begun.set()
            found.append(placement.claim(session, need, verdict) and placement.confirm(session, need, verdict))

    with db.transaction(any_engine) as session:
        (verdict,) = placement.judge(session, need_of(host, owner))
    east = any_factory.domain("east")
    with db.transaction(any_engine) as session:
        session.get_one(Host, host.id, with_for_update=True)
        thread = threading.Thread(target=place)
        thread.start()
        begun.wait(10)
        thread.join(0.5)
        assert not found
        session.add(dedication(Host, host.id, east.id))
    thread.join(30)
    assert found == [False]


def test_a_dedication_waits_for_a_claim_and_sees_its_vm(any_factory, any_engine, any_api, host, owner):
    said: list[str] = []
    vm = any_factory(Vm, account_id=owner.id, zone_id=host.zone_id)
    east = any_factory.domain("east")

    def dedicate() -> None:
        try:
            any_api("dedicateZone", zoneid=host.zone_id, domainid=east.id)
        except Refused as refused:
            said.append(refused.text)

    with db.transaction(any_engine) as session:
        need = need_of(host, owner)
        (verdict,) = placement.judge(session, need)
        assert placement.claim(session, need, verdict)
        assert placement.confirm(session, need, verdict)
        thread = threading.Thread(target=dedicate)
        thread.start()
        thread.join(0.5)
        session.get_one(Vm, vm.id).host_id = host.id
    thread.join(30)
    assert [vm.id in text for text in said] == [True]
