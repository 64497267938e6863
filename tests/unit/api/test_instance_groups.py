"""Instance groups: made by name, renamed with their virtual machines, and removed without them."""

import pytest

from manager.models import InstanceGroup, Vm
from tests.client import Caller, Refused


def test_create_update_list_delete(api, tenant, factory):
    made = api("createInstanceGroup", tenant, name="front")["instancegroup"]
    assert (made["name"], made["account"], made["domainpath"]) == ("front", "tenant", "ROOT")
    with pytest.raises(Refused, match=r"431 The account tenant has a group Front already"):
        api("createInstanceGroup", tenant, name="Front")
    assert api("updateInstanceGroup", tenant, id=made["id"], name="back")["instancegroup"]["name"] == "back"
    api("createInstanceGroup", tenant, name="front")
    with pytest.raises(Refused, match=r"431 The account tenant has a group front already"):
        api("updateInstanceGroup", tenant, id=made["id"], name="front")
    assert api("listInstanceGroups", tenant, keyword="ba")["instancegroup"][0]["id"] == made["id"]
    assert api("listInstanceGroups") == {}
    factory.user("stranger")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("deleteInstanceGroup", Caller.of(factory.engine, "stranger"), id=made["id"])


def test_a_vm_takes_its_group_by_name_and_loses_it_with_it(api, cloud, user, factory):
    wanted = {
        "zoneid": cloud.zone_id, "templateid": cloud.template_id, "serviceofferingid": cloud.offering_id,
        "networkids": cloud.network_id, "startvm": False,
    }  # fmt: skip
    one = api("deployVirtualMachine", user, group="web", **wanted)["id"]
    two = api("deployVirtualMachine", user, group="Web", **wanted)["id"]
    (group,) = api("listInstanceGroups", user)["instancegroup"]
    found = api("listVirtualMachines", user, groupid=group["id"])["virtualmachine"]
    assert {(vm["id"], vm["group"], vm["groupid"]) for vm in found} == {
        (one, "web", group["id"]),
        (two, "web", group["id"]),
    }
    api("updateInstanceGroup", user, id=group["id"], name="shop")
    assert api("listVirtualMachines", user, id=one)["virtualmachine"][0]["group"] == "shop"
    api("updateVirtualMachine", user, id=two, group="other")
    assert factory.first(InstanceGroup, name="other").account_id == cloud.account_id
    assert api("deleteInstanceGroup", user, id=group["id"]) == {"success": True}
    assert cloud.get(Vm, one).group_id is None
    assert "group" not in api("listVirtualMachines", user, id=one)["virtualmachine"][0]
