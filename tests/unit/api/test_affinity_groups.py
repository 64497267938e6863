"""Affinity groups through the API: who is in them, where their virtual machines land, and why not elsewhere."""

import pytest

from manager.models import AffinityGroup, Host, Vm
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import run


def group(api, cloud, user, kind, name="g"):
    return run(api, cloud, user, "createAffinityGroup", name=name, type=kind)["affinitygroup"]["id"]


def host_of(cloud, job):
    return cloud.get(Vm, job["id"]).host_id


def test_create_list_delete(api, tenant, factory):
    answer = api("createAffinityGroup", tenant, name="apart", type="Host Anti-Affinity", description="d")
    assert set(answer) == {"jobid", "id"}
    (made,) = api("listAffinityGroups", tenant)["affinitygroup"]
    assert (made["id"], made["name"], made["type"]) == (answer["id"], "apart", "host anti-affinity")
    assert (made["description"], made["account"], made["virtualmachineIds"]) == ("d", "tenant", [])
    with pytest.raises(Refused, match=r"431 The account tenant has an affinity group APART already"):
        api("createAffinityGroup", tenant, name="APART", type="host affinity")
    with pytest.raises(Refused, match=r"431 .*type"):
        api("createAffinityGroup", tenant, name="x", type="beside")
    with pytest.raises(Refused, match=r"431 .*missing parameter id"):
        api("deleteAffinityGroup", tenant)
    factory.user("stranger")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("deleteAffinityGroup", Caller.of(factory.engine, "stranger"), id=made["id"])
    api("deleteAffinityGroup", tenant, name="apart")
    assert api("listAffinityGroups", tenant) == {}


def test_types(api, tenant):
    listed = api("listAffinityGroupTypes", tenant)
    assert listed["count"] == 4
    assert {"type": "non-strict host affinity"} in listed["affinityGroupType"]
    assert api("listAffinityGroupTypes", tenant, keyword="anti")["count"] == 2


def test_vms_apart_never_share_a_host(api, cloud, user, wanted):
    made = group(api, cloud, user, "host anti-affinity")
    jobs = [api("deployVirtualMachine", user, affinitygroupids=made, **wanted) for _ in range(3)]
    cloud.settle()
    assert {host_of(cloud, job) for job in jobs} == {*cloud.hosts, None}
    (failed,) = [job for job in jobs if host_of(cloud, job) is None]
    told = api("queryAsyncJobResult", user, jobid=failed["jobid"])["jobresult"]
    assert told["errorcode"] == 533
    assert "2 of 2 hosts: it runs another virtual machine of the anti-affinity group g" in told["errortext"]
    shown = api("listVirtualMachines", user, id=jobs[0]["id"])["virtualmachine"][0]
    assert [one["name"] for one in shown["affinitygroup"]] == ["g"]
    assert len(api("listAffinityGroups", user)["affinitygroup"][0]["virtualmachineIds"]) == 3
    assert api("listAffinityGroups", user, virtualmachineid=jobs[0]["id"])["count"] == 1
    assert api("listVirtualMachines", user, affinitygroupid=made)["count"] == 3
    assert api("listVirtualMachines", user, details="min")["virtualmachine"][0]["affinitygroup"] == []


def test_vms_together_share_a_host_although_others_are_emptier(api, cloud, user, wanted, factory):
    group(api, cloud, user, "host affinity")
    first = api("deployVirtualMachine", user, affinitygroupnames="g", **wanted)
    cloud.settle()
    factory.change(cloud.get(Host, host_of(cloud, first)), memory_used=32 * 2**30)
    second = api("deployVirtualMachine", user, affinitygroupnames="g", **wanted)
    cloud.settle()
    assert host_of(cloud, second) == host_of(cloud, first)
    rows = api("explainPlacement", user, virtualmachineid=second["id"])["placement"]
    assert [row["fits"] for row in rows] == [True, False]


def test_a_stopped_vm_keeps_its_group_where_its_disk_is(api, cloud, user, wanted):
    made = group(api, cloud, user, "host affinity")
    first = api("deployVirtualMachine", user, affinitygroupids=made, **wanted)
    cloud.settle()
    place = host_of(cloud, first)
    run(api, cloud, user, "stopVirtualMachine", id=first["id"])
    rows = api("explainPlacement", user, affinitygroupids=made,
               **{name: value for name, value in wanted.items() if name != "networkids"})["placement"]  # fmt: skip
    assert [row.get("reason") for row in rows] == [
        None, "the other virtual machines of the affinity group g are on another host"
    ]  # fmt: skip
    second = api("deployVirtualMachine", user, affinitygroupids=made, **wanted)
    cloud.settle()
    assert host_of(cloud, second) == place


@pytest.mark.parametrize("kind", ["non-strict host affinity", "non-strict host anti-affinity"])
def test_wishes_order_hosts_and_yield_to_need(api, cloud, user, wanted, kind):
    same = "anti" not in kind
    made = group(api, cloud, user, kind)
    first = api("deployVirtualMachine", user, affinitygroupids=made, **wanted)
    cloud.settle()
    place = host_of(cloud, first)
    (other,) = set(cloud.hosts) - {place}
    rows = api("explainPlacement", affinitygroupids=made, zoneid=wanted["zoneid"], templateid=wanted["templateid"],
               serviceofferingid=wanted["serviceofferingid"])["placement"]  # fmt: skip
    assert [row["hostid"] for row in rows] == ([place, other] if same else [other, place])
    assert "affinity group g" in rows[1]["wishes"][0]
    api("updateHost", id=place if same else other, allocationstate="Disable")
    second = api("deployVirtualMachine", user, affinitygroupids=made, **wanted)
    cloud.settle()
    assert host_of(cloud, second) == (other if same else place)


def test_the_groups_of_a_vm_change_while_it_is_stopped(api, cloud, user, wanted, factory):
    one, two = (group(api, cloud, user, "host affinity", name) for name in ("one", "two"))
    vm = api("deployVirtualMachine", user, affinitygroupids=one, **wanted)["id"]
    with pytest.raises(Refused, match=r"536 .* is busy"):
        api("updateVMAffinityGroup", user, id=vm, affinitygroupids=two)
    cloud.settle()
    with pytest.raises(Refused, match=r"431 .* is Running; to change its affinity groups it must be Stopped"):
        api("updateVMAffinityGroup", user, id=vm, affinitygroupids=two)
    run(api, cloud, user, "stopVirtualMachine", id=vm)
    shown = run(api, cloud, user, "updateVMAffinityGroup", id=vm, affinitygroupnames="Two")["virtualmachine"]
    assert [one["id"] for one in shown["affinitygroup"]] == [two]
    with pytest.raises(Refused, match=r"431 .* exclude each other"):
        api("updateVMAffinityGroup", user, id=vm, affinitygroupnames="two", affinitygroupids=two)
    with pytest.raises(Refused, match=r"431 The account tenant has no affinity group three"):
        api("updateVMAffinityGroup", user, id=vm, affinitygroupnames="three")
    api("deleteAffinityGroup", user, id=two)
    assert cloud.get(AffinityGroup, two).removed is not None
    assert run(api, cloud, user, "updateVMAffinityGroup", id=vm)["virtualmachine"]["affinitygroup"] == []


def test_the_group_of_another_account_is_refused(api, cloud, user, wanted, factory):
    foreign = factory(AffinityGroup)
    with pytest.raises(Refused, match=r"431 .*Invalid parameter affinitygroupids"):
        api("deployVirtualMachine", user, affinitygroupids=foreign.id, **wanted)
    with pytest.raises(Refused, match=r"531 The affinity group .* is not the account tenant's"):
        api("deployVirtualMachine", affinitygroupids=foreign.id, account="tenant", domainid=factory.root.id, **wanted)
