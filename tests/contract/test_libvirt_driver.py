"""What libvirt adds to the contract of hypervisor drivers, with a libvirtd and guests of our own."""

from __future__ import annotations

import gc
import os
import re
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import libvirt
import psutil
import pytest

from agents.contract import DomainFacts, VmSpec
from agents.host.hypervisor import libvirt as libvirt_driver
from agents.host.hypervisor.base import (
    DomainRefused,
    HypervisorUnavailable,
    Measured,
)
from agents.host.hypervisor.libvirt import LibvirtHypervisor
from network.names import tap_name
from storage.types import IoLimits
from tests.contract.hypervisor_lab import Cell, Lab, more_nic, settings_of, wait_for


def macs_of(lab: Lab, vm_id: str, flags: int = 0) -> list[str]:
    connection = libvirt.open(lab.cell.uri)
    text = connection.lookupByUUIDString(vm_id).XMLDesc(flags)
    connection.close()
    return re.findall(r"<mac address='([^']+)'", text)


def test_a_nic_is_in_the_running_and_in_the_stored_domain_until_the_guest_lets_go(libvirt_lab, monkeypatch) -> None:
    lab, stored = libvirt_lab, libvirt.VIR_DOMAIN_XML_INACTIVE
    vm, disks = lab.vm()
    nic = more_nic(lab)
    lab.hypervisor.start(vm, disks)
    lab.hypervisor.attach(vm.id, nic)
    both = [vm.nics[0].mac, nic.mac]
    assert macs_of(lab, vm.id) == macs_of(lab, vm.id, stored) == both
    with monkeypatch.context() as patch:
        patch.setattr(libvirt_driver, "DETACH_SECONDS", 0.5)
        with pytest.raises(DomainRefused, match="did not let go of the NIC 02:00:00:00:00:02"):
            lab.hypervisor.detach(vm.id, nic)
    assert macs_of(lab, vm.id) == macs_of(lab, vm.id, stored) == both
    # QEMU takes away what it was asked for when the machine is reset.
    resetting = threading.Timer(1.0, lab.hypervisor.reboot, (vm.id, True, 0))
    resetting.start()
    lab.hypervisor.detach(vm.id, nic)
    resetting.join()
    assert macs_of(lab, vm.id) == macs_of(lab, vm.id, stored) == [vm.nics[0].mac]


def test_virt_type_is_what_was_proved(libvirt_lab: Lab) -> None:
    # KVM opens on the machines that run this, and hangs guests.
    assert libvirt_lab.hypervisor.facts().virt_type == "qemu"


def test_guests_survive_a_killed_libvirtd_and_are_adopted(libvirt_lab: Lab) -> None:
    vm, disks = libvirt_lab.vm()
    libvirt_lab.hypervisor.start(vm, disks)
    guest, daemon = libvirt_lab.cell.guests()[0].pid, libvirt_lab.cell.daemon().pid
    os.kill(daemon, signal.SIGKILL)

    def is_back() -> bool:
        try:
            return libvirt_lab.facts(vm.id) is not None
        except HypervisorUnavailable:
            return False

    wait_for(is_back)
    libvirt_lab.hypervisor.start(vm, disks)
    assert libvirt_lab.facts(vm.id) == DomainFacts(vm.id, vm.instance_name, "running", 1)
    assert [process.pid for process in libvirt_lab.cell.guests()] == [guest]
    assert libvirt_lab.cell.daemon().pid != daemon


def test_a_libvirtd_that_hangs_is_unavailable_in_bounded_time(libvirt_lab: Lab, cell: Cell) -> None:
    hypervisor = LibvirtHypervisor(replace(settings_of(cell, cell.directory / "state"), call_seconds=0.5))
    assert hypervisor.domains() == []
    daemon = cell.daemon()
    daemon.suspend()
    try:
        began = time.monotonic()
        for _ in range(10):
            with pytest.raises(HypervisorUnavailable):
                hypervisor.domains()
        # Three calls wait for their deadline, the others fail at once.
        assert time.monotonic() - began < 3
    finally:
        daemon.resume()
    wait_for(lambda: daemon.status() != psutil.STATUS_STOPPED)
    time.sleep(0.3)
    assert hypervisor.domains() == []


def test_garbage_is_collected_while_libvirtd_hangs(libvirt_lab: Lab, cell: Cell) -> None:
    hypervisor = LibvirtHypervisor(settings_of(cell, cell.directory / "state"))
    assert hypervisor.domains() == []
    cycle = [hypervisor]
    cycle.append(cycle)  # type: ignore[arg-type]  # only the collector finds it
    daemon = cell.daemon()
    daemon.suspend()
    try:
        collector = threading.Thread(target=gc.collect, daemon=True)
        del hypervisor, cycle
        collector.start()
        collector.join(5)
        assert not collector.is_alive()
    finally:
        daemon.resume()
    wait_for(lambda: libvirt_lab.hypervisor.domains() == [])


def test_traffic_is_told_by_tap_while_the_guest_runs(libvirt_lab: Lab) -> None:
    vm, disks = libvirt_lab.vm()
    libvirt_lab.hypervisor.start(vm, disks)
    received, sent = libvirt_lab.hypervisor.measure().taps[tap_name(vm.nics[0].id)]
    assert min(received, sent) >= 0
    libvirt_lab.hypervisor.stop(vm.id, True, 0)
    assert libvirt_lab.hypervisor.measure() == Measured({})


def test_a_tuned_domain_is_what_libvirt_holds_it_to(libvirt_lab: Lab, cell: Cell) -> None:
    vm, disks = libvirt_lab.vm()
    limits = IoLimits(read_bytes=1 << 20, write_iops=50, write_iops_max=90, write_iops_max_length=4)
    disk = replace(vm.disks[0], cache="writethrough", limits=limits)
    vm = replace(vm, disks=(disk, *vm.disks[1:]), io_threads=True, io_policy="threads")
    libvirt_lab.hypervisor.start(vm, disks)
    connection = libvirt.open(cell.uri)
    domain = connection.lookupByUUIDString(vm.id)
    held = domain.blockIoTune("vda")
    assert (held["read_bytes_sec"], held["write_iops_sec"], held["read_iops_sec"]) == (1 << 20, 50, 0)
    assert (held["write_iops_sec_max"], held["write_iops_sec_max_length"]) == (90, 4)
    assert len(domain.ioThreadInfo()) == 1
    driver = re.search(r"<driver name='qemu'.*?/>", domain.XMLDesc())
    assert driver is not None
    assert "cache='writethrough'" in driver[0]
    assert "iothread='1'" in driver[0]
    connection.close()


def test_a_paused_guest_goes_on(libvirt_lab: Lab) -> None:
    vm, disks = libvirt_lab.vm()
    libvirt_lab.hypervisor.start(vm, disks)
    connection = libvirt.open(libvirt_lab.cell.uri)
    connection.lookupByUUIDString(vm.id).suspend()
    assert libvirt_lab.facts(vm.id).state == "paused"
    libvirt_lab.hypervisor.start(vm, disks)
    assert libvirt_lab.facts(vm.id).state == "running"
    connection.close()


def test_a_domain_that_cannot_start_is_refused_with_the_reason(libvirt_lab: Lab) -> None:
    vm, disks = libvirt_lab.vm()
    Path(disks[0].path).unlink()
    with pytest.raises(DomainRefused, match="No such file"):
        libvirt_lab.hypervisor.start(vm, disks)
    libvirt_lab.hypervisor.stop(vm.id, True, 0)
    assert libvirt_lab.hypervisor.domains() == []


# A boot sector that writes "guest is up" to the first serial port, waits for the ACPI power button (status at port
# 0x600, enabled at 0x602) and then powers itself off (0x604).
GUEST = bytes.fromhex(
    "fa31c08ed8be3f7cac84c0741288c3bafd03eca82074fb88d8baf803eeebe9b0ffe6a1ba0206b80001effbf4ba0006edf6c40174f6ba0406"
    "b80020eff4ebfd67756573742069732075700a00"
)


@pytest.fixture
def guest(libvirt_lab: Lab) -> VmSpec:
    """A guest that is up."""
    vm, disks = libvirt_lab.vm()
    Path(disks[0].path).write_bytes((GUEST.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    libvirt_lab.hypervisor.start(vm, [replace(disks[0], format="raw")])
    wait_for(lambda: libvirt_lab.hypervisor.console(vm.id, 1000).count("guest is up") == 1)
    return vm


def test_a_guest_that_obeys_is_not_powered_off(libvirt_lab: Lab, guest: VmSpec) -> None:
    connection = libvirt.open(libvirt_lab.cell.uri)
    domain = connection.lookupByUUIDString(guest.id)
    daemon_log = (libvirt_lab.cell.directory / "log" / "qemu" / f"{guest.instance_name}.log").read_text
    assert domain.info()[0] == libvirt.VIR_DOMAIN_RUNNING
    began = time.monotonic()
    libvirt_lab.hypervisor.stop(guest.id, False, 30)
    assert time.monotonic() - began < 15
    assert libvirt_lab.hypervisor.domains() == []
    assert "reason=destroyed" not in daemon_log()
    connection.close()


@pytest.mark.parametrize("forced", [False, True])
def test_a_rebooted_guest_comes_up_again(libvirt_lab: Lab, guest: VmSpec, forced: bool) -> None:
    libvirt_lab.hypervisor.reboot(guest.id, forced, 20)
    wait_for(lambda: libvirt_lab.hypervisor.console(guest.id, 1000).count("guest is up") == 2)
    assert libvirt_lab.facts(guest.id) == DomainFacts(guest.id, guest.instance_name, "running", 1)


def test_the_console_is_bounded_while_the_guest_writes(cell: Cell, libvirt_lab: Lab, guest: VmSpec) -> None:
    small = LibvirtHypervisor(replace(settings_of(cell, cell.directory / "state"), console_bytes=6))
    small.domains()
    assert small.console(guest.id, 1000) == "is up\n"
    small.reboot(guest.id, True, 0)
    wait_for(lambda: small.console(guest.id, 1000).endswith("is up\nguest is up\n"))
