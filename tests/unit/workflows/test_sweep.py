"""Silent hosts, commands without an answer, leases: what the sweeper decides, and that it destroys nothing."""

from __future__ import annotations

from sqlalchemy import select, update

from agents.contract import HostReport
from agents.runner import Runner
from manager import reports
from manager.db import epoch, transaction
from manager.models import Agent, AgentCommandRow, Host, Vm, WorkflowRow
from manager.workflows import leases, sweep
from tests.unit.workflows.cloud import Cloud


def silence(cloud: Cloud, host_id: str) -> Runner:
    """The host's agent gets no message any more, and has not been heard for an hour."""
    agent_id = cloud.get(Host, host_id).agent_id
    runner = cloud.runners.pop(agent_id)
    with transaction() as session:
        session.execute(update(Agent).where(Agent.id == agent_id).values(last_seen=epoch() - 3600))
    return runner


def hear(cloud: Cloud, runner: Runner) -> None:
    cloud.runners[runner.agent_id] = runner
    reports.take(runner.report("heartbeat", HostReport("i2", 1, runner.host.facts())))


def look_for_lost() -> None:
    with transaction() as session:
        sweep.find_lost_hosts(session, 30, 30)


def declare_down(cloud: Cloud, host_id: str) -> None:
    look_for_lost()
    assert cloud.get(Host, host_id).state == "Disconnected"
    with transaction() as session:
        session.execute(update(Host).values(disconnected=epoch() - 60))
    look_for_lost()
    assert cloud.get(Host, host_id).state == "Down"


def test_a_host_that_reports_is_not_lost(cloud):
    look_for_lost()
    assert {cloud.get(Host, host_id).state for host_id in cloud.hosts} == {"Up"}


def test_a_silent_host_is_down_after_a_time_and_up_when_it_is_heard_again(cloud):
    vm_id = cloud.deploy()
    cloud.settle()
    runner = silence(cloud, cloud.get(Vm, vm_id).host_id)
    declare_down(cloud, cloud.get(Vm, vm_id).host_id)
    assert cloud.get(Vm, vm_id).state == "Running"
    hear(cloud, runner)
    assert cloud.get(Host, cloud.get(Vm, vm_id).host_id).state == "Up"


def test_a_deployment_to_a_host_that_dies_ends_and_its_undo_is_owed(cloud):
    with transaction() as session:
        session.execute(update(Host).where(Host.id != cloud.hosts[0]).values(resource_state="Disabled"))
    first = cloud.deploy("first")
    cloud.settle()
    vm_id = cloud.deploy("second")
    deploy = cloud.workflow(vm_id, "vm.deploy")
    for message in cloud.take_messages():
        cloud.handle(*message)
    runner = silence(cloud, cloud.hosts[0])
    declare_down(cloud, cloud.hosts[0])
    cloud.settle()
    vm = cloud.get(Vm, vm_id)
    assert vm.state == "Error"
    assert "is Down" in vm.reason
    with transaction() as session:
        owed = session.scalars(select(AgentCommandRow).filter_by(workflow_id=deploy.id, status="owed")).all()
    assert {row.name for row in owed} >= {"volume.remove"}
    hear(cloud, runner)
    for _ in range(3):
        cloud.pass_time()
        for message in cloud.take_messages():
            cloud.handle(*message)
    with transaction() as session:
        assert session.scalars(select(AgentCommandRow).filter_by(status="owed")).all() == []
    assert cloud.domains() == {first: "running"}


def test_a_network_goes_on_without_a_host_that_is_down(cloud):
    """Virtual machines come and go; the host learns of them all when it is back."""
    cloud.deploy("first")
    second = cloud.deploy("second")
    cloud.settle()
    away = cloud.get(Host, cloud.get(Vm, second).host_id)
    runner = silence(cloud, away.id)
    declare_down(cloud, away.id)
    third = cloud.deploy("third")
    cloud.settle()
    assert cloud.get(Vm, third).state == "Running"
    assert cloud.get(Vm, third).host_id != away.id
    cloud.stop(third)
    cloud.settle()
    assert cloud.get(Vm, third).state == "Stopped"
    with transaction() as session:
        (owed,) = {*session.execute(select(AgentCommandRow.agent_id, AgentCommandRow.name).filter_by(status="owed"))}
    assert owed == (away.agent_id, "network.apply")
    hear(cloud, runner)
    cloud.pass_time()
    cloud.settle()
    with transaction() as session:
        assert session.scalars(select(AgentCommandRow).filter_by(status="owed")).all() == []
    assert cloud.leftovers()["drift"] == []


def test_a_command_without_an_answer_is_sent_again_and_given_up_at_its_deadline(cloud):
    vm_id = cloud.deploy()
    cloud.settle()
    agent_id = cloud.get(Host, cloud.get(Vm, vm_id).host_id).agent_id
    runner = cloud.runners.pop(agent_id)
    cloud.stop(vm_id)
    for message in cloud.take_messages():
        cloud.handle(*message)
    cloud.runners[agent_id] = runner
    assert [m[0] for m in cloud.take_messages() if m[0].startswith("agent.")]
    cloud.pass_time()
    assert [m for m in cloud.take_messages() if m[0] == f"agent.{agent_id}"]
    with transaction() as session:
        session.execute(update(AgentCommandRow).where(AgentCommandRow.status == "open").values(deadline=0))
    cloud.pass_time()
    cloud.settle()
    vm = cloud.get(Vm, vm_id)
    assert vm.state == "Running"
    assert "did not answer vm.stop within" in vm.reason
    assert cloud.domains() == {vm_id: "running"}


def test_a_workflow_whose_doorbell_was_lost_is_rung_for(cloud):
    vm_id = cloud.deploy()
    cloud.take_messages()
    cloud.pass_time()
    assert ("orchestrator", "manager.advance", [cloud.workflow(vm_id, "vm.deploy").id]) in cloud.take_messages()


def test_a_guest_that_shut_itself_down_is_stopped_and_its_host_free(cloud):
    vm_id = cloud.deploy()
    cloud.settle()
    vm = cloud.get(Vm, vm_id)
    runner = cloud.runners[cloud.get(Host, vm.host_id).agent_id]
    runner.host.hypervisor.set_state(vm_id, "shutoff")
    report = HostReport("i1", 2, runner.host.facts(), tuple(runner.host.hypervisor.domains()))
    reports.take(runner.report("heartbeat", report))
    cloud.settle()
    vm = cloud.get(Vm, vm_id)
    assert (vm.state, vm.host_id, vm.reason) == ("Stopped", None, "The guest shut itself down.")
    with transaction() as session:
        assert session.scalars(select(Host.memory_used)).all() == [0, 0]


def test_absence_and_old_reports_change_nothing(cloud):
    vm_id = cloud.deploy()
    cloud.settle()
    vm = cloud.get(Vm, vm_id)
    runner = cloud.runners[cloud.get(Host, vm.host_id).agent_id]
    reports.take(runner.report("heartbeat", HostReport("i1", 2, runner.host.facts())))
    runner.host.hypervisor.set_state(vm_id, "shutoff")
    stale = HostReport("i1", 1, runner.host.facts(), tuple(runner.host.hypervisor.domains()))
    reports.take(runner.report("heartbeat", stale))
    assert cloud.open_workflows() == []
    assert cloud.get(Vm, vm_id).state == "Running"


def test_another_hosts_word_about_a_vm_does_not_count(cloud):
    vm_id = cloud.deploy()
    cloud.settle()
    vm = cloud.get(Vm, vm_id)
    runner = cloud.runners[cloud.get(Host, vm.host_id).agent_id]
    other = next(r for r in cloud.runners.values() if r.host.hypervisor and r is not runner)
    runner.host.hypervisor.set_state(vm_id, "shutoff")
    lie = HostReport("i1", 2, other.host.facts(), tuple(runner.host.hypervisor.domains()))
    reports.take(other.report("heartbeat", lie))
    assert cloud.open_workflows() == []


def test_a_duty_is_held_by_one_at_a_time(cloud):
    assert leases.take("duty", "one", 60)
    assert leases.take("duty", "one", 60)
    assert not leases.take("duty", "two", 60)
    with transaction() as session:
        session.execute(update(leases.LeaseRow).values(until=epoch() - 1))
    assert leases.take("duty", "two", 60)
    assert not leases.take("duty", "one", 60)
    with transaction() as session:
        assert session.get_one(leases.LeaseRow, "duty").fence >= 2


def test_a_stuck_workflow_is_left_to_the_operator(cloud):
    vm_id = cloud.deploy()
    cloud.settle()
    with transaction() as session:
        session.execute(update(WorkflowRow).values(status="stuck"))
    cloud.pass_time()
    assert cloud.take_messages() == []
    assert cloud.get(Vm, vm_id).state == "Running"
