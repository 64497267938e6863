"""What every hypervisor driver must do, over the simulator and a libvirtd of our own; then what libvirt adds."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import libvirt
import psutil
import pytest

from agents.contract import DiskSpec, DomainFacts, NicSpec, VmSpec
from agents.figures import GuestFigures
from agents.host.hypervisor import libvirt as libvirt_driver
from agents.host.hypervisor import open_hypervisor
from agents.host.hypervisor.base import (
    DomainNotRunning,
    DomainRefused,
    ForeignDomain,
    Hypervisor,
    HypervisorUnavailable,
    Measured,
    StaleDomain,
)
from agents.host.hypervisor.libvirt import LibvirtHypervisor, LibvirtSettings
from agents.host.hypervisor.simulator import SimulatorHypervisor, SimulatorSettings
from network.names import tap_name
from storage import qemu_img
from storage.types import DiskSource, IoLimits, PoolSpec

CELL = Path(__file__).parents[1] / "unit" / "agents" / "hypervisor" / "libvirt_cell.py"
FOREIGN_XML = """
<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>16</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>
"""


@dataclass
class Cell:
    """A libvirtd in namespaces of its own."""

    directory: Path
    process: psutil.Process

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.directory}/run/libvirt-sock"

    def daemon(self) -> psutil.Process:
        return next(child for child in self.process.children(recursive=True) if child.name() == "libvirtd")

    def guests(self) -> list[psutil.Process]:
        return [child for child in self.process.children(recursive=True) if child.name().startswith("qemu-system")]

    def add_tap(self, name: str) -> None:
        inner = self.process.children()[0].pid
        subprocess.run(["nsenter", "-t", str(inner), "-n", "ip", "tuntap", "add", name, "mode", "tap"], check=True)


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    due = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < due, "it did not become true in time"
        time.sleep(0.05)


@contextmanager
def libvirt_cell() -> Iterator[Cell]:
    directory = Path(tempfile.mkdtemp(prefix="pts-"))
    command = ["unshare", "-mnp", "--fork", "--kill-child", "--mount-proc", sys.executable, str(CELL), str(directory)]
    with subprocess.Popen(command) as process:
        try:
            wait_for((directory / "run" / "libvirt-sock").exists)
            yield Cell(directory, psutil.Process(process.pid))
        finally:
            process.kill()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def cell() -> Iterator[Cell]:
    with libvirt_cell() as cell:
        yield cell


@dataclass
class Lab:
    """A driver, and the means to make what it needs from outside."""

    hypervisor: Hypervisor
    directory: Path
    cell: Cell | None

    def vm(self, **changes: object) -> tuple[VmSpec, list[DiskSource]]:
        """A VM with an empty disk and a NIC; it never gets further than its firmware."""
        volume, nic = str(uuid.uuid4()), str(uuid.uuid4())
        source = DiskSource(str(self.directory / volume), "qcow2")
        qemu_img.create(Path(source.path), "qcow2", 1 << 20)
        if self.cell is not None:
            self.cell.add_tap(tap_name(nic))
        vm_id = str(uuid.uuid4())
        disk = DiskSpec(volume, PoolSpec("pool", "local", str(self.directory)), "qcow2")
        nics = (NicSpec(nic, "network", "02:00:00:00:00:01", 1450),)
        vm = VmSpec(vm_id, f"i-{vm_id[:8]}", 1, 1, 64 << 20, 500, nics, (disk,), "Gäste-1")
        return replace(vm, **changes), [source]

    def plant_foreign(self, name: str) -> str:
        foreign = str(uuid.uuid4())
        if isinstance(self.hypervisor, SimulatorHypervisor):
            self.hypervisor.plant_foreign(foreign, name)
        else:
            assert self.cell is not None
            connection = libvirt.open(self.cell.uri)
            connection.defineXML(FOREIGN_XML.format(name=name, uuid=foreign)).create()
            connection.close()
        return foreign

    def crash(self, vm_id: str) -> None:
        """End the guest as a crash of its QEMU does."""
        if isinstance(self.hypervisor, SimulatorHypervisor):
            self.hypervisor.set_state(vm_id, "shutoff")
        else:
            assert self.cell is not None
            next(guest for guest in self.cell.guests() if vm_id in " ".join(guest.cmdline())).kill()
        wait_for(lambda: self.facts(vm_id).state == "shutoff")

    def facts(self, vm_id: str) -> DomainFacts | None:
        return next((facts for facts in self.hypervisor.domains() if facts.vm_id == vm_id), None)


def settings_of(cell: Cell, state_dir: Path) -> LibvirtSettings:
    return LibvirtSettings(str(state_dir), cell.uri, cpu_shares=False, call_seconds=5.0)


@pytest.fixture(params=["simulator", "libvirt"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    if request.param == "simulator":
        hypervisor = open_hypervisor("simulator", SimulatorSettings(str(tmp_path)))
        yield Lab(hypervisor, tmp_path, None)
        hypervisor.close()
        return
    cell = request.getfixturevalue("cell")
    hypervisor = open_hypervisor("libvirt", settings_of(cell, cell.directory / "state"))
    yield Lab(hypervisor, tmp_path, cell)
    connection = libvirt.open(cell.uri)
    for domain in connection.listAllDomains():
        if domain.isActive():
            domain.destroy()
        domain.undefine()
    connection.close()


@pytest.fixture
def libvirt_lab(cell: Cell, tmp_path: Path) -> Iterator[Lab]:
    hypervisor = LibvirtHypervisor(settings_of(cell, cell.directory / "state"))
    lab = Lab(hypervisor, tmp_path, cell)
    yield lab
    for facts in hypervisor.domains():
        hypervisor.stop(facts.vm_id, True, 0)


def test_a_started_domain_runs_with_its_generation(lab: Lab) -> None:
    vm, disks = lab.vm(generation=7)
    lab.hypervisor.start(vm, disks)
    assert lab.facts(vm.id) == DomainFacts(vm.id, vm.instance_name, "running", 7)


def test_starting_what_runs_leaves_it_alone(lab: Lab) -> None:
    vm, disks = lab.vm()
    lab.hypervisor.start(vm, disks)
    before = [guest.pid for guest in lab.cell.guests()] if lab.cell else None
    lab.hypervisor.start(vm, disks)
    assert before == ([guest.pid for guest in lab.cell.guests()] if lab.cell else None)
    assert len(lab.hypervisor.domains()) == 1


@pytest.mark.parametrize("generation", [1, 3])
def test_a_domain_of_another_generation_that_runs_is_stale(lab: Lab, generation: int) -> None:
    vm, disks = lab.vm(generation=2)
    lab.hypervisor.start(vm, disks)
    with pytest.raises(StaleDomain, match=vm.id):
        lab.hypervisor.start(replace(vm, generation=generation), disks)
    assert lab.facts(vm.id).generation == 2


def test_a_domain_that_is_off_is_defined_anew(lab: Lab) -> None:
    vm, disks = lab.vm()
    lab.hypervisor.start(vm, disks)
    lab.crash(vm.id)
    lab.hypervisor.start(replace(vm, generation=2), disks)
    assert lab.facts(vm.id) == DomainFacts(vm.id, vm.instance_name, "running", 2)


def test_a_late_start_does_not_replace_a_newer_domain_that_is_off(lab: Lab) -> None:
    vm, disks = lab.vm(generation=5)
    lab.hypervisor.start(vm, disks)
    lab.crash(vm.id)
    with pytest.raises(StaleDomain):
        lab.hypervisor.start(replace(vm, generation=4), disks)
    assert lab.facts(vm.id).state == "shutoff"


@pytest.mark.parametrize("forced", [True, False])
def test_a_stopped_domain_is_gone(lab: Lab, forced: bool) -> None:
    vm, disks = lab.vm()
    lab.hypervisor.start(vm, disks)
    lab.hypervisor.stop(vm.id, forced, 1)
    assert lab.facts(vm.id) is None
    lab.hypervisor.forget(vm.id)
    assert lab.hypervisor.console(vm.id, 100) == ""


def test_stopping_what_is_gone_is_no_error(lab: Lab) -> None:
    lab.hypervisor.stop(str(uuid.uuid4()), False, 1)


def test_a_domain_that_crashed_can_be_stopped(lab: Lab) -> None:
    vm, disks = lab.vm()
    lab.hypervisor.start(vm, disks)
    lab.crash(vm.id)
    lab.hypervisor.stop(vm.id, False, 1)
    assert lab.facts(vm.id) is None


def test_reboot_keeps_the_domain(lab: Lab) -> None:
    vm, disks = lab.vm()
    lab.hypervisor.start(vm, disks)
    lab.hypervisor.reboot(vm.id, True, 0)
    lab.hypervisor.reboot(vm.id, False, 1)
    assert lab.facts(vm.id).state == "running"


def test_reboot_needs_a_running_domain(lab: Lab) -> None:
    vm, disks = lab.vm()
    with pytest.raises(DomainNotRunning):
        lab.hypervisor.reboot(vm.id, True, 0)
    lab.hypervisor.start(vm, disks)
    lab.crash(vm.id)
    with pytest.raises(DomainNotRunning):
        lab.hypervisor.reboot(vm.id, True, 0)


def more_nic(lab: Lab) -> NicSpec:
    """A second NIC, whose tap is there."""
    nic = NicSpec(str(uuid.uuid4()), "network", "02:00:00:00:00:02", 1450)
    if lab.cell is not None:
        lab.cell.add_tap(tap_name(nic.id))
    return nic


def test_a_nic_is_attached_once_and_only_to_what_runs(lab: Lab) -> None:
    vm, disks = lab.vm()
    nic = more_nic(lab)
    with pytest.raises(DomainNotRunning):
        lab.hypervisor.attach(vm.id, nic)
    lab.hypervisor.start(vm, disks)
    lab.hypervisor.attach(vm.id, nic)
    lab.hypervisor.attach(vm.id, nic)
    assert lab.facts(vm.id).state == "running"
    lab.hypervisor.start(vm, disks)
    lab.crash(vm.id)
    with pytest.raises(DomainNotRunning):
        lab.hypervisor.attach(vm.id, nic)
    lab.hypervisor.detach(vm.id, nic)


def test_detaching_what_is_gone_is_no_error(lab: Lab) -> None:
    vm, disks = lab.vm()
    lab.hypervisor.detach(vm.id, more_nic(lab))
    lab.hypervisor.start(vm, disks)
    lab.hypervisor.detach(vm.id, more_nic(lab))


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


def test_foreign_domains_are_shown_and_never_touched(lab: Lab) -> None:
    vm, disks = lab.vm()
    foreign = lab.plant_foreign(vm.instance_name)
    with pytest.raises(ForeignDomain, match=vm.instance_name):
        lab.hypervisor.start(vm, disks)
    with pytest.raises(ForeignDomain, match=foreign):
        lab.hypervisor.start(replace(vm, id=foreign), disks)
    with pytest.raises(ForeignDomain, match=foreign):
        lab.hypervisor.stop(foreign, True, 0)
    assert lab.hypervisor.domains() == [DomainFacts(foreign, vm.instance_name, "running", -1)]


def test_disks_must_match_the_specification(lab: Lab) -> None:
    vm, _ = lab.vm()
    with pytest.raises(DomainRefused):
        lab.hypervisor.start(vm, [])


def test_facts_are_of_this_boot(lab: Lab) -> None:
    facts = lab.hypervisor.facts()
    assert facts.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert facts.cpus > 0
    assert facts.memory > 1 << 30
    assert facts.hypervisor_version


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


def test_what_a_guest_does_is_told_while_it_runs(lab: Lab) -> None:
    vm, disks = lab.vm()
    lab.hypervisor.start(vm, disks)
    wait_for(lambda: of(lab, vm).cpu_ns > 0)
    first = of(lab, vm)
    assert (first.memory, first.memory_target) == (vm.memory >> 10, vm.memory >> 10)
    wait_for(lambda: of(lab, vm).cpu_ns > first.cpu_ns)
    assert of(lab, vm).measured > first.measured
    lab.hypervisor.stop(vm.id, True, 0)
    assert vm.id not in {guest.vm_id for guest in lab.hypervisor.measure().guests}


def of(lab: Lab, vm: VmSpec) -> GuestFigures:
    return next(guest for guest in lab.hypervisor.measure().guests if guest.vm_id == vm.id)


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
