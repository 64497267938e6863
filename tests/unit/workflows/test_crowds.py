"""Jobs in a network on many hosts have its hosts told together; here every network counts as one."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from agents import runner as runners
from agents.contract import ApplyNetwork, StartVm
from manager.celery_app import app
from manager.db import transaction
from manager.models import AgentCommandRow, Host, Network, Nic, Vm, WorkflowRow
from manager.placement.address import add_nic
from manager.workflows import views
from manager.workflows.engine import WORKFLOWS
from manager.workflows.vm_nic import add_nic_to_vm, remove_nic_from_vm
from tests.unit.workflows.cloud import Cloud
from tests.unit.workflows.test_laws import EMPTY, breaking, clear_all

TELL = "network.tell"


def crowd(cloud: Cloud, monkeypatch) -> Cloud:
    """`cloud`, where a VM that starts before all hosts of its networks know it is an error."""
    monkeypatch.setattr(views, "CROWD", 0)
    start = runners.HANDLERS[StartVm]

    def start_known(host, command):
        nics = {(nic.network_id, nic.id) for nic in command.vm.nics}
        for runner in cloud.runners.values():
            for view in runner.host.views() if runner.host.hypervisor else ():
                missing = {nic for network, nic in nics if network == view.id} - {nic.id for nic in view.nics}
                assert not missing, f"{runner.host.hostname} does not know {missing}"
        return start(host, command)

    monkeypatch.setitem(runners.HANDLERS, StartVm, start_known)
    return cloud


@pytest.fixture
def each_crowd(cloud, monkeypatch) -> Cloud:
    """On each of the databases."""
    return crowd(cloud, monkeypatch)


@pytest.fixture
def one_crowd(engine, tmp_path, monkeypatch) -> Cloud:
    app.cache_clear()
    return crowd(Cloud(tmp_path), monkeypatch)


def tellings() -> list[WorkflowRow]:
    with transaction() as session:
        return list(session.scalars(select(WorkflowRow).filter_by(name=TELL).order_by(WorkflowRow.created)))


def hosts_told(cloud: Cloud) -> tuple[int, int]:
    network = cloud.get(Network, cloud.network_id)
    return network.hosts_told, network.generation


def test_many_at_once_are_told_of_together(each_crowd):
    cloud = each_crowd
    first = cloud.deploy("first")
    cloud.settle()
    before = len(tellings())
    vm_ids = [cloud.deploy(f"vm{number}") for number in range(6)]
    cloud.settle()
    assert cloud.domains() == dict.fromkeys([first, *vm_ids], "running")
    assert len(tellings()) - before <= 2
    assert hosts_told(cloud)[0] == hosts_told(cloud)[1]
    assert cloud.leftovers()["drift"] == []


@pytest.mark.parametrize(("times", "lose"), [(3, 0.0), (2, 0.3)])
def test_messages_may_be_doubled_reordered_and_lost(each_crowd, times, lose):
    cloud = each_crowd
    vm_ids = [cloud.deploy(f"vm{number}") for number in range(3)]
    cloud.settle(times, shuffle=True, lose=lose)
    assert cloud.domains() == dict.fromkeys(vm_ids, "running")
    cloud.stop(vm_ids[0])
    cloud.destroy(vm_ids[1])
    cloud.settle(times, shuffle=True, lose=lose)
    assert cloud.domains() == {vm_ids[2]: "running"}
    held = {nic.id for r in cloud.runners.values() if r.host.hypervisor for v in r.host.views() for nic in v.nics}
    with transaction() as session:
        placed = set(session.scalars(select(Nic.id).where(Nic.host_id.is_not(None))))
    assert held == placed
    for vm_id in (vm_ids[0], vm_ids[2]):
        cloud.destroy(vm_id)
    cloud.settle(times, shuffle=True, lose=lose)
    cloud.delete_network()
    cloud.settle(times, shuffle=True, lose=lose)
    assert cloud.leftovers() == EMPTY


def test_a_job_waits_for_a_telling_that_began_after_its_change(one_crowd):
    cloud = one_crowd
    first = cloud.deploy("first")
    cloud.settle()
    held: list = []
    before = len(tellings())
    second = cloud.deploy("second")
    carry(cloud, held, until=lambda: held)
    third = cloud.deploy("third")
    carry(cloud, held)
    assert cloud.domains() == {first: "running"}
    assert len(tellings()) - before == 1
    for message in held:
        cloud.handle(*message)
    cloud.settle()
    assert cloud.domains() == dict.fromkeys([first, second, third], "running")
    assert len(tellings()) - before == 2


def carry(cloud: Cloud, held: list, until=None) -> None:
    """Carry messages until there are none, or `until` holds; those that tell hosts are held back."""
    for _ in range(50):
        batch = cloud.take_messages()
        if not batch:
            return
        for message in batch:
            if message[0].startswith("agent.") and ApplyNetwork.name in str(message[2]):
                held.append(message)
            else:
                cloud.handle(*message)
        if until is not None and until():
            return


@pytest.mark.parametrize("position", range(2, len(WORKFLOWS["vm.deploy"].steps)))
def test_a_deployment_unwinds(one_crowd, monkeypatch, position):
    cloud = one_crowd
    other = cloud.deploy("other")
    cloud.settle()
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "vm.deploy", breaking(WORKFLOWS["vm.deploy"], position, after=True))
        vm_id = cloud.deploy()
        cloud.settle(times=2)
    vm = cloud.get(Vm, vm_id)
    assert (vm.state, vm.reason, vm.host_id) == ("Error", "planted", None)
    assert cloud.leftovers()["drift"] == []
    known = [len(v.nics) for r in cloud.runners.values() if r.host.hypervisor for v in r.host.views()]
    assert set(known) == {2}, "the router's and the other VM's"
    clear_all(cloud, vm_id, other)
    assert cloud.leftovers() == EMPTY


@pytest.mark.parametrize("after", [False, True])
def test_carriers_that_fail_fail_their_jobs_which_unwind_without_them(one_crowd, monkeypatch, after):
    cloud = one_crowd
    first = cloud.deploy("first")
    cloud.settle()
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, TELL, breaking(WORKFLOWS[TELL], 0, after=after))
        failed = [cloud.deploy("second"), cloud.deploy("third")]
        cloud.settle()
        for vm_id in failed:
            vm = cloud.get(Vm, vm_id)
            assert (vm.state, vm.host_id) == ("Error", None)
            assert "were not told: planted" in vm.reason
        cloud.stop(first)
        cloud.settle()
    assert cloud.get(Vm, first).state == "Stopped"
    assert "were not told" in cloud.get(Vm, first).reason
    cloud.start(first)
    cloud.settle()
    assert cloud.domains() == {first: "running"}
    clear_all(cloud, first, *failed)
    assert cloud.leftovers() == EMPTY


def test_a_worker_killed_before_every_commit_leaves_nothing_half_done(one_crowd, killed_at_commits):
    cloud = one_crowd
    killed_at_commits()
    vm_ids = [cloud.deploy("one"), cloud.deploy("two")]
    cloud.settle_killed()
    assert cloud.domains() == dict.fromkeys(vm_ids, "running")
    for vm_id in vm_ids:
        cloud.destroy(vm_id)
        cloud.settle_killed()
    cloud.delete_network()
    cloud.settle_killed()
    assert cloud.leftovers() == EMPTY


def test_a_host_that_is_down_is_owed_what_it_must_know(one_crowd):
    cloud = one_crowd
    vm_ids = [cloud.deploy("first"), cloud.deploy("second")]
    cloud.settle()
    down, up = (cloud.get(Vm, vm_id).host_id for vm_id in vm_ids)
    assert down != up
    with transaction() as session:
        session.get_one(Host, down).state = "Down"
    third = cloud.deploy("third")
    silent = cloud.runners.pop(cloud.get(Host, down).agent_id)
    cloud.settle()
    assert cloud.get(Vm, third).state == "Running"
    assert {nic.id for view in silent.host.views() for nic in view.nics} != nics_of(cloud)
    cloud.runners[silent.agent_id] = silent
    with transaction() as session:
        assert session.scalars(select(AgentCommandRow.status).filter_by(agent_id=silent.agent_id)
                               .order_by(AgentCommandRow.sequence.desc())).first() == "owed"  # fmt: skip
        session.get_one(Host, down).state = "Up"
    cloud.pass_time()
    cloud.settle()
    assert {nic.id for view in silent.host.views() for nic in view.nics} == nics_of(cloud)


def nics_of(cloud: Cloud) -> set[str]:
    with transaction() as session:
        return set(session.scalars(select(Nic.id).filter_by(network_id=cloud.network_id)))


def test_nics_come_and_go_in_a_crowd(one_crowd):
    cloud = one_crowd
    other = cloud.add_network("net2")
    vm_id, neighbour = cloud.deploy(), cloud.deploy("neighbour", other)
    cloud.settle()
    before = len(tellings())
    with transaction() as session:
        nic_id = add_nic(session, session.get_one(Network, other), vm_id=vm_id, device=1, is_default=False)
        add_nic_to_vm.start(session, session.get_one(Vm, vm_id), nic_id=nic_id)
    cloud.settle(times=2)
    assert len(tellings()) == before + 1
    assert len(views_with(cloud, nic_id)) == len({cloud.get(Vm, one).host_id for one in (vm_id, neighbour)})
    with transaction() as session:
        remove_nic_from_vm.start(session, session.get_one(Vm, vm_id), nic_id=nic_id)
    cloud.settle(times=2)
    assert views_with(cloud, nic_id) == []
    assert cloud.leftovers()["drift"] == []


def views_with(cloud: Cloud, nic_id: str) -> list[str]:
    hosts = [runner.host for runner in cloud.runners.values() if runner.host.hypervisor]
    return [host.id for host in hosts for view in host.views() if nic_id in {nic.id for nic in view.nics}]
