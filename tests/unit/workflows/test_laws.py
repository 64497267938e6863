"""The laws of every workflow: it unwinds from every step, and it does not mind what befalls its messages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from manager.models import Network, Router, Template, Vm
from manager.workflows import engine
from manager.workflows.engine import WORKFLOWS, Step, StepFailed, Workflow
from tests.unit.workflows.cloud import Cloud, Killed

EMPTY = {
    "domains": [], "volumes": [], "ports": [], "routers": [], "networks": [], "drift": [], "nics": 0,
    "living routers": 0, "host claims": 0, "pool claims": 0, "public": 0, "use": (0, 0, 0, 0, 0, 0),
}  # fmt: skip
DEPLOY = len(WORKFLOWS["vm.deploy"].steps)
START = len(WORKFLOWS["vm.start"].steps)
STOP = len(WORKFLOWS["vm.stop"].steps)
IMPLEMENT = len(WORKFLOWS["network.implement"].steps)


def breaking(workflow: Workflow, position: int, *, after: bool) -> Workflow:
    """`workflow` with a step that fails before it has done anything, or after all it does in the world is done."""
    step = workflow.steps[position]

    def fails_at_once(run: engine.Run) -> engine.Outcome:
        raise StepFailed("planted")

    def fails_after(run: engine.Run) -> engine.Outcome:
        outcome = step.do(run)
        if outcome is None or outcome == []:
            raise StepFailed("planted")
        return outcome

    def answers_then_fails(run: engine.Run, answers: list[object]) -> None:
        if step.then:
            step.then(run, answers)
        raise StepFailed("planted")

    broken = Step(fails_after, step.undo, answers_then_fails) if after else Step(fails_at_once, step.undo)
    steps = (*workflow.steps[:position], broken, *workflow.steps[position + 1 :])
    return replace(workflow, steps=steps)


def clear_all(cloud: Cloud, *vm_ids: str) -> None:
    for vm_id in vm_ids:
        cloud.destroy(vm_id)
        cloud.settle()
    cloud.delete_network()
    cloud.settle()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("position", range(DEPLOY))
def test_deploy_unwinds_from_every_step(cloud, monkeypatch, position, after):
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "vm.deploy", breaking(WORKFLOWS["vm.deploy"], position, after=after))
        vm_id = cloud.deploy()
        cloud.settle(times=2)
    vm = cloud.get(Vm, vm_id)
    assert (vm.state, vm.reason, vm.host_id) == ("Error", "planted", None)
    assert cloud.workflow(vm_id, "vm.deploy").status == "failed"
    assert cloud.domains() == {}
    clear_all(cloud, vm_id)
    assert cloud.leftovers() == EMPTY


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("position", range(START))
def test_start_unwinds_to_stopped_and_keeps_the_disk(cloud, monkeypatch, position, after):
    vm_id = cloud.deploy()
    cloud.settle()
    cloud.stop(vm_id)
    cloud.settle()
    disks = cloud.leftovers()["volumes"]
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "vm.start", breaking(WORKFLOWS["vm.start"], position, after=after))
        cloud.start(vm_id)
        cloud.settle(times=2)
    vm = cloud.get(Vm, vm_id)
    assert (vm.state, vm.reason, vm.host_id) == ("Stopped", "planted", None)
    assert cloud.domains() == {}
    assert cloud.leftovers()["volumes"] == disks
    cloud.start(vm_id)
    cloud.settle()
    assert cloud.domains() == {vm_id: "running"}
    clear_all(cloud, vm_id)
    assert cloud.leftovers() == EMPTY


@pytest.mark.parametrize("position", [0, 1])
def test_a_stop_that_fails_leaves_the_vm_running_in_its_place(cloud, monkeypatch, position):
    vm_id = cloud.deploy()
    cloud.settle()
    host_id = cloud.get(Vm, vm_id).host_id
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "vm.stop", breaking(WORKFLOWS["vm.stop"], position, after=False))
        cloud.stop(vm_id)
        cloud.settle(times=2)
    vm = cloud.get(Vm, vm_id)
    assert (vm.state, vm.host_id) == ("Running", host_id)
    assert cloud.domains() == {vm_id: "running"}
    assert cloud.leftovers()["drift"] == []
    clear_all(cloud, vm_id)
    assert cloud.leftovers() == EMPTY


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("position", range(IMPLEMENT))
def test_implementing_a_network_unwinds_and_fails_the_deployment_that_waits(cloud, monkeypatch, position, after):
    with monkeypatch.context() as patch:
        workflow = WORKFLOWS["network.implement"]
        patch.setitem(WORKFLOWS, "network.implement", breaking(workflow, position, after=after))
        vm_id = cloud.deploy()
        cloud.settle(times=2)
    assert cloud.get(Vm, vm_id).state == "Error"
    assert "planted" in cloud.get(Vm, vm_id).reason
    assert cloud.get(Network, cloud.network_id).state == "Allocated"
    assert cloud.leftovers()["routers"] == []
    assert cloud.leftovers()["public"] == 0
    second = cloud.deploy("again")
    cloud.settle()
    assert cloud.get(Vm, second).state == "Running"
    clear_all(cloud, vm_id, second)
    assert cloud.leftovers() == EMPTY


@pytest.mark.parametrize(
    ("times", "shuffle", "lose"), [(2, False, 0.0), (3, True, 0.0), (1, True, 0.3), (2, True, 0.4)]
)
def test_messages_may_be_doubled_reordered_and_lost(cloud, times, shuffle, lose):
    vm_ids = [cloud.deploy(f"vm{number}") for number in range(4)]
    cloud.settle(times, shuffle=shuffle, lose=lose)
    assert cloud.domains() == dict.fromkeys(vm_ids, "running")
    assert cloud.leftovers()["drift"] == []
    assert len(cloud.leftovers()["routers"]) == 1
    for vm_id in vm_ids[:2]:
        cloud.stop(vm_id)
    cloud.settle(times, shuffle=shuffle, lose=lose)
    assert cloud.domains() == dict.fromkeys(vm_ids[2:], "running")
    for vm_id in vm_ids:
        cloud.destroy(vm_id)
    cloud.settle(times, shuffle=shuffle, lose=lose)
    cloud.delete_network()
    cloud.settle(times, shuffle=shuffle, lose=lose)
    assert cloud.leftovers() == EMPTY


def test_an_agent_killed_between_effect_and_record_does_it_again_without_harm(cloud, monkeypatch):
    killed = 0
    for runner in cloud.runners.values():
        record = runner.journal.record
        done: set[str] = set()

        def record_at_second(command_id, answer, record=record, done=done):
            nonlocal killed
            if command_id not in done:
                done.add(command_id)
                killed += 1
                raise Killed
            record(command_id, answer)

        monkeypatch.setattr(runner.journal, "record", record_at_second)
    vm_id = cloud.deploy()
    cloud.settle_killed()
    assert cloud.domains() == {vm_id: "running"}
    cloud.destroy(vm_id)
    cloud.settle_killed()
    cloud.delete_network()
    cloud.settle_killed()
    assert killed >= 6
    assert cloud.leftovers() == EMPTY


def test_a_worker_killed_before_every_commit_leaves_nothing_half_done(cloud, killed_at_commits):
    deaths = killed_at_commits()
    vm_id = cloud.deploy()
    cloud.settle_killed()
    assert cloud.domains() == {vm_id: "running"}
    cloud.destroy(vm_id)
    cloud.settle_killed()
    cloud.delete_network()
    cloud.settle_killed()
    assert len(deaths) > 6
    assert cloud.leftovers() == EMPTY


def test_an_answer_counts_only_from_the_agent_that_was_asked(cloud):
    vm_id = cloud.deploy()
    store = next(runner for runner in cloud.runners.values() if runner.host.hypervisor is None)
    stolen = 0
    for _ in range(20):
        batch = cloud.take_messages()
        if not batch:
            break
        for place, task, arguments in batch:
            if place == "answers":
                stolen += 1
                payload = engine.msgspec.json.decode(arguments[0][0]["payload"])
                forged = {"agent": store.agent_id, "kind": "answer", "job": payload["job"], "answer": payload["answer"]}
                cloud.handle(place, task, [[engine_sign(store, forged)]])
            else:
                cloud.handle(place, task, arguments)
    assert stolen
    assert cloud.get(Vm, vm_id).state == "Starting"
    cloud.settle()
    assert cloud.get(Vm, vm_id).state == "Running"


def engine_sign(runner, body):
    from agents.envelope import sign

    return sign(runner._own_key, body, 60)


def test_a_late_start_cannot_revive_a_removed_vm(cloud):
    vm_id = cloud.deploy()
    late = []
    for _ in range(50):
        batch = cloud.take_messages()
        if not batch:
            break
        for message in batch:
            if message[0].startswith("agent."):
                late.append(message)
            cloud.handle(*message)
    cloud.settle()
    cloud.destroy(vm_id)
    cloud.settle()
    for runner in cloud.runners.values():
        runner.journal._query("DELETE FROM commands")
    for message in late:
        cloud.handle(*message)
    assert cloud.domains() == {}


def test_cancelling_unwinds_at_the_next_step(cloud):
    vm_id = cloud.deploy()
    with engine.transaction() as session:
        session.scalars(select(engine.WorkflowRow).filter_by(subject_id=vm_id)).one().cancelled = True
    cloud.settle()
    assert cloud.get(Vm, vm_id).state == "Error"
    assert "cancelled" in cloud.get(Vm, vm_id).reason
    clear_all(cloud, vm_id)
    assert cloud.leftovers() == EMPTY


def test_one_open_workflow_a_subject(cloud):
    vm_id = cloud.deploy()
    with pytest.raises(engine.Busy, match="busy with job"):
        cloud.destroy(vm_id)
    cloud.settle()
    cloud.destroy(vm_id)


def test_a_step_that_nobody_foresaw_fails_with_its_reason(cloud, monkeypatch):
    def explode(run):
        raise ZeroDivisionError("odd")

    workflow = WORKFLOWS["vm.deploy"]
    steps = (*workflow.steps[:3], replace(workflow.steps[3], do=explode), *workflow.steps[4:])
    monkeypatch.setitem(WORKFLOWS, "vm.deploy", replace(workflow, steps=steps))
    vm_id = cloud.deploy()
    cloud.settle()
    assert (cloud.get(Vm, vm_id).state, cloud.get(Vm, vm_id).reason) == ("Error", "odd")


def test_an_undo_that_keeps_failing_calls_an_operator_and_keeps_the_subject(cloud, monkeypatch):
    def explode(run):
        raise StepFailed("no way back")

    workflow = breaking(WORKFLOWS["vm.deploy"], 4, after=False)
    steps = tuple(replace(step, undo=explode) if number == 3 else step for number, step in enumerate(workflow.steps))
    monkeypatch.setitem(WORKFLOWS, "vm.deploy", replace(workflow, steps=steps))
    vm_id = cloud.deploy()
    cloud.settle()
    row = cloud.workflow(vm_id, "vm.deploy")
    assert row.status == "stuck"
    assert row.holds == f"vms:{vm_id}"
    assert "planted" in row.error
    assert "no way back" in row.error


def test_removing_a_template_takes_its_image_away(cloud):
    from manager.workflows.template import delete_template

    store = next(runner.host for runner in cloud.runners.values() if runner.host.hypervisor is None)
    assert store.inventory_of_images() == (cloud.template_id,)
    with engine.transaction() as session:
        delete_template.start(session, session.get_one(Template, cloud.template_id))
    cloud.settle(times=2)
    assert store.inventory_of_images() == ()
    assert cloud.get(Template, cloud.template_id).removed is not None


def test_restart_with_cleanup_makes_the_router_anew(cloud):
    from manager.workflows.network import restart_network

    vm_id = cloud.deploy()
    cloud.settle()
    with engine.transaction() as session:
        restart_network.start(session, session.get_one(Network, cloud.network_id), cleanup=True)
    cloud.settle(times=2)
    assert len(cloud.leftovers()["routers"]) == 1
    with engine.transaction() as session:
        assert session.scalars(select(Router.state).filter_by(removed=None)).one() == "Running"
    clear_all(cloud, vm_id)
    assert cloud.leftovers() == EMPTY
