"""Rules and public addresses: changes that come together travel together, and unwind wherever they fail."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from manager.db import transaction
from manager.models import (
    FirewallRule,
    Host,
    Network,
    NetworkRule,
    Nic,
    PortForwardingRule,
    PublicAddress,
    ResourceUse,
    Vm,
    WorkflowRow,
)
from manager.placement.address import take_public_address
from manager.workflows import rules
from manager.workflows.engine import WORKFLOWS
from manager.workflows.rule_rows import living, move_all, next_revision
from tests.unit.workflows.cloud import Cloud
from tests.unit.workflows.test_laws import EMPTY, breaking, clear_all

STEPS = [(name, position) for name in ("rule.add", "rule.remove", "rule.change", "address.associate", "address.release")
         for position in range(len(WORKFLOWS[name].steps))]  # fmt: skip


@pytest.fixture
def running(cloud) -> tuple[Cloud, str]:
    vm_id = cloud.deploy()
    cloud.settle()
    return cloud, vm_id


def associate(cloud) -> str:
    with transaction() as s:
        network = s.get_one(Network, cloud.network_id)
        revision = next_revision(s, network.id)
        address = take_public_address(s, network, source_nat=False)
        rules.associate_address.start(s, address, network_id=network.id, revision=revision, rules=[])
        return address.id


def release(cloud, address_id) -> str:
    with transaction() as s:
        address = s.get_one(PublicAddress, address_id)
        revision = next_revision(s, cloud.network_id)
        address.releasing = True
        found = living(s, NetworkRule.address_id == address_id)
        move_all(found, "revoke")
        named = [rule.id for rule in found]
        return rules.release_address.start(
            s, address, network_id=cloud.network_id, revision=revision, rules=named
        ).id  # fmt: skip


def open_ports(cloud, address_id, port: int) -> str:
    with transaction() as s:
        revision = next_revision(s, cloud.network_id)
        rule = FirewallRule(account_id=cloud.account_id, network_id=cloud.network_id, address_id=address_id,
                            protocol="tcp", first_port=port, last_port=port)  # fmt: skip
        s.add(rule)
        s.flush()
        rules.start_for(s, rules.add_rules, [rule], revision)
        return rule.id


def close(cloud, rule_id) -> None:
    with transaction() as s:
        revision = next_revision(s, cloud.network_id)
        rule = s.get_one(NetworkRule, rule_id)
        move_all([rule], "revoke")
        rules.start_for(s, rules.remove_rules, [rule], revision)


def change(cloud, rule_id) -> None:
    with transaction() as s:
        revision = next_revision(s, cloud.network_id)
        rule = s.get_one(NetworkRule, rule_id)
        rule.sources = ["192.0.2.0/24"]
        rules.start_for(s, rules.change_rule, [rule], revision, before={"sources": []})


def router_of(cloud):
    (spec,) = [spec for runner in cloud.runners.values() if runner.host.routers
               for spec in runner.host.routers.specs.values()]  # fmt: skip
    return spec


def ports_of(cloud) -> list[int]:
    return sorted(opening.traffic.first_port for opening in router_of(cloud).openings)


def counted(cloud) -> int:
    return int(cloud.get(ResourceUse, cloud.account_id).public_addresses)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("name", "position"), STEPS)
def test_it_unwinds_from_every_step_to_what_was_before(running, monkeypatch, name, position, after):
    cloud, vm_id = running
    address = associate(cloud)
    cloud.settle()
    rule = open_ports(cloud, address, 80)
    cloud.settle()
    before = (router_of(cloud).addresses, router_of(cloud).openings, counted(cloud))
    actions = {
        "rule.add": lambda: open_ports(cloud, address, 81), "rule.remove": lambda: close(cloud, rule),
        "rule.change": lambda: change(cloud, rule), "address.associate": lambda: associate(cloud),
        "address.release": lambda: release(cloud, address),
    }  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, name, breaking(WORKFLOWS[name], position, after=after))
        actions[name]()
        cloud.settle(times=2)
    assert (router_of(cloud).addresses, router_of(cloud).openings, counted(cloud)) == before
    assert cloud.get(NetworkRule, rule).state == "Active"
    release(cloud, address)
    cloud.settle(times=2)
    assert router_of(cloud).addresses == ()
    clear_all(cloud, vm_id)
    assert cloud.leftovers() == EMPTY
    assert counted(cloud) == 0


def test_changes_that_come_together_travel_together(running):
    cloud, _ = running
    address = associate(cloud)
    cloud.settle()
    told = 0
    for port in range(1, 21):
        open_ports(cloud, address, port)
    cloud.settle(times=2, shuffle=True)
    with transaction() as s:
        told = len(list(s.scalars(select(WorkflowRow.id).filter_by(name="network.rules"))))
        states = set(s.scalars(select(NetworkRule.state)))
    assert ports_of(cloud) == list(range(1, 21))
    assert told <= 4  # one for the address, and few for twenty rules
    assert states == {"Active"}


@pytest.mark.parametrize(("shuffle", "lose"), [(True, 0.0), (True, 0.3)])
def test_messages_may_be_doubled_reordered_and_lost(running, shuffle, lose):
    cloud, vm_id = running
    addresses = [associate(cloud) for _ in range(2)]
    made = [open_ports(cloud, addresses[0], port) for port in (80, 81, 82)]
    cloud.settle(2, shuffle=shuffle, lose=lose)
    assert ports_of(cloud) == [80, 81, 82]
    close(cloud, made[1])
    change(cloud, made[0])
    open_ports(cloud, addresses[1], 90)
    cloud.settle(2, shuffle=shuffle, lose=lose)
    assert ports_of(cloud) == [80, 82, 90]
    release(cloud, addresses[0])
    cloud.settle(2, shuffle=shuffle, lose=lose)
    assert ports_of(cloud) == [90]
    assert cloud.leftovers()["drift"] == []
    clear_all(cloud, vm_id)
    assert cloud.leftovers() == EMPTY


def test_only_the_routers_host_is_told(running):
    cloud, _ = running
    for number in range(3):
        cloud.deploy(f"vm{number}")
    cloud.settle()
    hosts = {runner.agent_id: runner.host.id for runner in cloud.runners.values() if runner.host.routers}
    before = cloud.get(Network, cloud.network_id)
    associate(cloud)
    asked = set()
    while batch := cloud.take_messages():
        for message in batch:
            if message[0].startswith("agent."):
                asked.add(hosts[message[0].removeprefix("agent.")])
            cloud.handle(*message)
    assert asked == {router_of(cloud).legs[0].nic.host_id}
    after = cloud.get(Network, cloud.network_id)
    assert after.shared_generation == before.generation < after.generation
    assert after.rules_applied == after.rules_wanted


def test_a_rule_leads_nowhere_once_its_guest_is_gone(running):
    cloud, vm_id = running
    address = associate(cloud)
    with transaction() as s:
        vm = s.get_one(Vm, vm_id)
        lead = PortForwardingRule(
            account_id=cloud.account_id, network_id=cloud.network_id, address_id=address, vm_id=vm.id, protocol="tcp",
            guest_address="10.1.1.250", first_port=80, last_port=80, guest_port=80, state="Active",
        )  # fmt: skip
        s.add(lead)
    cloud.settle()
    assert router_of(cloud).forwardings == ()


def test_a_host_that_is_down_fails_the_job_and_owes_what_was_taken_back(running):
    cloud, _ = running
    address = associate(cloud)
    cloud.settle()
    host_id = router_of(cloud).legs[0].nic.host_id
    with transaction() as s:
        s.get_one(Host, host_id).state = "Down"
        queue = f"agent.{s.get_one(Host, host_id).agent_id}"
    rule = open_ports(cloud, address, 80)
    for _ in range(40):
        batch = [message for message in cloud.take_messages() if message[0] != queue]
        for message in batch:
            cloud.handle(*message)
        if not batch:
            if not cloud.open_workflows():
                break
            cloud.pass_time()
    assert "is Down" in cloud.workflow(rule, "rule.add").error
    assert cloud.get(NetworkRule, rule).removed is not None
    with transaction() as s:
        s.get_one(Host, host_id).state = "Up"
    cloud.pass_time()
    cloud.settle()
    assert ports_of(cloud) == []


def test_what_led_to_a_vm_is_gone_even_if_the_router_cannot_be_told(running, monkeypatch):
    cloud, vm_id = running
    address = associate(cloud)
    with transaction() as s:
        guest = s.scalars(select(Nic.address).filter_by(vm_id=vm_id)).one()
        revision = next_revision(s, cloud.network_id)
        lead = PortForwardingRule(
            account_id=cloud.account_id, network_id=cloud.network_id, address_id=address, vm_id=vm_id, protocol="tcp",
            guest_address=guest, first_port=80, last_port=80, guest_port=80,
        )  # fmt: skip
        s.add(lead)
        s.flush()
        rules.start_for(s, rules.add_rules, [lead], revision)
    cloud.settle()
    assert len(router_of(cloud).forwardings) == 1
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "network.rules", breaking(WORKFLOWS["network.rules"], 0, after=False))
        cloud.destroy(vm_id)
        cloud.settle()
    assert cloud.get(NetworkRule, lead.id).removed is not None
    assert cloud.workflow(lead.id, "rule.retire").status == "failed"
    open_ports(cloud, address, 81)
    cloud.settle()
    assert router_of(cloud).forwardings == ()
