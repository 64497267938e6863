"""Networks of layer 2 alone: they have no addresses, no router and no services."""

from __future__ import annotations

import pytest

from manager.models import Network, NetworkOffering, Nic, Router
from tests.client import Refused
from tests.unit.api.live_cloud import rows, run


@pytest.fixture
def bare(api, cloud, user, factory) -> dict:
    offering = factory.first(NetworkOffering, name="DefaultL2NetworkOffering").id
    given = {"zoneid": cloud.zone_id, "networkofferingid": offering}
    return api("createNetwork", user, name="wire", **given)["network"]


def test_its_guests_have_macs_alone(api, cloud, user, factory, bare, wanted):
    assert bare["type"] == "L2"
    assert not {"cidr", "gateway", "netmask"} & set(bare)
    vms = [
        run(api, cloud, user, "deployVirtualMachine", **{**wanted, "networkids": bare["id"]})["virtualmachine"]
        for _ in range(2)
    ]
    for vm in vms:
        (nic,) = vm["nic"]
        assert nic["macaddress"]
        assert (nic["type"], nic["isdefault"]) == ("L2", True)
        assert not {"ipaddress", "gateway", "netmask"} & set(nic)
    assert rows(factory, Router, network_id=bare["id"]) == []
    assert {row.address for row in rows(factory, Nic, network_id=bare["id"])} == {None}
    held = [runner.host.switch.views.get(bare["id"]) for runner in cloud.runners.values() if runner.host.routers]
    views = [view for view in held if view is not None]
    assert views
    assert all(view.bare for view in views)
    assert max(len(view.nics) for view in views) == 2
    for vm in vms:
        cloud.destroy(vm["id"])
    cloud.settle()
    run(api, cloud, user, "deleteNetwork", id=bare["id"])
    assert factory.first(Network, id=bare["id"]).removed is not None


def test_a_further_nic_and_no_address(api, cloud, user, bare, wanted, deploy):
    vm = deploy()
    changed = run(api, cloud, user, "addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=bare["id"])
    nic = next(one for one in changed["virtualmachine"]["nic"] if one["networkid"] == bare["id"])
    assert "ipaddress" not in nic
    with pytest.raises(Refused, match="is of layer 2 alone"):
        api("addIpToNic", user, nicid=nic["id"])
    run(api, cloud, user, "removeNicFromVirtualMachine", virtualmachineid=vm["id"], nicid=nic["id"])
    run(api, cloud, user, "stopVirtualMachine", id=vm["id"], forced=True)
    run(api, cloud, user, "addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=bare["id"])
    with pytest.raises(Refused, match="is of layer 2 alone"):
        api("deployVirtualMachine", user, **{**wanted, "networkids": bare["id"], "ipaddress": "10.1.1.5"})


@pytest.mark.parametrize("name", ["gateway", "netmask", "startip", "endip", "routerip"])
def test_addresses_are_refused(api, cloud, user, factory, name):
    offering = factory.first(NetworkOffering, name="DefaultL2NetworkOffering").id
    with pytest.raises(Refused, match=f"431 The network is of layer 2 alone and has no addresses: {name}"):
        api("createNetwork", user, name="x", zoneid=cloud.zone_id, networkofferingid=offering, **{name: "10.1.1.1"})


def test_chosen_keys_are_root_administrators_alone(api, cloud, user, factory):
    offering = factory.first(NetworkOffering, name="DefaultL2NetworkOfferingVlan").id
    place = {"zoneid": cloud.zone_id, "networkofferingid": offering}
    with pytest.raises(Refused, match="531"):
        api("createNetwork", user, name="x", **place)
    made = api("createNetwork", name="x", vlan="vlan://7", **place)["network"]
    assert (made["vlan"], made["broadcasturi"], made["account"]) == ("7", "gre://7", "admin")
