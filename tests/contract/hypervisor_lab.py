"""A hypervisor driver in a laboratory: the simulator, or libvirt over a libvirtd of our own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import libvirt
import psutil

from agents.contract import DiskSpec, DomainFacts, NicSpec, VmSpec
from agents.host.hypervisor.base import (
    Hypervisor,
)
from agents.host.hypervisor.libvirt import LibvirtSettings
from agents.host.hypervisor.simulator import SimulatorHypervisor
from network.names import tap_name
from storage import qemu_img
from storage.types import DiskSource, PoolSpec

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


def more_nic(lab: Lab) -> NicSpec:
    """A second NIC, whose tap is there."""
    nic = NicSpec(str(uuid.uuid4()), "network", "02:00:00:00:00:02", 1450)
    if lab.cell is not None:
        lab.cell.add_tap(tap_name(nic.id))
    return nic
