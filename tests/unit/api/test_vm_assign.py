"""assignVirtualMachine: what goes along, what is counted, and what is refused."""

import pytest

from manager.models import (
    AffinityGroup,
    AffinityMember,
    InstanceGroup,
    Network,
    Nic,
    Project,
    ResourceLimit,
    ResourceUse,
    Vm,
    Volume,
)
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import run


@pytest.fixture
def vm(api, cloud, user) -> Vm:
    vm_id = cloud.deploy("web")
    cloud.settle()
    run(api, cloud, user, "stopVirtualMachine", id=vm_id)
    return cloud.get(Vm, vm_id)


@pytest.fixture
def heir(factory, cloud):
    """Another account with a network of its own in the zone."""
    account = factory.account("heir")
    factory.user("heir", account)
    present = factory.first(Network, id=cloud.network_id)
    factory(
        Network, name="theirs", account_id=account.id, zone_id=cloud.zone_id, offering_id=present.offering_id,
        physical_network_id=present.physical_network_id, state="Allocated",
    )  # fmt: skip
    return Caller.of(factory.engine, "heir")


def use(cloud, account_id):
    row = cloud.get(ResourceUse, account_id)
    return (row.vms, row.cpus, row.memory, row.volumes, row.primary_storage)


def test_a_vm_is_handed_over_with_its_counts(api, cloud, user, vm, heir, factory):
    group = factory(AffinityGroup, account_id=cloud.account_id)
    factory(AffinityMember, group_id=group.id, vm_id=vm.id)
    factory.change(vm, group_id=factory(InstanceGroup, account_id=cloud.account_id).id)
    held = use(cloud, cloud.account_id)
    given = {"virtualmachineid": vm.id, "account": "heir", "domainid": factory.root.id}
    shown = api("assignVirtualMachine", **given)["virtualmachine"]
    assert (shown["account"], shown["affinitygroup"], "group" in shown) == ("heir", [], False)
    assert [nic["networkname"] for nic in shown["nic"]] == ["theirs"]
    assert (use(cloud, heir.account.id), use(cloud, cloud.account_id)) == (held, (0, 0, 0, 0, 0))
    assert factory.first(Volume, vm_id=vm.id).account_id == heir.account.id
    assert api("listVirtualMachines", user) == {}
    assert api("listVolumes", heir)["count"] == 1
    run(api, cloud, heir, "startVirtualMachine", id=vm.id)
    assert cloud.domains() == {vm.id: "running"}
    with pytest.raises(Refused, match=r"431 .* is the account heir's already"):
        api("assignVirtualMachine", **given)


def test_what_is_refused_changes_nothing(api, cloud, user, vm, heir, factory):
    given = {"virtualmachineid": vm.id, "account": "heir", "domainid": factory.root.id}
    with pytest.raises(Refused, match=r"432"):
        api("assignVirtualMachine", user, **given)
    with pytest.raises(Refused, match=r"431 .*missing parameter account"):
        api("assignVirtualMachine", virtualmachineid=vm.id)
    with pytest.raises(Refused, match=r"531 The network net1 .* is not the account heir's"):
        api("assignVirtualMachine", networkids=cloud.network_id, **given)
    factory(Vm, name="web", account_id=heir.account.id, live=f"{heir.account.id}/web")
    with pytest.raises(Refused, match=r"431 The account heir has a virtual machine web already"):
        api("assignVirtualMachine", **given)
    factory(ResourceLimit, account_id=heir.account.id, resource="cpus", maximum=0)
    with pytest.raises(Refused, match=r"535 .*may hold 0 CPUs"):
        api("assignVirtualMachine", **given)
    assert factory.first(Nic, vm_id=vm.id).network_id == cloud.network_id
    run(api, cloud, user, "startVirtualMachine", id=vm.id)
    with pytest.raises(Refused, match=r"431 .* is Running; to be handed to another account it must be Stopped"):
        api("assignVirtualMachine", **given)


def test_a_vm_is_handed_to_a_project(api, cloud, user, vm, factory):
    project = factory(Project, account_id=factory.account("web", type=5).id, domain_id=factory.root.id, name="web")
    present = factory.first(Network, id=cloud.network_id)
    network = factory(
        Network, account_id=project.account_id, zone_id=cloud.zone_id, offering_id=present.offering_id,
        physical_network_id=present.physical_network_id, state="Allocated",
    )  # fmt: skip
    with pytest.raises(Refused, match=r"431 Account and projectId can't be specified together"):
        api("assignVirtualMachine", virtualmachineid=vm.id, projectid=project.id, account="web")
    shown = api("assignVirtualMachine", virtualmachineid=vm.id, projectid=project.id)["virtualmachine"]
    assert (shown["projectid"], shown["project"], shown["nic"][0]["networkid"]) == (project.id, "web", network.id)
    assert "account" not in shown
    assert api("listVirtualMachines", user) == {}
    factory.change(project, state="Suspended")
    with pytest.raises(Refused, match=r"Suspended|suspended"):
        api("assignVirtualMachine", virtualmachineid=vm.id, projectid=project.id)
