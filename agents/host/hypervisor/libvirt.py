"""Domains under libvirt and QEMU. Domains are defined persistently and never start by themselves.

No events and no state of its own: every call reads what libvirt shows, so a restarted agent goes on where it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import libvirt

from agents.contract import DomainFacts, HostFacts, NicSpec, VmSpec
from agents.host.hypervisor.base import (
    DomainNotRunning,
    DomainRefused,
    ForeignDomain,
    HypervisorUnavailable,
    Measured,
    StaleDomain,
)
from agents.host.hypervisor.connection import Connection
from agents.host.hypervisor.console_log import ConsoleLogs
from agents.host.hypervisor.domain_stats import FIGURES, measured
from agents.host.hypervisor.domain_xml import AttachedDisk, Platform, domain_xml, has_interface, interface_xml
from agents.host.hypervisor.metadata import DomainMark, read_mark
from agents.host.hypervisor.probe import boot_id, proven_virt_type
from storage.types import DiskSource

STATES: dict[int, Literal["running", "paused", "shutoff", "crashed"]] = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_SHUTDOWN: "running",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "paused",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTOFF: "shutoff",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
}
UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
POLL_SECONDS = 0.2
BOOT_SECONDS = 60.0
POWER_OFF_SECONDS = 30.0
DETACH_SECONDS = 30.0
DETACH_CALL_SECONDS = 20.0
"""libvirt itself waits for some seconds whether the guest lets go."""
UNPLUGGING = "in the process of unplug"


@dataclass(frozen=True, slots=True)
class LibvirtSettings:
    """Settings of the driver. `call_seconds` bounds each call to libvirtd.

    `virt_type` 'auto' is what a boot probe proves. `kvm_cpu` and `qemu_cpu` are CPU models as in Platform.
    `cpu_shares` needs libvirtd to have the cgroup controller cpu; without, CPUs are neither weighed nor capped.
    `console_bytes` bounds a console's log.
    """

    state_dir: str
    uri: str = "qemu:///system"
    virt_type: Literal["auto", "kvm", "qemu"] = "auto"
    emulator: str = "/usr/bin/qemu-system-x86_64"
    machine: Literal["pc", "q35"] = "pc"
    kvm_cpu: str = "host-model"
    qemu_cpu: str = "qemu64"
    cpu_shares: bool = True
    offloads: bool = False
    call_seconds: float = 20.0
    console_bytes: int = 1 << 20


class LibvirtHypervisor:
    """Drives one libvirtd. Only domains that bear our mark are ever changed."""

    def __init__(self, settings: LibvirtSettings) -> None:
        self._settings = settings
        self._connection = Connection(settings.uri, settings.call_seconds)
        self._consoles = ConsoleLogs(Path(settings.state_dir) / "console", settings.console_bytes)

    def start(self, vm: VmSpec, disks: Sequence[DiskSource]) -> None:
        self._refuse_name_of_other(vm)
        found = self._find(vm.id)
        if found is not None and self._is_settled(vm, *found):
            return
        text = domain_xml(vm, _attached(vm, disks), self._platform)
        self._consoles.prepare(vm.id)
        connection = self._connection.ready()
        flags = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        domain = self._connection.run("define the domain", lambda: connection.defineXMLFlags(text, flags))
        self._connection.run("start the domain", domain.create, BOOT_SECONDS)

    def _is_settled(self, vm: VmSpec, domain: libvirt.virDomain, mark: DomainMark) -> bool:
        """Whether the domain runs as it should; one that a full pool paused goes on."""
        state = self._state(domain)
        if mark.generation > vm.generation:
            raise StaleDomain(f"VM {vm.id} has generation {mark.generation} here, newer than {vm.generation}.")
        if state not in {"running", "paused"}:
            return False
        if mark.generation != vm.generation:
            raise StaleDomain(f"VM {vm.id} runs here with generation {mark.generation} instead of {vm.generation}.")
        if state == "paused":
            self._connection.run("resume the domain", domain.resume)
        return True

    def stop(self, vm_id: str, forced: bool, grace: int) -> None:
        found = self._find(vm_id)
        if found is None:
            return
        domain, _ = found
        try:
            if not forced:
                self._shut_down(domain, grace)
            self._power_off(domain)
            self._connection.run("undefine the domain", lambda: domain.undefineFlags(UNDEFINE))
        except libvirt.libvirtError as error:
            _unless_gone(error)

    def _power_off(self, domain: libvirt.virDomain) -> None:
        if self._state(domain) in {"shutoff", "crashed"}:
            return
        try:
            self._connection.run("power the domain off", domain.destroy, POWER_OFF_SECONDS)
        except DomainRefused as error:
            # The guest can have powered itself off since it was looked at; a process that waits for a disk ends later.
            if self._state(domain) != "shutoff":
                raise HypervisorUnavailable(str(error)) from error

    def reboot(self, vm_id: str, forced: bool, grace: int) -> None:
        found = self._find(vm_id)
        if found is None or self._state(found[0]) not in {"running", "paused"}:
            raise DomainNotRunning(f"VM {vm_id} does not run on this host.")
        domain, _ = found
        if not forced and self._shut_down(domain, grace):
            self._connection.run("start the domain", domain.create, BOOT_SECONDS)
            return
        self._connection.run("reset the domain", domain.reset)
        if self._state(domain) == "paused":
            self._connection.run("resume the domain", domain.resume)

    def attach(self, vm_id: str, nic: NicSpec) -> None:
        found = self._find(vm_id)
        if found is None or self._state(found[0]) not in {"running", "paused"}:
            raise DomainNotRunning(f"VM {vm_id} does not run on this host.")
        domain, _ = found
        text = interface_xml(nic, self._platform)
        for flag in (libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG):
            if not self._has_nic(domain, nic, flag):
                self._connection.run("attach a NIC", partial(domain.attachDeviceFlags, text, flag))

    def detach(self, vm_id: str, nic: NicSpec) -> None:
        found = self._find(vm_id)
        if found is None:
            return
        domain, _ = found
        text = interface_xml(nic, self._platform)
        live, stored = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
        if self._state(domain) in {"running", "paused"} and self._has_nic(domain, nic, live):
            try:
                self._connection.run("detach a NIC", lambda: domain.detachDeviceFlags(text, live), DETACH_CALL_SECONDS)
            except DomainRefused as error:
                if UNPLUGGING not in str(error):  # asked before, and not answered yet
                    raise
            self._await_detached(domain, nic)
        if self._has_nic(domain, nic, stored):
            self._connection.run("detach a NIC", lambda: domain.detachDeviceFlags(text, stored))

    def _await_detached(self, domain: libvirt.virDomain, nic: NicSpec) -> None:
        """The guest is asked by ACPI and takes its time; one without ACPI never answers."""
        due = time.monotonic() + DETACH_SECONDS
        while self._has_nic(domain, nic, libvirt.VIR_DOMAIN_AFFECT_LIVE):
            if time.monotonic() > due:
                raise DomainRefused(
                    f"The guest did not let go of the NIC {nic.mac} within {DETACH_SECONDS:g} seconds; its operating "
                    "system must know PCI hot-plug. Stop the virtual machine to remove the NIC."
                )
            time.sleep(POLL_SECONDS)

    def _has_nic(self, domain: libvirt.virDomain, nic: NicSpec, flag: int) -> bool:
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE if flag == libvirt.VIR_DOMAIN_AFFECT_CONFIG else 0
        return has_interface(self._connection.run("read the domain", lambda: domain.XMLDesc(flags)), nic)

    def domains(self) -> list[DomainFacts]:
        connection = self._connection.ready()
        facts = []
        for domain in self._connection.run("list the domains", connection.listAllDomains):
            try:
                facts.append(self._domain_facts(domain))
            except libvirt.libvirtError as error:
                _unless_gone(error)
        self._consoles.trim()
        return facts

    def _domain_facts(self, domain: libvirt.virDomain) -> DomainFacts:
        mark = self._mark(domain)
        return DomainFacts(
            domain.UUIDString(), domain.name(), self._state(domain), mark.generation if mark is not None else -1
        )

    def console(self, vm_id: str, limit: int) -> str:
        return self._consoles.read(vm_id, limit)

    def measure(self) -> Measured:
        connection = self._connection.ready()
        read = self._connection.run("read the figures", lambda: connection.getAllDomainStats(*FIGURES))
        return measured([(domain.UUIDString(), stats) for domain, stats in read], time.time())

    def forget(self, vm_id: str) -> None:
        self._consoles.remove(vm_id)

    def facts(self) -> HostFacts:
        connection = self._connection.ready()
        run = self._connection.run
        _, memory_mib, cpus, mhz, *_ = run("read the host's size", connection.getInfo)
        version = _dotted(run("read QEMU's version", connection.getVersion))
        library = _dotted(run("read libvirt's version", connection.getLibVersion))
        return HostFacts(
            hostname=run("read the host's name", connection.getHostname),
            cpus=cpus,
            cpu_mhz=mhz,
            memory=memory_mib << 20,
            virt_type=self._platform.virt_type,
            hypervisor_version=f"QEMU {version}, libvirt {library}",
            boot_id=boot_id(),
        )

    @cached_property
    def _platform(self) -> Platform:
        settings = self._settings
        virt_type = settings.virt_type
        if virt_type == "auto":
            virt_type = proven_virt_type(settings.emulator, Path(settings.state_dir))
        return Platform(
            virt_type=virt_type,
            console_dir=str(self._consoles.directory),
            emulator=settings.emulator,
            machine=settings.machine,
            cpu_model=settings.kvm_cpu if virt_type == "kvm" else settings.qemu_cpu,
            cpu_shares=settings.cpu_shares,
            offloads=settings.offloads,
            host_mhz=self._connection.run("read the host's size", self._connection.ready().getInfo)[3],
        )

    def _find(self, vm_id: str) -> tuple[libvirt.virDomain, DomainMark] | None:
        """The domain of that UUID and its mark.

        :raises ForeignDomain: it is there without our mark
        """
        domain = self._look_up(lambda connection: connection.lookupByUUIDString(vm_id))
        if domain is None:
            return None
        mark = self._mark(domain)
        if mark is None or mark.vm_id != vm_id:
            raise ForeignDomain(f"A domain with the UUID {vm_id} is on this host, but Pileus did not define it.")
        return domain, mark

    def _refuse_name_of_other(self, vm: VmSpec) -> None:
        domain = self._look_up(lambda connection: connection.lookupByName(vm.instance_name))
        if domain is not None and domain.UUIDString() != vm.id:
            raise ForeignDomain(f"The name {vm.instance_name} belongs to domain {domain.UUIDString()} on this host.")

    def _look_up(self, call: Callable[[libvirt.virConnect], libvirt.virDomain]) -> libvirt.virDomain | None:
        connection = self._connection.ready()
        try:
            return self._connection.run("look the domain up", lambda: call(connection))
        except libvirt.libvirtError as error:
            _unless_gone(error)
            return None

    def _mark(self, domain: libvirt.virDomain) -> DomainMark | None:
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE
        return read_mark(self._connection.run("read the domain", lambda: domain.XMLDesc(flags)))

    def _state(self, domain: libvirt.virDomain) -> Literal["running", "paused", "shutoff", "crashed", "other"]:
        number, _reason = self._connection.run("read the domain's state", domain.state)
        return STATES.get(number, "other")

    def _shut_down(self, domain: libvirt.virDomain, grace: int) -> bool:
        """Press the power button; whether the guest was off within `grace` seconds."""
        if self._state(domain) != "running":
            return False
        # libvirt refuses when the guest has just powered itself off.
        with suppress(DomainRefused):
            self._connection.run("shut the domain down", domain.shutdown)
        due = time.monotonic() + grace
        while time.monotonic() < due:
            if self._state(domain) == "shutoff":
                return True
            time.sleep(POLL_SECONDS)
        return False


def _attached(vm: VmSpec, disks: Sequence[DiskSource]) -> tuple[AttachedDisk, ...]:
    if len(disks) != len(vm.disks):
        raise DomainRefused(f"VM {vm.id} has {len(vm.disks)} disks, but {len(disks)} were given.")
    pairs = zip(vm.disks, disks, strict=True)
    return tuple(
        AttachedDisk(disk.volume_id, disk.device, one, _supports_direct(one.path), disk.cache, disk.limits)
        for disk, one in pairs
    )


def _unless_gone(error: libvirt.libvirtError) -> None:
    if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
        raise error


def _dotted(version: int) -> str:
    return f"{version // 1000000}.{version // 1000 % 1000}.{version % 1000}"


def _supports_direct(path: str) -> bool:
    """Whether QEMU may open the file past the page cache: tmpfs and some network file systems refuse."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except OSError:
        return False
    return True
