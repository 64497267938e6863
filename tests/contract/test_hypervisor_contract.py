"""What every hypervisor driver must do, over the simulator and over libvirt."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from agents.contract import DomainFacts, VmSpec
from agents.figures import GuestFigures
from agents.host.hypervisor.base import (
    DomainNotRunning,
    DomainRefused,
    ForeignDomain,
    StaleDomain,
)
from tests.contract.hypervisor_lab import Lab, more_nic, wait_for


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
