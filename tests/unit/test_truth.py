"""The oracle on the cloud in one process: nothing is found in a clean one, and each planted fault is, by its kind."""

import datetime as dt
import itertools
from dataclasses import replace

import pytest
from sqlalchemy import delete, select, update

from agents.contract import DeviceDrift, DomainFacts, NetworkFacts
from manager import reports, truth
from manager.celery_app import app
from manager.db import epoch, transaction
from manager.models import (
    AgentCommandRow,
    Host,
    ImageStore,
    Inventory,
    Network,
    Nic,
    PublicAddress,
    ResourceUse,
    Router,
    StoragePool,
    Template,
    TunnelKey,
    Vm,
    Volume,
    WorkflowRow,
    new_id,
    utcnow,
)
from manager.workflows.vm import destroy_vm
from tests.unit.workflows.cloud import Cloud

_sequence = itertools.count(1)


@pytest.fixture
def cloud(any_engine, tmp_path) -> Cloud:
    """On each of the three databases."""
    app.cache_clear()
    return Cloud(tmp_path)


def survey(cloud, *, of=None, **planted):
    """Every agent reports its inventory; that of the host (or image store) `of` has the `planted` parts."""
    for runner in cloud.runners.values():
        found = replace(runner.host.inventory(), incarnation="i1", sequence=next(_sequence))
        if runner.host.id == of:
            found = replace(found, **planted)
        reports.take(runner.report("inventory", found))


def age(seconds=3600):
    """Jobs ended, and what they removed went, `seconds` ago."""
    with transaction() as s:
        then = utcnow() - dt.timedelta(seconds=seconds)
        s.execute(update(WorkflowRow).where(WorkflowRow.status != "running").values(ended=then))
        for model in (Vm, Volume, Network, Router, Template):
            s.execute(update(model).where(model.removed.is_not(None)).values(removed=then))


def compare():
    with transaction() as s:
        return truth.compare(s)


def kinds(part):
    return sorted(finding.type for finding in part)


def change(model, row_id, /, **values):
    with transaction() as s:
        s.execute(update(model).where(model.id == row_id).values(values))


@pytest.fixture
def vm(cloud) -> Vm:
    """A running VM, deployed long ago in a cloud that is surveyed."""
    vm_id = cloud.deploy("web")
    cloud.settle()
    age()
    survey(cloud)
    return cloud.get(Vm, vm_id)


def test_a_clean_cloud_through_a_life(cloud):
    def clean():
        survey(cloud)
        found = compare()
        assert (found.drift, found.orphans) == ([], [])
        age()
        survey(cloud)
        found = compare()
        assert (found.drift, found.orphans) == ([], [])

    clean()
    first, second = cloud.deploy("one"), cloud.deploy("two")
    cloud.settle()
    clean()
    cloud.stop(first)
    cloud.settle()
    clean()
    cloud.start(first)
    cloud.settle()
    clean()
    with transaction() as s:
        destroy_vm.start(s, s.get_one(Vm, first), forced=True)
    cloud.settle()
    clean()
    with transaction() as s:
        s.execute(update(Host).values(resource_state="Disabled"))
    refused = cloud.deploy("three")
    cloud.settle()
    assert cloud.get(Vm, refused).state == "Error"
    clean()
    for vm_id in (first, second, refused):
        cloud.destroy(vm_id)
    cloud.settle()
    clean()
    cloud.delete_network()
    cloud.settle()
    clean()


def domain_of(vm, **values):
    return DomainFacts(
        **{"vm_id": vm.id, "instance_name": vm.instance_name, "state": "running", "generation": vm.generation, **values}
    )


def device_drift(vm, difference):
    return DeviceDrift(one(Nic.network_id, vm_id=vm.id), "192.0.2.90", difference)


def inventory_of(cloud, host_id):
    return next(runner.host.inventory() for runner in cloud.runners.values() if runner.host.id == host_id)


def other_host(cloud, vm):
    return next(host_id for host_id in cloud.hosts if host_id != vm.host_id)


@pytest.mark.parametrize(
    ("planted", "kind", "expected", "found"),
    [
        (lambda _: {"domains": ()}, "vm.missing", "running", "absent"),
        (lambda vm: {"domains": (domain_of(vm, state="paused"),)}, "vm.state", "running", "paused"),
        (lambda vm: {"domains": (domain_of(vm, generation=7),)}, "vm.generation", "1", "7"),
        (lambda _: {"volumes": ()}, "volume.missing", "a file", "none"),
        (lambda _: {"flow_drift": ("-table=0,drop",)}, "flow", "table=0,drop", "absent"),
        (lambda _: {"flow_drift": ("+table=0,normal",)}, "flow", "absent", "table=0,normal"),
        (lambda vm: {"device_drift": (device_drift(vm, "-service s"),)}, "device", "service s", "absent"),
        (lambda vm: {"device_drift": (device_drift(vm, "+service s"),)}, "device", "absent", "service s"),
        (lambda vm: {"device_drift": (device_drift(vm, "~service s"),)}, "device", "service s", "changed"),
    ],
)
def test_what_the_vms_host_does_not_show(cloud, vm, planted, kind, expected, found):
    survey(cloud, of=vm.host_id, **planted(vm))
    drift = compare().drift
    assert kinds(drift) == [kind]
    (finding,) = drift
    assert (finding.expected, finding.found, finding.host_id) == (expected, found, vm.host_id)
    assert finding.surveyed is not None
    assert finding.host_name in finding.detail
    assert compare().orphans == []


def test_a_vm_on_the_wrong_host(cloud, vm):
    survey(cloud, of=other_host(cloud, vm), domains=(domain_of(vm),))
    (finding,) = compare().drift
    assert (finding.type, finding.host_id, finding.resource_id) == ("vm.unwanted", other_host(cloud, vm), vm.id)


def test_a_stopped_vm_that_runs(cloud, vm):
    cloud.stop(vm.id)
    cloud.settle()
    age()
    nic_id = one(Nic.id, vm_id=vm.id)
    survey(cloud, of=vm.host_id, domains=(domain_of(vm),), ports=(nic_id,))
    assert kinds(compare().drift) == ["nic.unwanted", "vm.unwanted"]


def one(column, **where):
    with transaction() as s:
        return s.scalars(select(column).filter_by(**where)).one()


def test_a_nic_without_a_port(cloud, vm):
    survey(cloud, of=vm.host_id, ports=())
    (finding,) = compare().drift
    assert (finding.type, finding.resource_id) == ("nic.port", one(Nic.id, vm_id=vm.id))


@pytest.mark.parametrize(
    ("changed", "kind"),
    [(None, "network.missing"), ({"key": 5}, "network.key"), ({"generation": 0}, "network.generation")],
)
def test_a_network_that_a_host_does_not_hold_as_it_should(cloud, vm, changed, kind):
    held = inventory_of(cloud, vm.host_id).networks
    survey(cloud, of=vm.host_id, networks=tuple(replace(view, **changed) for view in held) if changed else ())
    (finding,) = compare().drift
    assert (finding.type, finding.resource_id) == (kind, cloud.network_id)


def test_a_network_where_it_has_no_nic(cloud, vm):
    network_id = cloud.add_network("empty")
    survey(cloud, of=vm.host_id, networks=(*inventory_of(cloud, vm.host_id).networks, NetworkFacts(network_id, 9, 1)))
    (finding,) = compare().drift
    assert (finding.type, finding.resource_id) == ("network.unwanted", network_id)


def test_routers_that_are_missing_or_elsewhere(cloud, vm):
    with transaction() as s:
        router = s.scalars(select(Router)).one()
    elsewhere = next(host_id for host_id in cloud.hosts if host_id != router.host_id)
    survey(cloud, of=router.host_id, routers=())
    assert [(f.type, f.resource_id) for f in compare().drift] == [("router.missing", router.id)]
    survey(cloud, of=elsewhere, routers=(router.id,))
    assert [(f.type, f.host_id) for f in compare().drift] == [("router.unwanted", elsewhere)]


def test_volumes_and_images_where_they_do_not_belong(cloud, vm):
    volume_id = one(Volume.id, vm_id=vm.id)
    survey(cloud, of=other_host(cloud, vm), volumes=(volume_id,))
    assert kinds(compare().drift) == ["volume.unwanted"]
    store_id = one(ImageStore.id)
    survey(cloud, of=store_id, images=())
    assert [(f.type, f.resource_id, f.host_id) for f in compare().drift] == [
        ("image.missing", cloud.template_id, store_id)
    ]
    change(Template, cloud.template_id, state="Failed")
    survey(cloud)
    assert kinds(compare().drift) == ["image.unwanted"]


@pytest.mark.parametrize(
    ("planted", "kind"),
    [
        ({"domains": DomainFacts(new_id(), "i-9-9-VM", "running", 3)}, "domain"),
        ({"domains": DomainFacts(new_id(), "windows", "running")}, "domain.foreign"),
        ({"volumes": new_id()}, "volume.file"),
        ({"images": new_id()}, "image"),
        ({"networks": NetworkFacts(new_id(), 99, 1)}, "network"),
        ({"routers": new_id()}, "router"),
        ({"ports": new_id()}, "port"),
        ({"unknown": "namespace pileus-x"}, "unknown"),
    ],
)
def test_what_the_database_does_not_know(cloud, vm, planted, kind):
    ((part, thing),) = planted.items()
    held = getattr(inventory_of(cloud, vm.host_id), part)
    survey(cloud, of=vm.host_id, **{part: (*held, thing)})
    found = compare()
    assert (kinds(found.orphans), found.drift) == ([kind], [])
    assert found.orphans[0].host_id == vm.host_id


def test_what_was_removed_long_ago_is_an_orphan_and_lately_is_not(cloud, vm):
    old = inventory_of(cloud, vm.host_id)
    cloud.destroy(vm.id)
    cloud.settle()
    planted = {"domains": old.domains, "volumes": old.volumes, "ports": old.ports}
    survey(cloud, of=vm.host_id, **planted)
    found = compare()
    assert (found.drift, found.orphans) == ([], [])
    age()
    assert kinds(compare().orphans) == ["domain", "port", "volume.file"]


def test_what_a_job_is_at_work_on_is_left_out(cloud, vm):
    job_id = cloud.stop(vm.id)
    survey(cloud, of=vm.host_id, domains=(), volumes=(), ports=(), networks=())
    assert compare().drift == []
    cloud.settle()
    age()
    with transaction() as s:
        s.execute(update(WorkflowRow).where(WorkflowRow.id == job_id).values(ended=utcnow()))
    survey(cloud, of=vm.host_id, domains=(domain_of(vm),))
    assert compare().drift == []
    age(60)
    assert kinds(compare().drift) == ["vm.unwanted"]


def test_counters_that_differ_from_a_recount(cloud, vm):
    change(Host, vm.host_id, cpu_used=Host.cpu_used + 5, memory_used=0)
    pool_id = one(StoragePool.id, host_id=vm.host_id)
    change(StoragePool, pool_id, allocated=StoragePool.allocated - 1)
    with transaction() as s:
        s.execute(update(ResourceUse).filter_by(account_id=cloud.account_id).values(vms=3, networks=0))
    found = {(f.resource_type, f.resource_id, f.expected, f.found) for f in compare().drift}
    assert {(kind, key) for kind, key, _, _ in found} == {
        ("Host", vm.host_id), ("StoragePool", pool_id), ("Account", cloud.account_id),
    }  # fmt: skip
    assert ("Account", cloud.account_id, "vms=1", "vms=3") in found
    assert ("Host", vm.host_id, "cpu_used=500", "cpu_used=505") in found
    assert len(found) == 5


def test_keys_and_addresses(cloud, vm):
    change(Network, cloud.network_id, key=Network.key + 1)
    age()
    assert kinds(compare().drift) == ["key", *["network.key"] * len(views(cloud))]
    with transaction() as s:
        s.execute(delete(TunnelKey))
    assert "key" in kinds(compare().drift)
    gone = cloud.add_network("gone")
    change(Network, gone, removed=utcnow())
    with transaction() as s:
        address = s.scalars(select(PublicAddress).filter_by(network_id=None)).first()
        address.network_id = gone
    (finding,) = compare().orphans
    assert (finding.type, finding.resource_id) == ("publicaddress", address.id)


def views(cloud):
    return [view for host_id in cloud.hosts for view in inventory_of(cloud, host_id).networks]


def test_rows_without_an_owner(cloud, vm):
    change(Nic, one(Nic.id, vm_id=vm.id), vm_id=None)
    survey(cloud)
    assert kinds(compare().orphans) == ["nic"]
    change(Vm, vm.id, removed=utcnow() - dt.timedelta(hours=1))
    assert {"nic", "volume", "domain"} <= set(kinds(compare().orphans))


@pytest.mark.parametrize(
    ("model", "state", "kind"),
    [(Vm, "Stopping", "VirtualMachine"), (Volume, "Creating", "Volume"), (Network, "Implementing", "Network"),
     (Router, "Starting", "Router"), (Template, "Removing", "Template")],
)  # fmt: skip
def test_states_that_pass_without_a_job(cloud, vm, model, state, kind):
    key = one(model.id, removed=None)
    change(model, key, state=state)
    found = [f for f in compare().drift if f.type == "state"]
    assert [(f.resource_type, f.resource_id, f.found) for f in found] == [(kind, key, state)]
    subject = {Vm: vm.id, Volume: vm.id, Network: cloud.network_id, Router: cloud.network_id, Template: key}[model]
    table = {Volume: "vms", Router: "networks"}.get(model, model.__tablename__)
    with transaction() as s:
        s.add(WorkflowRow(name="test", subject_type=table, subject_id=subject))
    assert [f for f in compare().drift if f.type == "state"] == []


@pytest.mark.parametrize(("state", "host"), [("Running", False), ("Stopped", True)])
def test_a_vm_without_a_place_or_with_one_at_rest(cloud, vm, state, host):
    change(Vm, vm.id, state=state, host_id=vm.host_id if host else None)
    assert "vm.place" in kinds(compare().drift)


def test_work_that_hangs(cloud, vm):
    with transaction() as s:
        stuck = WorkflowRow(name="vm.stop", status="stuck", subject_type="vms", subject_id=new_id(), error="no answer",
                            ended=utcnow())  # fmt: skip
        late = WorkflowRow(name="vm.stop", subject_type="vms", subject_id=new_id(), wake_at=5.0)
        s.add_all([stuck, late])
        s.flush()
        values = {"position": 0, "undoing": True, "subject": f"vm:{vm.id}", "name": "vm.stop", "deadline": 5.0}
        agent_id = s.get_one(Host, vm.host_id).agent_id
        for status in ("open", "owed", "done"):
            s.add(AgentCommandRow(workflow_id=stuck.id, agent_id=agent_id, status=status, **values))
    found = {f.type: f for f in compare().drift}
    assert set(found) == {"job.stuck", "job.late", "command.overdue", "command.owed"}
    assert "no answer" in found["job.stuck"].detail
    assert found["command.owed"].host_id == vm.host_id


def test_a_host_that_is_not_surveyed(cloud, vm):
    with transaction() as s:
        s.execute(update(Inventory).values(at=epoch() - 400))
    found = compare().drift
    assert kinds(found) == ["survey"] * 3
    assert "was last surveyed at 20" in found[0].detail
    with transaction() as s:
        s.execute(delete(Inventory))
    assert compare().drift == []
    with transaction() as s:
        s.execute(update(Host).values(created=utcnow() - dt.timedelta(hours=1)))
    assert [f.detail for f in compare().drift] == ["h1 has never been surveyed.", "h2 has never been surveyed."]


def test_an_old_survey_is_not_held_against_what_came_since(cloud, vm):
    before = {host_id: inventory_of(cloud, host_id) for host_id in cloud.hosts}
    cloud.deploy("new")
    cloud.settle()
    with transaction() as s:
        s.execute(update(Inventory).values(at=epoch() - 100))
    assert before
    assert compare().drift == compare().orphans == []
