"""Network ACL lists: a change reaches all hosts of all their tiers, and unwinds wherever it fails."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from manager.db import transaction
from manager.models import Network, NetworkAclItem, NetworkAclList, Vpc, VpcOffering, WorkflowRow
from manager.models.states import RULE_MOVES
from manager.workflows import acl
from manager.workflows.acl_rows import forget_lists, items_of, live_of, next_change, renumber
from manager.workflows.engine import WORKFLOWS
from network.types import EVERYTHING_LEAVES
from tests.unit.workflows.cloud import Cloud
from tests.unit.workflows.test_laws import breaking

STEPS = [(name, position) for name in ("acl.add", "acl.remove", "acl.change", "acl.replace", "acl.carry")
         for position in range(len(WORKFLOWS[name].steps))]  # fmt: skip


@pytest.fixture
def running(cloud) -> tuple[Cloud, str, list[str]]:
    """Two tiers with one list, and a guest in each."""
    tiers = [cloud.network_id, cloud.add_network("net2")]
    with transaction() as s:
        offering = VpcOffering(name="o", display_text="o")
        s.add(offering)
        s.flush()
        zone_id = s.get_one(Network, cloud.network_id).zone_id
        vpc = Vpc(name="v", display_text="v", account_id=cloud.account_id, zone_id=zone_id, offering_id=offering.id,
                  cidr="10.0.0.0/8", network_domain="x")  # fmt: skip
        s.add(vpc)
        s.flush()
        made = NetworkAclList(name="l", description="", account_id=cloud.account_id, vpc_id=vpc.id)
        s.add(made)
        s.flush()
        for tier in tiers:
            s.get_one(Network, tier).acl_id = made.id
        list_id = made.id
    vms = [cloud.deploy("vm0"), cloud.deploy("vm1"), cloud.deploy("vm2", tiers[1])]
    cloud.settle()
    return cloud, list_id, vms


def add(cloud, list_id: str, number: int, **values) -> str:
    with transaction() as s:
        revision = next_change(s, list_id)
        item = NetworkAclItem(list_id=list_id, account_id=cloud.account_id, number=number, protocol="tcp",
                              first_port=number, last_port=number, live=live_of(list_id, number), **values)  # fmt: skip
        s.add(item)
        s.flush()
        acl.start_for(s, acl.add_item, item, revision)
        return item.id


def remove(item_id: str) -> None:
    with transaction() as s:
        item = s.get_one(NetworkAclItem, item_id)
        revision = next_change(s, item.list_id)
        RULE_MOVES.move(item, "revoke")
        acl.start_for(s, acl.remove_item, item, revision)


def move(item_id: str, number: int) -> None:
    with transaction() as s:
        item = s.get_one(NetworkAclItem, item_id)
        revision = next_change(s, item.list_id)
        before = acl.numbers_of(s, item.list_id)
        renumber(s, item.list_id, {item_id: number})
        acl.start_for(s, acl.change_items, item, revision, before={}, numbers=before)


def replace(cloud, list_id: str) -> None:
    with transaction() as s:
        acl.replace_list.start(s, s.get_one(Network, cloud.network_id), list_id=list_id)


def held(cloud) -> dict[str, set[tuple[int, ...]]]:
    """By network: what the hosts of its guests have, as the ports of the items in order; none says what leaves."""
    found: dict[str, set[tuple[int, ...]]] = {}
    for runner in cloud.runners.values():
        for view in runner.host.switch.views.values() if runner.host.switch else ():
            rules = view.acl.rules if view.acl else (EVERYTHING_LEAVES,)
            assert rules[-1] == EVERYTHING_LEAVES
            ports = tuple(rule.traffic.first_port for rule in rules[:-1])
            found.setdefault(view.id, set()).add(ports)
    return found


def shown(cloud, list_id: str) -> list[tuple[int, str]]:
    with transaction() as s:
        return [(item.number, item.state) for item in items_of(s, list_id)]


def test_a_change_reaches_all_hosts_of_all_tiers(running):
    cloud, list_id, _ = running
    add(cloud, list_id, 80)
    item = add(cloud, list_id, 22)
    cloud.settle(times=2, shuffle=True)
    assert list(held(cloud).values()) == [{(22, 80)}, {(22, 80)}]
    assert len([runner for runner in cloud.runners.values() if runner.host.switch and runner.host.switch.views]) == 2
    assert shown(cloud, list_id) == [(22, "Active"), (80, "Active")]
    move(item, 90)
    cloud.settle(times=2)
    assert set.union(*held(cloud).values()) == {(80, 22)}
    remove(item)
    cloud.settle(times=2)
    assert set.union(*held(cloud).values()) == {(80,)}
    assert shown(cloud, list_id) == [(80, "Active")]
    assert cloud.leftovers()["drift"] == []


def test_a_carrier_tells_of_many_changes(running):
    cloud, list_id, _ = running
    for number in range(1, 21):
        add(cloud, list_id, number)
    cloud.settle(times=2, shuffle=True, lose=0.2)
    assert set.union(*held(cloud).values()) == {tuple(range(1, 21))}
    with transaction() as s:
        assert len(list(s.scalars(select(WorkflowRow.id).filter_by(name="acl.carry")))) <= 3
        wanted = s.get_one(NetworkAclList, list_id)
        assert wanted.items_applied == wanted.items_wanted == 20


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("name", "position"), STEPS)
def test_it_unwinds_from_every_step_to_what_was_before(running, monkeypatch, name, position, after):
    cloud, list_id, _ = running
    item = add(cloud, list_id, 80)
    cloud.settle()
    with transaction() as s:
        other = NetworkAclList(name="other", description="", account_id=cloud.account_id)
        s.add(other)
        s.flush()
        other_id = other.id
    before = (held(cloud), shown(cloud, list_id))
    actions = {
        "acl.add": lambda: add(cloud, list_id, 81), "acl.carry": lambda: add(cloud, list_id, 81),
        "acl.remove": lambda: remove(item), "acl.change": lambda: move(item, 7),
        "acl.replace": lambda: replace(cloud, other_id),
    }  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, name, breaking(WORKFLOWS[name], position, after=after))
        actions[name]()
        cloud.settle(times=2)
    assert (held(cloud), shown(cloud, list_id)) == before
    actions[name]()
    cloud.settle(times=2)
    assert (held(cloud), shown(cloud, list_id)) != before


def test_a_tier_changes_its_list_for_another(running):
    cloud, list_id, _ = running
    add(cloud, list_id, 80)
    with transaction() as s:
        other = NetworkAclList(name="other", description="", account_id=cloud.account_id)
        s.add(other)
        s.flush()
        other_id = other.id
    add(cloud, other_id, 81)
    cloud.settle()
    replace(cloud, other_id)
    cloud.settle(times=2)
    assert held(cloud)[cloud.network_id] == {(81,)}
    assert set.union(*held(cloud).values()) == {(81,), (80,)}


def test_a_list_that_is_gone_is_given_to_nobody(running):
    cloud, list_id, _ = running
    with transaction() as s:
        other = NetworkAclList(name="other", description="")
        s.add(other)
        s.flush()
        other_id = other.id
    replace(cloud, other_id)
    with transaction() as s:
        forget_lists(s, NetworkAclList.id == other_id)
    cloud.settle()
    assert "has been removed" in cloud.workflow(cloud.network_id, "acl.replace").error
    assert cloud.get(Network, cloud.network_id).acl_id == list_id


def test_numbers_that_others_took_meanwhile_are_left_to_them(running):
    cloud, list_id, _ = running
    items = [add(cloud, list_id, number) for number in (1, 2, 3)]
    cloud.settle()
    with transaction() as s:
        renumber(s, list_id, {items[0]: 2, items[1]: 3, items[2]: 1})
        assert [item.id for item in items_of(s, list_id)] == [items[2], items[0], items[1]]
        renumber(s, list_id, {items[2]: 2, items[0]: 3})
        assert [item.number for item in items_of(s, list_id)] == [1, 2, 3]
        assert [item.id for item in items_of(s, list_id)] == [items[2], items[0], items[1]]
