"""NICs through the API, and as parts of other responses."""

from __future__ import annotations

import pytest

from manager import db
from manager.api.call import Call
from manager.api.command import COMMANDS
from manager.api.commands.nic import for_vms
from manager.models import Account, Domain, Network, Nic, Role, User, Vm
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import costs, statements


@pytest.fixture
def vm(factory, tenant):
    return factory(Vm, account_id=tenant.account.id)


def test_the_nics_of_a_virtual_machine(api, tenant, factory, vm):
    network = factory(Network, name="net", account_id=tenant.account.id, key=77)
    nic = factory(Nic, vm_id=vm.id, network_id=network.id, address="10.1.1.9", mac="02:aa:bb:cc:dd:ee")
    second = factory(Nic, vm_id=vm.id, device=1, is_default=False)
    factory(Nic, vm_id=factory(Vm).id)
    found = api("listNics", tenant, virtualmachineid=vm.id)["nic"]
    assert [one["id"] for one in found] == [nic.id, second.id]
    assert found[0] == {
        "id": nic.id, "deviceid": "0", "networkid": network.id, "networkname": "net", "netmask": "255.255.255.0",
        "gateway": "10.1.1.1", "ipaddress": "10.1.1.9", "macaddress": "02:aa:bb:cc:dd:ee", "mtu": 1458,
        "traffictype": "Guest", "type": "Isolated", "isdefault": True, "secondaryip": [], "virtualmachineid": vm.id,
    }  # fmt: skip
    (seen,) = api("listNics", virtualmachineid=vm.id, nicid=nic.id)["nic"]
    assert seen["broadcasturi"] == seen["isolationuri"] == "gre://77"
    assert api("listNics", tenant, virtualmachineid=vm.id, networkid=network.id)["nic"][0]["id"] == nic.id
    assert api("listNics", tenant, virtualmachineid=vm.id, keyword="1.9")["count"] == 1


def test_only_of_ones_own_virtual_machines(api, factory, vm):
    factory.user("stranger")
    stranger = Caller.of(factory.engine, "stranger")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter virtualmachineid"):
        api("listNics", stranger, virtualmachineid=vm.id)
    with pytest.raises(Refused, match="missing parameter virtualmachineid"):
        api("listNics", stranger)


def test_for_vms_puts_the_default_nic_first_in_two_statements(factory, tenant, vm, engine):
    other, bare = factory(Vm), factory(Vm)
    later = factory(Nic, vm_id=vm.id, device=0, is_default=False)
    first = factory(Nic, vm_id=vm.id, device=1)
    factory(Nic, vm_id=other.id)
    with db.transaction(engine) as session:
        root = session.get_one(Domain, tenant.account.domain_id)
        account = session.get_one(Account, tenant.account.id)
        user = session.get_one(User, tenant.user.id)
        call = Call(session, user, account, root, session.get_one(Role, account.role_id), COMMANDS["listNics"])
        with statements(engine) as sent:
            found = for_vms(call, [vm.id, other.id, bare.id])
        assert for_vms(call, []) == {}
    assert len(sent) == 2
    assert [one["id"] for one in found[vm.id]] == [first.id, later.id]
    assert (len(found[other.id]), found[bare.id]) == (1, [])


def test_users_are_not_told_the_tunnels_of_nics_within_their_virtual_machines(api, tenant, factory, vm):
    factory(Nic, vm_id=vm.id)
    (seen,) = api("listVirtualMachines", tenant, id=vm.id)["virtualmachine"][0]["nic"]
    assert seen["networkname"]
    assert not {"broadcasturi", "isolationuri"} & set(seen)
    (told,) = api("listVirtualMachines", id=vm.id)["virtualmachine"][0]["nic"]
    assert told["broadcasturi"].startswith("gre://")


def test_lists_cost_the_same_at_any_length(api, tenant, factory, vm, engine):
    found = costs(engine, lambda: factory(Nic, vm_id=vm.id), lambda: api("listNics", tenant, virtualmachineid=vm.id))
    assert found == {1: found[1], 50: found[1]}
