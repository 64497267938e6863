"""Security groups: changes unwind wherever they fail, bear what befalls their messages, and reach every host."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from manager.db import transaction
from manager.models import (
    AgentCommandRow,
    Host,
    NetworkOffering,
    Nic,
    SecurityGroup,
    SecurityGroupRule,
    SecurityMember,
    StoragePool,
    Vm,
    new_id,
)
from manager.workflows import security
from manager.workflows.engine import WORKFLOWS
from manager.workflows.rule_rows import move_all
from tests.unit.api.groups_world import groups_of, policies
from tests.unit.workflows.cloud import Cloud, Killed
from tests.unit.workflows.test_laws import EMPTY, breaking, clear_all

STEPS = [(name, position) for name in ("security.authorize", "security.revoke", "security.join", "security.leave")
         for position in range(len(WORKFLOWS[name].steps))]  # fmt: skip


@pytest.fixture
def group(cloud: Cloud) -> str:
    """The id of a group; all networks of the cloud have security groups."""
    with transaction() as s:
        for offering in s.scalars(select(NetworkOffering)):
            offering.services = {**offering.services, "SecurityGroup": "SecurityGroupProvider"}
        made = SecurityGroup(account_id=cloud.account_id, name="web")
        s.add(made)
        s.flush()
        return made.id


@pytest.fixture
def running(cloud: Cloud, group: str) -> list[str]:
    """Two VMs of the group, one on each host."""
    vms = [cloud.deploy(name) for name in ("one", "two")]
    for vm_id in vms:
        join(vm_id, group)
    cloud.settle()
    assert {cloud.get(Vm, vm_id).host_id for vm_id in vms} == set(cloud.hosts)
    return vms


def join(vm_id: str, group_id: str) -> None:
    with transaction() as s:
        member = SecurityMember(id=new_id(), group_id=group_id, vm_id=vm_id)
        s.add(member)
        s.flush()
        security.tell_of_change(s, s.get_one(Vm, vm_id), [member], [])


def leave(vm_id: str, group_id: str) -> None:
    with transaction() as s:
        member = s.get_one(SecurityMember, (group_id, vm_id))
        s.delete(member)
        s.flush()
        security.tell_of_change(s, s.get_one(Vm, vm_id), [], [member])


def authorize(cloud: Cloud, group_id: str, port: int) -> str:
    with transaction() as s:
        rule = SecurityGroupRule(group_id=group_id, account_id=cloud.account_id, direction="ingress", protocol="tcp",
                                 first_port=port, last_port=port, cidr="0.0.0.0/0")  # fmt: skip
        s.add(rule)
        s.flush()
        security.start_for(s, security.authorize_rules, [rule], call=None)
        return rule.id


def revoke(rule_id: str) -> None:
    with transaction() as s:
        rule = s.get_one(SecurityGroupRule, rule_id)
        move_all([rule], "revoke")
        security.start_for(s, security.revoke_rules, [rule], call=None)


def ports_of(cloud: Cloud, group_id: str) -> list[int]:
    """Those that all hosts let in, each alike."""
    return sorted(rule.traffic.first_port for rule in policies(cloud, cloud.network_id)[group_id])


def address_of(cloud: Cloud, vm_id: str) -> str:
    with transaction() as s:
        return s.scalars(select(Nic.address).filter_by(vm_id=vm_id)).one()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_it_unwinds_from_every_step(cloud, group, running, monkeypatch, step, after):
    """Rules are what they were before; who is in which group was answered already, and stays as it was answered."""
    name, position = step
    rule = authorize(cloud, group, 80)
    second = cloud.deploy("third")
    cloud.settle()
    actions = {
        "security.authorize": lambda: authorize(cloud, group, 81), "security.revoke": lambda: revoke(rule),
        "security.join": lambda: join(second, group), "security.leave": lambda: leave(running[0], group),
    }  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, name, breaking(WORKFLOWS[name], position, after=after))
        actions[name]()
        cloud.settle(times=2)
    assert ports_of(cloud, group) == [80]
    assert cloud.get(SecurityGroupRule, rule).state == "Active"
    held = groups_of(cloud, cloud.network_id, address_of(cloud, second))
    assert held == ({group, "open-egress"} if name == "security.join" else {"open-egress"})
    held = groups_of(cloud, cloud.network_id, address_of(cloud, running[0]))
    assert held == ({"open-egress"} if name == "security.leave" else {group, "open-egress"})
    assert cloud.leftovers()["drift"] == []


@pytest.mark.parametrize(("shuffle", "lose"), [(True, 0.0), (True, 0.3)])
def test_messages_may_be_doubled_reordered_and_lost(cloud, group, running, shuffle, lose):
    made = [authorize(cloud, group, port) for port in (80, 81, 82)]
    cloud.settle(2, shuffle=shuffle, lose=lose)
    assert ports_of(cloud, group) == [80, 81, 82]
    revoke(made[1])
    authorize(cloud, group, 90)
    leave(running[1], group)
    cloud.settle(2, shuffle=shuffle, lose=lose)
    assert ports_of(cloud, group) == [80, 82, 90]
    assert groups_of(cloud, cloud.network_id, address_of(cloud, running[1])) == {"open-egress"}
    clear_all(cloud, *running)
    assert cloud.leftovers() == EMPTY


@pytest.mark.parametrize("fatal", range(1, 7))
def test_whoever_carries_a_message_may_be_killed(cloud, group, running, monkeypatch, fatal):
    rule = authorize(cloud, group, 80)
    cloud.settle()
    revoke(rule)
    authorize(cloud, group, 81)
    handle, count = cloud.handle, iter(range(1, 1000))

    def killed(*message):
        if next(count) == fatal:
            raise Killed
        handle(*message)

    monkeypatch.setattr(cloud, "handle", killed)
    cloud.settle_killed()
    assert ports_of(cloud, group) == [81]
    assert cloud.leftovers()["drift"] == []


def test_a_host_that_does_not_answer_fails_the_job_and_nobody_keeps_the_rule(cloud, group, running):
    away = cloud.get(Host, cloud.hosts[1])
    queue = f"agent.{away.agent_id}"
    rule = authorize(cloud, group, 80)
    silent = []
    for _ in range(60):
        batch = cloud.take_messages()
        for message in batch:
            silent.append(message) if message[0] == queue else cloud.handle(*message)
        with transaction() as s:
            s.execute(security.update(AgentCommandRow).where(AgentCommandRow.status == "open").values(deadline=0))
        if not batch:
            cloud.pass_time()
        if cloud.workflow(rule, "security.authorize").undoing:
            break
    cloud.settle()
    row = cloud.workflow(rule, "security.authorize")
    assert (row.status, "did not answer network.apply" in row.error) == ("failed", True)
    assert cloud.get(SecurityGroupRule, rule).removed is not None
    assert ports_of(cloud, group) == []


def test_a_vm_keeps_its_rules_on_another_host(cloud, group, running):
    """Its disk lies on storage that both hosts reach."""
    authorize(cloud, group, 80)
    cloud.settle()
    first = cloud.get(Vm, running[0]).host_id
    cloud.stop(running[0])
    cloud.settle()
    revoked = authorize(cloud, group, 81)
    cloud.settle()
    with transaction() as s:
        shared = {"scope": "ZONE", "host_id": None, "cluster_id": None, "pod_id": None}
        s.execute(security.update(StoragePool).where(StoragePool.host_id == first).values(**shared))
        s.get_one(Host, first).resource_state = "Disabled"
    cloud.start(running[0])
    cloud.settle()
    assert cloud.get(Vm, running[0]).host_id not in (first, None)
    revoke(revoked)
    cloud.settle()
    assert ports_of(cloud, group) == [80]
    assert groups_of(cloud, cloud.network_id, address_of(cloud, running[0])) == {group, "open-egress"}


def test_only_the_hosts_of_networks_with_members_are_told(cloud, group, running):
    with transaction() as s:
        idle = SecurityGroup(account_id=cloud.account_id, name="idle")
        s.add(idle)
        s.flush()
        idle_id = idle.id
    authorize(cloud, idle_id, 80)
    asked = []
    while batch := cloud.take_messages():
        for message in batch:
            asked += [message[0]] if message[0].startswith("agent.") else []
            cloud.handle(*message)
    assert asked == []
