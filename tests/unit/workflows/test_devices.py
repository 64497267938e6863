"""Networks on hardware devices: what each of them is told, which one is chosen, and that nothing stays on them."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from manager.celery_app import app
from manager.db import transaction
from manager.models import (
    Account,
    DeviceNetwork,
    HardwareDevice,
    Network,
    NetworkOffering,
    Nic,
    PublicAddress,
    ServiceProvider,
    Vm,
    WorkflowRow,
)
from manager.workflows.engine import WORKFLOWS
from manager.workflows.network import restart_network
from manager.workflows.views import present
from tests.unit.workflows.cloud import Cloud
from tests.unit.workflows.hardware import MACS, add_devices, parts_of
from tests.unit.workflows.test_laws import EMPTY, breaking


@pytest.fixture
def quick(engine, tmp_path) -> Cloud:
    """A cloud on SQLite alone."""
    app.cache_clear()
    return Cloud(tmp_path)


def to_platinum(cloud, network_id: str) -> str:
    with transaction() as s:
        offering = s.scalars(select(NetworkOffering.id).filter_by(name="platinum")).one()
        s.get_one(Network, network_id).offering_id = offering
    return network_id


def used(cloud) -> dict[str, tuple[int, str | None]]:
    with transaction() as s:
        devices = s.scalars(select(HardwareDevice)).all()
        return {one.kind: (one.used, one.dedicated_to) for one in devices}


def clear(cloud, vm_id: str, network_id: str) -> None:
    cloud.destroy(vm_id)
    cloud.settle(times=2)
    cloud.delete_network(network_id)
    cloud.settle(times=2)


def on_devices(cloud) -> set[tuple[str, str]]:
    """(device, network) of all that devices hold."""
    drivers = [runner.host.device_drivers for runner in cloud.runners.values()]
    return {key for one in drivers if one is not None for key in one.parts}


def nothing_left(cloud) -> bool:
    with transaction() as s:
        rows = s.scalars(select(DeviceNetwork.vlan)).all()
        nics = s.scalars(select(Nic.id).where(Nic.hardware_id.is_not(None))).all()
        held = s.scalars(select(PublicAddress.id).where(PublicAddress.network_id.is_not(None))).all()
    return not on_devices(cloud) and not rows and not nics and not held and set(used(cloud).values()) == {(0, None)}


def error_of(cloud, subject_id: str, name: str) -> str:
    with transaction() as s:
        query = select(WorkflowRow.error).filter_by(subject_id=subject_id, name=name)
        return str(s.scalars(query.order_by(WorkflowRow.created.desc())).first())


def test_each_is_told_its_part_and_forgets_it(cloud):
    devices = add_devices(cloud, dedicated=True)
    network_id = to_platinum(cloud, cloud.network_id)
    vm_id = cloud.deploy()
    cloud.settle(times=2)
    parts = parts_of(cloud, network_id)
    assert on_devices(cloud) == {(device_id, network_id) for device_id in devices.values()}
    firewall, balancer = parts["srx"], parts["netscaler"]
    assert (firewall.device.id, firewall.cable, firewall.vlan, firewall.balanced) == (devices["srx"], "eth9", 100, None)
    (leg,) = firewall.router.legs
    assert (leg.nic.address, leg.nic.mac, leg.nic.id, leg.nic.role) == (
        "10.1.1.1",
        MACS["srx"],
        firewall.nic_id,
        "router",
    )
    assert (leg.vlan, leg.gateway, leg.leases, leg.egress_open) == (100, "", (), True)
    assert firewall.router.public.address.startswith("198.51.100.")
    assert (balancer.router, balancer.balanced.vlan, balancer.balanced.cidr) == (None, 100, "10.1.1.0/24")
    with transaction() as s:
        picture = present(s, network_id)
        account = s.get_one(Network, network_id).account_id
    (router,) = [command.router for command in picture.commands.values() if command.router]
    own = router.legs[0]
    assert (router.public, own.gateway, own.vlan, len(own.leases)) == (None, "10.1.1.1", 0, 1)
    assert len({own.nic.address, "10.1.1.1", balancer.balanced.address, own.leases[0].address}) == 4
    view = next(iter(picture.commands.values())).view
    assert (view.gateway_outside, view.egress_open) == (False, True)
    assert {nic.mac for nic in view.nics if nic.id == balancer.nic_id} == {MACS["netscaler"]}
    assert used(cloud) == {"srx": (1, account), "netscaler": (1, account)}
    with transaction() as s:
        restart_network.start(s, s.get_one(Network, network_id), cleanup=True)
    cloud.settle(times=2)
    assert {kind: part.vlan for kind, part in parts_of(cloud, network_id).items()} == {"srx": 100, "netscaler": 100}
    clear(cloud, vm_id, network_id)
    assert parts_of(cloud, network_id) == {}
    assert nothing_left(cloud)
    assert cloud.leftovers() == EMPTY


@pytest.mark.parametrize(("position", "after"), [(1, False), (1, True), (2, False), (2, True), (3, False)])
def test_a_network_that_fails_is_on_no_device(quick, monkeypatch, position, after):
    cloud = quick
    add_devices(cloud)
    network_id = to_platinum(cloud, cloud.network_id)
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "network.implement", breaking(WORKFLOWS["network.implement"], position, after=after))
        vm_id = cloud.deploy()
        cloud.settle(times=2)
    assert cloud.get(Vm, vm_id).state == "Error"
    assert parts_of(cloud, network_id) == {}
    assert nothing_left(cloud)
    clear(cloud, vm_id, network_id)
    assert cloud.leftovers() == EMPTY


@pytest.mark.parametrize(("position", "after"), [(1, False), (1, True), (2, False)])
def test_a_network_that_stays_is_on_its_devices(quick, monkeypatch, position, after):
    cloud = quick
    add_devices(cloud)
    network_id = to_platinum(cloud, cloud.network_id)
    vm_id = cloud.deploy()
    cloud.settle()
    cloud.destroy(vm_id)
    cloud.settle()
    workflow = WORKFLOWS["network.delete"]
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "network.delete", breaking(workflow, position, after=after))
        cloud.delete_network(network_id)
        cloud.settle(times=2)
    assert cloud.get(Network, network_id).state == "Implemented"
    assert set(parts_of(cloud, network_id)) == {"srx", "netscaler"}
    cloud.delete_network(network_id)
    cloud.settle(times=2)
    assert nothing_left(cloud)


def test_networks_with_the_same_addresses_share_devices(quick):
    cloud = quick
    add_devices(cloud)
    networks = [to_platinum(cloud, cloud.network_id), to_platinum(cloud, cloud.add_network("net2"))]
    vms = [cloud.deploy(f"vm{number}", network_id) for number, network_id in enumerate(networks)]
    cloud.settle(times=2)
    assert {kind: count for kind, (count, _) in used(cloud).items()} == {"srx": 2, "netscaler": 2}
    parts = [parts_of(cloud, network_id) for network_id in networks]
    balanced = [part["netscaler"].balanced for part in parts]
    assert {one.cidr for one in balanced} == {"10.1.1.0/24"}
    assert {one.vlan for one in balanced} == {100, 101}
    clear(cloud, vms[0], networks[0])
    assert set(parts_of(cloud, networks[1])) == {"srx", "netscaler"}
    assert {kind: count for kind, (count, _) in used(cloud).items()} == {"srx": 1, "netscaler": 1}
    clear(cloud, vms[1], networks[1])
    assert nothing_left(cloud)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"capacity": 0}, "JuniperSRX: none of 1 devices has room"),
        ({"first_vlan": 7, "last_vlan": 6}, "JuniperSRX: none of 1 devices has room"),
        ({"provider": "Disabled"}, "JuniperSRX: no device is there whose host is Up"),
        ({"dedicated": True}, "JuniperSRX: none of 1 devices has room"),
    ],
)
def test_without_room_a_network_fails_and_says_why(quick, change, reason):
    cloud = quick
    devices = add_devices(cloud)
    with transaction() as s:
        device = s.get_one(HardwareDevice, devices["srx"])
        if change.get("provider"):
            s.scalars(select(ServiceProvider).filter_by(name="JuniperSRX")).one().state = "Disabled"
        if change.get("dedicated"):
            mine = s.get_one(Account, cloud.account_id)
            other = Account(number=8, name="other", domain_id=mine.domain_id, type=0, role_id=mine.role_id)
            s.add(other)
            s.flush()
            device.dedicated_to = other.id
        for key in change.keys() - {"provider"}:
            setattr(device, key, change[key])
    vm_id = cloud.deploy("vm", to_platinum(cloud, cloud.network_id))
    cloud.settle()
    assert cloud.get(Vm, vm_id).state == "Error"
    assert reason in error_of(cloud, cloud.network_id, "network.implement")
    with transaction() as s:
        assert s.scalars(select(DeviceNetwork)).all() == []
