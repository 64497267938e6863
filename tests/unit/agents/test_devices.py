"""What a host does with the hardware devices that are cabled to it, on the simulated switch."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from agents.contract import ApplyNetwork
from agents.host.devices import PART, HeldPart
from agents.host.host import Host
from agents.host.inquiry import inspect_device
from agents.inquiry import InspectDevice
from agents.journal import Journal
from network.balancing import Balancer
from network.elements.simulator import MemoryDevices, MemoryRouter
from network.errors import DeviceRefusedError, DeviceUnreachableError, InvalidViewError
from network.hardware import BalancedNetwork, Device, DevicePart
from network.simulator_switch import SimulatedSwitch
from tests.unit.network.routers import router
from tests.unit.network.views import network, nic

SRX = Device("srx-1", "srx", "203.0.113.5", 830, "pileus", "secret", "ge-0/0/1", "ge-0/0/0.0", "untrust")
NETSCALER = Device("ns-1", "netscaler", "203.0.113.6", 443, "nsroot", "secret", "1/2")


class Trying(MemoryDevices):
    """Counts what it is told; a device in `down` does not answer, and none shows what it has while `shown` is clear."""

    def __init__(self) -> None:
        super().__init__()
        self.down: set[str] = set()
        self.applied: list[str] = []
        self.shown = threading.Event()
        self.shown.set()

    def apply(self, part: DevicePart) -> None:
        self._reach(part.device)
        super().apply(part)
        self.applied.append(part.nic_id)

    def remove(self, part: DevicePart) -> None:
        self._reach(part.device)
        super().remove(part)

    def look(self, part: DevicePart) -> list[str]:
        assert self.shown.wait(20)
        self._reach(part.device)
        return super().look(part)

    def _reach(self, device: Device) -> None:
        if device.id in self.down:
            raise DeviceUnreachableError(f"The device {device.host} does not answer on port {device.port}.")


@pytest.fixture
def drivers() -> Trying:
    return Trying()


@pytest.fixture
def host(tmp_path, drivers) -> Host:
    return Host("host-3", Journal(tmp_path / "j.db"), SimulatedSwitch("host-3"), MemoryRouter(), None, None, drivers)


def part(tenant: str = "a", device: Device = SRX, vlan: int = 100, **changes) -> DevicePart:
    if device.kind == "netscaler":
        balanced = BalancedNetwork(f"net-{tenant}", vlan, "10.1.1.13", "10.1.1.0/24")
        return replace(DevicePart(device, f"nic-{tenant}3", "eth2", vlan, balanced=balanced), **changes)
    spec = replace(router(tenant, [nic(tenant, "1", "host-1")], vlan=vlan), id=f"router-{tenant}")
    return replace(DevicePart(device, f"nic-{tenant}router", "eth2", vlan, router=spec), **changes)


def command(*parts: DevicePart, tenant: str = "a", generation: int = 1) -> ApplyNetwork:
    roles = {"router": "router"}
    own = [replace(nic(tenant, one.nic_id[5:], "host-3", roles.get(one.nic_id[5:], "guest")), role="router")
           for one in parts]  # fmt: skip
    nics = [nic(tenant, "1", "host-1"), *own]
    view = network(tenant, 1000 + ord(tenant), nics)
    return ApplyNetwork(replace(view, generation=generation), devices=parts)


def revised(one: DevicePart, **changes) -> DevicePart:
    return replace(one, router=replace(one.router, **changes))


def test_a_device_joins_its_network_and_is_told_once(host, drivers):
    both = part(), part(device=NETSCALER, vlan=7)
    host.hold((command(*both),))
    assert {key: port.name for key, port in host.switch.ports().items()} == {
        "nic-arouter": "eth2.100", "nic-a3": "eth2.7",
    }  # fmt: skip
    assert set(drivers.parts) == {("srx-1", "router-a"), ("ns-1", "net-a")}
    # Neither a newer generation nor leases are anything to the device.
    leg = replace(both[0].router.legs[0], leases=())
    host.hold((command(revised(both[0], generation=2, legs=(leg,)), both[1], generation=2),))
    assert drivers.applied == ["nic-a3", "nic-arouter"]
    host.hold((command(revised(both[0], addresses=("198.51.100.77",)), both[1], generation=3),))
    opened = replace(both[0].router.legs[0], egress_open=False)
    host.hold((command(revised(both[0], legs=(opened,)), both[1], generation=4),))
    assert drivers.applied == ["nic-a3", "nic-arouter", "nic-arouter"]


def test_a_network_without_the_device_leaves_it_and_the_switch(host, drivers):
    host.hold((command(part()), command(part("b", vlan=200), tenant="b")))
    host.hold((command(generation=2),))
    assert set(drivers.parts) == {("srx-1", "router-b")}
    assert set(host.switch.ports()) == {"nic-brouter"}
    assert [one.part.nic_id for one in host.journal.wanted(PART, HeldPart)] == ["nic-brouter"]
    # A view that came late brings nothing back.
    host.hold((command(part()),))
    assert set(drivers.parts) == {("srx-1", "router-b")}


def test_a_device_that_is_down_is_cut_off_at_once_and_told_when_it_answers(host, drivers):
    host.hold((command(part()),))
    drivers.down.add("srx-1")
    with pytest.raises(DeviceUnreachableError) as caught:
        host.hold((command(generation=2),))
    assert caught.value.retryable
    assert (host.switch.ports(), set(drivers.parts)) == ({}, {("srx-1", "router-a")})
    drivers.down.clear()
    host.devices.keep_all()
    assert drivers.parts == {}
    assert host.journal.wanted(PART, HeldPart) == []


def test_the_trouble_of_one_device_is_not_that_of_others(host, drivers):
    drivers.down.add("srx-1")
    with pytest.raises(DeviceUnreachableError, match=r"203\.0\.113\.5 does not answer on port 830"):
        host.hold((command(part()),))
    host.hold((command(part("b", NETSCALER, 200), tenant="b"),))
    assert set(drivers.parts) == {("ns-1", "net-b")}
    drivers.down.clear()
    host.devices.keep_all()
    assert set(drivers.parts) == {("ns-1", "net-b"), ("srx-1", "router-a")}
    assert drivers.applied == ["nic-b3", "nic-arouter"]


def test_a_new_agent_plugs_and_tells_all_again(host, drivers, tmp_path):
    host.hold((command(part()),))
    fresh = Host("host-3", Journal(tmp_path / "j.db"), SimulatedSwitch("host-3"), MemoryRouter(), None, None, Trying())
    fresh.resume()
    assert set(fresh.switch.ports()) == {"nic-arouter"}
    fresh.devices.keep_all()
    assert set(fresh.devices.drivers.parts) == {("srx-1", "router-a")}


def test_what_a_device_cannot_do_is_not_taken_up(host, drivers):
    proxied = Balancer("lb", "198.51.100.9", 80, 8080, protocol="tcp-proxy")
    strange = part(device=NETSCALER)
    strange = replace(strange, balanced=replace(strange.balanced, balancers=(proxied,)))
    for wrong in (strange, part(router=None), replace(part(), vlan=101)):
        with pytest.raises(InvalidViewError):
            host.hold((command(wrong),))
    assert host.views() == []
    assert (host.switch.ports(), drivers.parts) == ({}, {})


def test_a_device_is_inspected_by_its_login(host):
    facts = inspect_device(host, InspectDevice(SRX, "eth2"))
    assert (facts.mac[:2], facts.model) == ("02", "simulated srx")
    assert inspect_device(host, InspectDevice(NETSCALER, "eth2")).mac != facts.mac
    with pytest.raises(DeviceRefusedError, match="refuses the login of pileus"):
        inspect_device(host, InspectDevice(replace(SRX, password="wrong"), "eth2"))


def test_what_devices_show_otherwise_is_told_until_they_are_told_anew(host, drivers):
    host.devices._look_at = float("inf")
    host.hold((command(part()), command(part("b", vlan=200), tenant="b")))
    host.devices.look()
    assert (host.devices.drift(), host.devices.strangers()) == ((), ())
    drivers.parts["srx-1", "stranger"] = drivers.parts.pop(("srx-1", "router-a"))
    host.devices.look()
    (found,) = host.devices.drift()
    assert (found.network_id, found.device, found.difference) == ("net-a", SRX.host, "-part")
    assert host.devices.strangers() == (f"device {SRX.host}: stranger",)
    assert drivers.parts.keys() == {("srx-1", "stranger"), ("srx-1", "router-b")}
    # What it was told since is nobody's finding.
    shut = replace(part().router.legs[0], egress_open=False)
    host.hold((command(revised(part(), legs=(shut,)), generation=2),))
    assert host.devices.drift() == ()
    drivers.down.add("srx-1")
    host.devices.look()
    assert host.devices.drift() == ()


def test_looks_are_taken_beside_all_else_and_not_at_each_inventory(host, drivers):
    host.hold((command(part()),))
    drivers.parts.clear()
    drivers.shown.clear()
    assert host.devices.drift() == ()
    drivers.shown.set()
    host.devices._looker.join(20)
    (found,) = host.devices.drift()
    drivers.parts["srx-1", "router-a"] = part()
    assert host.devices.drift() == (found,)
