"""What guests do, from the reports of their hosts to the lists of virtual machines."""

from __future__ import annotations

from dataclasses import replace

from manager import reports
from manager.models import (
    Host,
    Vm,
    VmFigures,
)
from manager.workflows.housekeeping import forget_figures
from tests.unit.api.live_cloud import rows, run, statements

MIB, GIB = 2**20, 2**30


def report(cloud, sequence, **changes):
    """Every host reports, its guests with these figures added to what they count."""
    for runner in cloud.runners.values():
        if runner.host.hypervisor is None:
            continue
        found = replace(runner.host.inventory(), incarnation="i1", sequence=sequence)
        guests = tuple(replace(guest, cpu_ns=0, measured=0.0, **FIGURES) for guest in found.guests)
        guests = tuple(replace(guest, **changes) for guest in guests)
        reports.take(runner.report("inventory", replace(found, guests=guests)))


FIGURES = {"received": 10240, "sent": 2048, "read": 4096, "written": 8192, "reads": 1, "writes": 2}


def figures(api, user, **more):
    (vm,) = api("listVirtualMachines", user, **more)["virtualmachine"]
    names = ("cpuused", "networkkbsread", "networkkbswrite", "diskkbsread", "diskioread", "receivedbytes")
    return [vm.get(name) for name in names]


def test_figures_are_those_between_the_last_two_reports_or_sums(api, deploy, user, cloud, admin):
    deploy()
    report(cloud, 1)
    report(cloud, 2, received=20480, cpu_ns=5_000_000_000, measured=10.0)
    assert figures(api, user, details="stats") == ["50.00%", 10, 0, 0, 0, 20480]
    assert figures(api, user, details="stats", accumulate=True) == ["50.00%", 20, 2, 4, 1, 20480]
    assert figures(api, user) == [None] * 6
    (vm,) = api("listVirtualMachinesMetrics", user)["virtualmachine"]
    assert (vm["memorykbs"], vm["memorytargetkbs"], vm["memoryintfreekbs"]) == (65536, 65536, 32768)
    api("updateConfiguration", name="vm.stats.increment.metrics", value="true")
    assert figures(api, user, details="stats")[1] == 20
    api("updateConfiguration", name="list.vm.default.details.stats", value="true")
    assert figures(api, user)[1] == 20


def test_counters_begin_anew_with_each_placement(api, deploy, user, cloud):
    vm = deploy()
    report(cloud, 1)
    run(api, cloud, user, "stopVirtualMachine", id=vm["id"], forced=True)
    run(api, cloud, user, "startVirtualMachine", id=vm["id"])
    report(cloud, 2, received=20480)
    assert figures(api, user, details="stats", accumulate=True) == [None, 30, 4, 8, 2, 30720]
    report(cloud, 3, received=1024)  # as of a guest that its host defined anew
    assert figures(api, user, details="stats", accumulate=True)[1] == 31


def test_a_host_speaks_only_for_what_is_placed_on_it(api, deploy, user, cloud, factory):
    vm = deploy()
    other = next(host for host in rows(factory, Host) if host.id != factory.first(Vm, id=vm["id"]).host_id)
    runner = cloud.runners[other.agent_id]
    found = replace(runner.host.inventory(), incarnation="i1", sequence=1)
    theirs = next(r for r in cloud.runners.values() if r.host.hypervisor and r.host.inventory().guests)
    reports.take(runner.report("inventory", replace(found, guests=theirs.host.inventory().guests)))
    assert rows(factory, VmFigures) == []


def test_figures_of_what_is_gone_are_forgotten(api, deploy, user, cloud, factory, admin):
    vm = deploy()
    deploy(name="stays")
    report(cloud, 1)
    run(api, cloud, admin, "destroyVirtualMachine", id=vm["id"], expunge=True)
    forget_figures()
    assert [row.vm_id for row in rows(factory, VmFigures)] == [row.id for row in rows(factory, Vm, name="stays")]


def test_figures_cost_no_statement(engine, api, deploy, user, cloud):
    deploy()
    report(cloud, 1)
    taken = {}
    for details in ("stats", "min"):
        with statements(engine) as sent:
            api("listVirtualMachines", user, details=details)
        taken[details] = len(sent)
    assert taken["stats"] == taken["min"]
