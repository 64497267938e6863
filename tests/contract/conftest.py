"""The laboratories of the hypervisor drivers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from agents.host.hypervisor import open_hypervisor
from agents.host.hypervisor.libvirt import LibvirtHypervisor
from agents.host.hypervisor.simulator import SimulatorSettings
from tests.contract.hypervisor_lab import Cell, Lab, libvirt_cell, settings_of


@pytest.fixture(scope="module")
def cell() -> Iterator[Cell]:
    with libvirt_cell() as cell:
        yield cell


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
