"""Restoring unwinds from every step: the VM is Running or Stopped, and what is counted is what is there.

Not among them: an agent that has stopped the guest and says that it could not; only its next report refutes that.
"""

from __future__ import annotations

import pytest

from manager.db import transaction
from manager.models import StoragePool, Vm, Volume
from manager.workflows.engine import WORKFLOWS, select
from manager.workflows.vm import restore_vm
from tests.unit.workflows.cloud import GIB
from tests.unit.workflows.test_laws import EMPTY, breaking, clear_all

STEPS = len(WORKFLOWS["vm.restore"].steps)


def restore(cloud, vm_id):
    with transaction() as session:
        vm = session.get_one(Vm, vm_id)
        root = session.scalars(select(Volume).filter_by(vm_id=vm_id, removed=None)).one()
        sizes = {"size": root.size, "old_size": root.size}
        restore_vm.start(session, vm, template_id=vm.template_id, forced=True, **sizes)


STOP_DOMAIN = 2
CASES = [(position, after) for position in range(STEPS) for after in (False, True)]


@pytest.mark.parametrize(("position", "after"), [case for case in CASES if case != (STOP_DOMAIN, True)])
def test_a_restore_unwinds_from_every_step(cloud, monkeypatch, position, after):
    vm_id = cloud.deploy()
    cloud.settle()
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "vm.restore", breaking(WORKFLOWS["vm.restore"], position, after=after))
        restore(cloud, vm_id)
        cloud.settle(times=2)
    vm = cloud.get(Vm, vm_id)
    stayed = position <= STOP_DOMAIN
    assert (vm.state, cloud.domains()) == (("Running", {vm_id: "running"}) if stayed else ("Stopped", {}))
    assert stayed or vm.reason == "planted"
    with transaction() as session:
        held = session.scalars(select(StoragePool.allocated)).all()
        roots = session.scalars(select(Volume).filter_by(vm_id=vm_id, removed=None)).all()
    assert len(roots) == 1
    assert sum(held) == sum(root.size for root in roots if root.pool_id)
    if vm.state == "Stopped":
        cloud.start(vm_id)
        cloud.settle()
    assert cloud.domains() == {vm_id: "running"}
    clear_all(cloud, vm_id)
    assert cloud.leftovers() == EMPTY


def test_a_restore_does_not_mind_lost_and_doubled_messages(cloud):
    vm_id = cloud.deploy()
    cloud.settle()
    restore(cloud, vm_id)
    cloud.settle(2, shuffle=True, lose=0.3)
    assert cloud.domains() == {vm_id: "running"}
    assert len(cloud.leftovers()["volumes"]) == 1
    assert cloud.leftovers()["pool claims"] == GIB
    clear_all(cloud, vm_id)
    assert cloud.leftovers() == EMPTY
