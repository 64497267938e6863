"""Other sizes, keys, passwords and root volumes of virtual machines."""

import pytest

from manager.models import (
    Network,
    ResourceLimit,
    ResourceUse,
    ServiceOffering,
    SshKeyPair,
    StoragePool,
    Template,
    Vm,
    Volume,
    WorkflowRow,
)
from tests.client import Refused
from tests.unit.api.live_cloud import run

MIB, GIB = 2**20, 2**30


@pytest.fixture
def vm(cloud) -> Vm:
    vm_id = cloud.deploy("web")
    cloud.settle()
    return cloud.get(Vm, vm_id)


@pytest.fixture
def stopped(api, cloud, user, vm) -> Vm:
    run(api, cloud, user, "stopVirtualMachine", id=vm.id)
    return cloud.get(Vm, vm.id)


def use(cloud):
    row = cloud.get(ResourceUse, cloud.account_id)
    return (row.vms, row.cpus, row.memory, row.volumes, row.primary_storage)


def volumes(cloud, factory):
    return {v for r in cloud.runners.values() if r.host.hypervisor for v in r.host.inventory().volumes}


@pytest.mark.parametrize("command", ["scaleVirtualMachine", "changeServiceForVirtualMachine"])
def test_a_stopped_vm_gets_another_size_and_it_is_counted(api, cloud, user, stopped, factory, command):
    large = factory(ServiceOffering, cpus=4, cpu_mhz=700, memory=512 * MIB)
    before = use(cloud)
    answer = api(command, user, id=stopped.id, serviceofferingid=large.id)
    if "jobid" in answer:
        answer = api("queryAsyncJobResult", user, jobid=answer["jobid"])["jobresult"]
    shown = answer["virtualmachine"]
    assert (shown["cpunumber"], shown["cpuspeed"], shown["memory"]) == (4, 700, 512)
    assert shown["serviceofferingid"] == large.id
    assert use(cloud) == (before[0], before[1] + 3, before[2] + 448 * MIB, *before[3:])
    run(api, cloud, user, "startVirtualMachine", id=stopped.id)
    run(api, cloud, user, "stopVirtualMachine", id=stopped.id)
    run(api, cloud, user, "scaleVirtualMachine", id=stopped.id, serviceofferingid=cloud.offering_id)
    assert use(cloud) == before


def test_a_size_that_does_not_fit_is_refused_and_nothing_changes(api, cloud, user, stopped, factory):
    before = use(cloud)

    def refused(text, offering, **given):
        with pytest.raises(Refused, match=text):
            api("scaleVirtualMachine", user, id=stopped.id, serviceofferingid=offering.id, **given)

    refused(r"431 .*has shared storage", factory(ServiceOffering, storage_type="shared"))
    refused(r"431 The root volume .* less than the", factory(ServiceOffering, root_disk_size=900 * GIB))
    refused(r"431 .*is custom", factory(ServiceOffering, cpus=0))
    refused(r"431 The detail color is none", factory(ServiceOffering), params={"details[0].color": "blue"})
    factory(ResourceLimit, account_id=cloud.account_id, resource="cpus", maximum=2)
    refused(r"535 .*may hold 2 CPUs", factory(ServiceOffering, cpus=3))
    assert use(cloud) == before


def test_a_running_vm_keeps_its_size(api, user, vm, factory):
    with pytest.raises(Refused, match=r"431 .* is Running; to get another service offering .*it must be Stopped"):
        api("scaleVirtualMachine", user, id=vm.id, serviceofferingid=factory(ServiceOffering).id)


def test_other_keys_and_a_new_password(api, cloud, user, stopped, factory):
    factory.change(cloud.get(Template, stopped.template_id), password_enabled=True)
    factory(SshKeyPair, name="k", public_key="ssh-ed25519 AAAA k", account_id=cloud.account_id)
    shown = run(api, cloud, user, "resetSSHKeyForVirtualMachine", id=stopped.id, keypairs="k")["virtualmachine"]
    row = cloud.get(Vm, stopped.id)
    assert (shown["keypairs"], row.public_keys) == ("k", "ssh-ed25519 AAAA k")
    assert shown["password"] == row.password
    with pytest.raises(Refused, match=r"431 The account tenant has no SSH key pair other"):
        api("resetSSHKeyForVirtualMachine", user, id=stopped.id, keypair="other")
    with pytest.raises(Refused, match=r"431 Either keypair or keypairs"):
        api("resetSSHKeyForVirtualMachine", user, id=stopped.id)
    with pytest.raises(Refused, match=r"431 A password has 6 to 128"):
        api("resetPasswordForVirtualMachine", user, id=stopped.id, password="with space")
    shown = run(api, cloud, user, "resetPasswordForVirtualMachine", id=stopped.id, password="s3cret-word")
    assert shown["virtualmachine"]["password"] == cloud.get(Vm, stopped.id).password == "s3cret-word"
    run(api, cloud, user, "startVirtualMachine", id=stopped.id)
    with pytest.raises(Refused, match=r"431 .* is Running; to get another password it must be Stopped"):
        api("resetPasswordForVirtualMachine", user, id=stopped.id)
    with pytest.raises(Refused, match=r"431 .* is Running; to get other key pairs it must be Stopped"):
        api("resetSSHKeyForVirtualMachine", user, id=stopped.id, keypair="k")


def test_a_running_vm_is_restored_and_runs_again(api, cloud, user, vm, factory):
    factory.change(cloud.get(Template, vm.template_id), password_enabled=True)
    old = factory.first(Volume, vm_id=vm.id)
    before = use(cloud)
    shown = run(api, cloud, user, "restoreVirtualMachine", virtualmachineid=vm.id)["virtualmachine"]
    assert (shown["state"], cloud.domains()) == ("Running", {vm.id: "running"})
    assert shown["password"] == cloud.get(Vm, vm.id).password
    new = factory.first(Volume, vm_id=vm.id, removed=None)
    assert (new.id != old.id, new.name, new.size, new.state) == (True, old.name, old.size, "Ready")
    assert volumes(cloud, factory) == {new.id}
    assert use(cloud) == before
    assert sum(pool.allocated for pool in (cloud.get(StoragePool, new.pool_id),)) == new.size


def test_a_stopped_vm_is_restored_of_another_template_and_size(api, cloud, user, stopped, factory):
    old = factory.first(Volume, vm_id=stopped.id)
    present = cloud.get(Template, stopped.template_id)
    other = factory(
        Template, account_id=cloud.account_id, zone_id=cloud.zone_id, state="Ready", hypervisor="Simulator",
        size=3 * GIB, image_store_id=present.image_store_id,
    )  # fmt: skip
    before = use(cloud)
    given = {"virtualmachineid": stopped.id, "templateid": other.id}
    shown = run(api, cloud, user, "restoreVirtualMachine", **given)["virtualmachine"]
    assert (shown["state"], shown["templateid"]) == ("Stopped", other.id)
    new = factory.first(Volume, vm_id=stopped.id, removed=None)
    assert (new.size, new.state, new.template_id) == (3 * GIB, "Allocated", other.id)
    assert use(cloud) == (*before[:4], before[4] + 3 * GIB - old.size)
    assert volumes(cloud, factory) == set()
    run(api, cloud, user, "restoreVirtualMachine", virtualmachineid=stopped.id, templateid=present.id, rootdisksize=1)
    assert use(cloud) == before


def test_what_cannot_be_restored(api, cloud, user, vm, factory):
    row = {"account_id": cloud.account_id, "zone_id": cloud.zone_id, "state": "Ready"}
    foreign = factory(Template, hypervisor="KVM", **row)
    with pytest.raises(Refused, match=r"431 The template .* is for KVM, not for Simulator"):
        api("restoreVirtualMachine", user, virtualmachineid=vm.id, templateid=foreign.id)
    raw = factory(Template, **{**row, "state": "Registering"})
    with pytest.raises(Refused, match=r"431 .* is Registering, not Ready"):
        api("restoreVirtualMachine", user, virtualmachineid=vm.id, templateid=raw.id)
    factory(ResourceLimit, account_id=cloud.account_id, resource="primary_storage", maximum=2)
    with pytest.raises(Refused, match=r"535 .*GiB of primary storage"):
        api("restoreVirtualMachine", user, virtualmachineid=vm.id, rootdisksize=9)
    run(api, cloud, user, "destroyVirtualMachine", id=vm.id)
    with pytest.raises(Refused, match=r"431 .* is Destroyed; to be restored"):
        api("restoreVirtualMachine", virtualmachineid=vm.id)
    assert factory.first(Network, id=cloud.network_id).state == "Implemented"
    assert factory.first(WorkflowRow, command="destroyVirtualMachine").status == "done"
