"""Claims for VMs of one affinity group see each other, on each database."""

from __future__ import annotations

import threading

from manager import db
from manager.models import AffinityGroup, AffinityMember, Host, Vm
from manager.placement import affinity


def test_a_claim_waits_for_the_one_before_it_and_sees_its_host(any_factory, any_engine):
    group = any_factory(AffinityGroup)
    host = any_factory(Host)
    vms = [any_factory(Vm) for _ in range(2)]
    for vm in vms:
        any_factory(AffinityMember, group_id=group.id, vm_id=vm.id)
    locked, seen = threading.Event(), []

    def second_claim() -> None:
        locked.wait(10)
        with db.transaction(any_engine) as session:
            groups = affinity.locked_groups(session, vms[1].id)
            seen.extend(bond.at for bond in affinity.bonds(session, groups, vms[1].id))

    thread = threading.Thread(target=second_claim)
    thread.start()
    with db.transaction(any_engine) as session:
        assert affinity.locked_groups(session, vms[0].id) == (group.id,)
        locked.set()
        thread.join(0.5)
        assert not seen
        session.get_one(Vm, vms[0].id).host_id = host.id
    thread.join(30)
    assert seen == [frozenset({host.id})]
