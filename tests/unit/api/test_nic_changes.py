"""NICs that come to virtual machines and leave them, and their addresses, with the in-process cloud."""

from __future__ import annotations

import pytest

from agents.contract import VmSpec
from agents.host.hypervisor.base import DomainRefused
from agents.host.hypervisor.simulator import SimulatorHypervisor
from manager.models import Nic, NicAddress, Vm
from tests.client import Caller, Refused
from tests.unit.api.test_public_addresses import done, router_of, running  # noqa: F401 - running is a fixture

OTHER_MAC = "02:00:4c:00:00:01"


@pytest.fixture
def site(api, running):  # noqa: F811 - pytest gives the fixture of that name
    """The cloud, its user, its running VM, and a further network."""
    cloud, user = running
    (vm,) = api("listVirtualMachines", user, listall=True)["virtualmachine"]
    return cloud, user, vm, cloud.add_network("net2")


def held(cloud, vm) -> list[tuple[set[str], list[str], set[str]]]:
    """Of each host with the domain: its ports, the NICs that the host wants the domain to have, and those in views."""
    found = []
    for runner in cloud.runners.values():
        host = runner.host
        spec = host.journal.wanted_one("vm", vm["id"], VmSpec)
        if host.hypervisor and spec is not None:
            views = {nic.id for view in host.switch.views.values() for nic in view.nics if nic.role == "guest"}
            found.append((set(host.switch.ports()) & views, [nic.id for nic in spec.nics], views))
    return found


def test_a_running_vm_gets_a_nic_and_loses_it(api, factory, site):
    cloud, user, vm, network = site
    given = {"virtualmachineid": vm["id"], "networkid": network, "ipaddress": "10.1.1.77", "macaddress": OTHER_MAC}
    shown = done(api, cloud, api("addNicToVirtualMachine", user, **given), user)["virtualmachine"]
    first, second = shown["nic"]
    assert (second["networkname"], second["ipaddress"], second["macaddress"]) == ("net2", "10.1.1.77", OTHER_MAC)
    assert (first["isdefault"], second["isdefault"], second["deviceid"]) == (True, False, "1")
    ((ports, nics, views),) = held(cloud, vm)
    assert (ports, nics) == ({first["id"], second["id"]}, [first["id"], second["id"]])
    assert views == ports
    nic = {"virtualmachineid": vm["id"], "nicid": second["id"]}
    shown = done(api, cloud, api("removeNicFromVirtualMachine", user, **nic), user)["virtualmachine"]
    assert [one["id"] for one in shown["nic"]] == [first["id"]]
    assert held(cloud, vm) == [({first["id"]}, [first["id"]], {first["id"]})]
    assert api("listDrift") == api("listOrphans") == {}


def test_a_guest_that_does_not_let_go_keeps_its_nic(api, site, monkeypatch):
    cloud, user, vm, network = site
    given = {"virtualmachineid": vm["id"], "networkid": network}
    _, second = done(api, cloud, api("addNicToVirtualMachine", user, **given), user)["virtualmachine"]["nic"]
    before = held(cloud, vm)

    def refuse(_hypervisor, _vm_id, _nic):
        raise DomainRefused("planted")

    monkeypatch.setattr(SimulatorHypervisor, "detach", refuse)
    job = api("removeNicFromVirtualMachine", user, virtualmachineid=vm["id"], nicid=second["id"])["jobid"]
    cloud.settle()
    assert api("queryAsyncJobResult", user, jobid=job)["jobresult"]["errortext"] == "planted"
    assert held(cloud, vm) == before
    assert api("listDrift") == {}


def test_a_nic_that_cannot_be_attached_is_gone_again(api, factory, site, monkeypatch):
    cloud, user, vm, network = site
    before = held(cloud, vm)

    def refuse(_hypervisor, _vm_id, _nic):
        raise DomainRefused("planted")

    monkeypatch.setattr(SimulatorHypervisor, "attach", refuse)
    job = api("addNicToVirtualMachine", user, virtualmachineid=vm["id"], networkid=network)["jobid"]
    cloud.settle()
    assert api("queryAsyncJobResult", user, jobid=job)["jobresult"]["errortext"] == "planted"
    assert held(cloud, vm) == before
    (shown,) = api("listVirtualMachines", user, id=vm["id"])["virtualmachine"]
    assert len(shown["nic"]) == 1
    assert api("listDrift") == api("listOrphans") == {}


def test_a_stopped_vm_has_its_new_nic_when_it_starts(api, site):
    cloud, user, vm, network = site
    cloud.stop(vm["id"])
    cloud.settle()
    given = {"virtualmachineid": vm["id"], "networkid": network}
    _, second = done(api, cloud, api("addNicToVirtualMachine", user, **given), user)["virtualmachine"]["nic"]
    cloud.start(vm["id"])
    cloud.settle()
    ((_, nics, _),) = held(cloud, vm)
    assert second["id"] in nics


def test_nics_that_cannot_be(api, factory, site):
    cloud, user, vm, network = site
    place = {"virtualmachineid": vm["id"]}
    (nic,) = vm["nic"]
    for given, code, reason in (
        ({"networkid": nic["networkid"]}, 431, "has a NIC in network net1 already"),
        ({"networkid": network, "ipaddress": "10.9.9.9"}, 431, "is not a host address of 10.1.1.0/24"),
        ({"networkid": network, "macaddress": "03:00:00:00:00:01"}, 431, "is not one of a single NIC"),
        ({"networkid": network, "macaddress": nic["macaddress"]}, 431, "is taken"),
    ):
        with pytest.raises(Refused, match=f"{code} .*{reason}"):
            api("addNicToVirtualMachine", user, **place, **given)
    with pytest.raises(Refused, match=r"431 The NIC .* is the default one of vm; choose another one first"):
        api("removeNicFromVirtualMachine", user, **place, nicid=nic["id"])
    other = cloud.deploy("other")
    cloud.settle()
    foreign = factory.first(Nic, vm_id=other)
    for command in ("removeNicFromVirtualMachine", "updateDefaultNicForVirtualMachine"):
        with pytest.raises(Refused, match=r"431 The NIC .* is not one of the virtual machine vm"):
            api(command, user, **place, nicid=foreign.id)
    with pytest.raises(Refused, match=r"431 The NIC .* is the default one of vm already"):
        api("updateDefaultNicForVirtualMachine", user, **place, nicid=nic["id"])
    factory.change(factory.first(Vm, id=vm["id"]), state="Destroyed")
    with pytest.raises(Refused, match=r"431 The virtual machine vm is Destroyed"):
        api("addNicToVirtualMachine", user, **place, networkid=network)
    stranger = Caller.of(factory.engine, factory.user("stranger").username)
    with pytest.raises(Refused, match=r"431 .*Invalid parameter"):
        api("addNicToVirtualMachine", stranger, **place, networkid=network)


def test_the_default_nic_leads_out(api, site):
    cloud, user, vm, network = site
    given = {"virtualmachineid": vm["id"], "networkid": network}
    first, second = done(api, cloud, api("addNicToVirtualMachine", user, **given), user)["virtualmachine"]["nic"]
    given = {"virtualmachineid": vm["id"], "nicid": second["id"]}
    shown = done(api, cloud, api("updateDefaultNicForVirtualMachine", user, **given), user)["virtualmachine"]
    assert shown["ipaddress"] == second["ipaddress"]
    assert [(one["id"], one["isdefault"]) for one in shown["nic"]] == [(second["id"], True), (first["id"], False)]
    leads = {lease.nic_id: lease.leads_out for runner in cloud.runners.values() if runner.host.routers
             for spec in runner.host.routers.specs.values() for lease in spec.legs[0].leases}  # fmt: skip
    assert leads == {first["id"]: False, second["id"]: True}


def test_the_address_of_a_stopped_vm_changes(api, factory, site):
    cloud, user, vm, _ = site
    (nic,) = vm["nic"]
    with pytest.raises(Refused, match=r"431 The virtual machine vm is Running; its addresses can change while it is"):
        api("updateVmNicIp", user, nicid=nic["id"])
    cloud.stop(vm["id"])
    cloud.settle()
    shown = done(api, cloud, api("updateVmNicIp", user, nicid=nic["id"], ipaddress="10.1.1.88"), user)
    assert shown["virtualmachine"]["nic"][0]["ipaddress"] == "10.1.1.88"
    for address, reason in (("10.1.1.88", "has the address 10.1.1.88 already"), ("10.1.1.1", "is taken"),
                            ("10.2.2.2", "is not a host address")):  # fmt: skip
        with pytest.raises(Refused, match=f"431 .*{reason}"):
            api("updateVmNicIp", user, nicid=nic["id"], ipaddress=address)
    address = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    api("enableStaticNat", user, ipaddressid=address["id"], virtualmachineid=vm["id"])
    with pytest.raises(Refused, match=r"431 The StaticNat rule .* leads to 10.1.1.88; take it away first"):
        api("updateVmNicIp", user, nicid=nic["id"])
    router = factory.first(Nic, vm_id=None)
    with pytest.raises(Refused, match=r"431 The NIC .* is that of a router"):
        api("updateVmNicIp", nicid=router.id)


def test_an_address_that_was_taken_meanwhile_is_told(api, factory, site):
    cloud, user, vm, _ = site
    (nic,) = vm["nic"]
    cloud.stop(vm["id"])
    cloud.settle()
    job = api("updateVmNicIp", user, nicid=nic["id"], ipaddress="10.1.1.99")["jobid"]
    factory(Nic, network_id=cloud.network_id, vm_id=factory(Vm).id, address="10.1.1.99")
    cloud.settle()
    answer = api("queryAsyncJobResult", user, jobid=job)["jobresult"]
    assert answer == {"errorcode": 533, "errortext": "The address 10.1.1.99 has been taken meanwhile."}


def test_a_nic_has_further_addresses(api, factory, site):
    cloud, user, vm, _ = site
    (nic,) = vm["nic"]
    answer = api("addIpToNic", user, nicid=nic["id"], ipaddress="10.1.1.200")
    further = done(api, cloud, answer, user)["nicsecondaryip"]
    assert further == {
        "id": answer["id"], "ipaddress": "10.1.1.200", "nicid": nic["id"], "networkid": cloud.network_id,
        "virtualmachineid": vm["id"],
    }  # fmt: skip
    (listed,) = api("listNics", user, virtualmachineid=vm["id"])["nic"]
    assert listed["secondaryip"] == [{"id": further["id"], "ipaddress": "10.1.1.200"}]
    views = [one for runner in cloud.runners.values() if runner.host.switch
             for view in runner.host.switch.views.values() for one in view.nics if one.id == nic["id"]]  # fmt: skip
    assert {one.further for one in views} == {("10.1.1.200",)}
    with pytest.raises(Refused, match=r"431 Address 10.1.1.200 of network net1 is taken"):
        api("addIpToNic", user, nicid=nic["id"], ipaddress="10.1.1.200")
    wanted = {"zoneid": cloud.zone_id, "templateid": cloud.template_id, "serviceofferingid": cloud.offering_id}
    with pytest.raises(Refused, match=r"533 Address 10.1.1.200 of network net1 is taken"):
        api("deployVirtualMachine", user, **wanted, networkids=cloud.network_id, ipaddress="10.1.1.200")
    (source,) = api("listPublicIpAddresses", user, issourcenat=True)["publicipaddress"]
    given = {"ipaddressid": source["id"], "virtualmachineid": vm["id"], "vmguestip": "10.1.1.200", "publicport": 80}
    rule = api("createPortForwardingRule", user, protocol="tcp", privateport=80, **given)
    done(api, cloud, rule, user)
    assert [one.guest for one in router_of(cloud).forwardings] == ["10.1.1.200"]
    with pytest.raises(Refused, match=r"431 The PortForwarding rule .* leads to 10.1.1.200; take it away first"):
        api("removeIpFromNic", user, id=further["id"])
    done(api, cloud, api("deletePortForwardingRule", user, id=rule["id"]), user)
    done(api, cloud, api("removeIpFromNic", user, id=further["id"]), user)
    assert api("listNics", user, virtualmachineid=vm["id"])["nic"][0]["secondaryip"] == []
    done(api, cloud, api("addIpToNic", user, nicid=nic["id"]), user)
    cloud.destroy(vm["id"])
    cloud.settle()
    with pytest.raises(Exception, match="No row was found"):
        factory.first(NicAddress)


def test_further_addresses_of_others_are_not_there(api, factory, site):
    cloud, user, vm, _ = site
    stranger = Caller.of(factory.engine, factory.user("stranger").username)
    further = done(api, cloud, api("addIpToNic", user, nicid=vm["nic"][0]["id"]), user)["nicsecondaryip"]
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("removeIpFromNic", stranger, id=further["id"])
    with pytest.raises(Refused, match=r"431 .*Invalid parameter nicid"):
        api("addIpToNic", stranger, nicid=vm["nic"][0]["id"])
