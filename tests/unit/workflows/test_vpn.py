"""Remote access: the router holds what the rows want, also where a job unwinds or its messages come twice."""

from __future__ import annotations

import pytest

from manager.db import transaction
from manager.models import Network, PublicAddress, RemoteAccessVpn, VpnUser
from manager.models.states import VPN_MOVES, VPN_USER_MOVES
from manager.workflows import vpn as workflows
from manager.workflows.engine import WORKFLOWS
from manager.workflows.rule_rows import next_revision
from tests.unit.workflows.cloud import Cloud
from tests.unit.workflows.test_laws import EMPTY, breaking, clear_all

STEPS = [(name, position) for name in ("vpn.start", "vpn.stop", "vpn-user.add", "vpn-user.remove")
         for position in range(len(WORKFLOWS[name].steps))]  # fmt: skip


@pytest.fixture
def running(cloud) -> tuple[Cloud, str]:
    vm_id = cloud.deploy()
    cloud.settle()
    return cloud, vm_id


def start_vpn(cloud) -> str:
    with transaction() as s:
        network = s.get_one(Network, cloud.network_id)
        revision = next_revision(s, network.id)
        address = s.query(PublicAddress).filter_by(network_id=network.id).one()
        vpn = RemoteAccessVpn(
            account_id=network.account_id, network_id=network.id, address_id=address.id, first_address="10.9.0.2",
            last_address="10.9.0.9", certificate="AAAA", authority="AAAA", private_key="AAAA", live=network.id,
        )  # fmt: skip
        s.add(vpn)
        s.flush()
        workflows.start_vpn.start(s, vpn, network_id=network.id, revision=revision)
        return vpn.id


def stop_vpn(cloud, vpn_id) -> None:
    with transaction() as s:
        revision = next_revision(s, cloud.network_id)
        vpn = s.get_one(RemoteAccessVpn, vpn_id)
        VPN_MOVES.move(vpn, "withdraw")
        workflows.stop_vpn.start(s, vpn, network_id=cloud.network_id, revision=revision)


def add_user(cloud) -> str:
    with transaction() as s:
        user = VpnUser(account_id=cloud.account_id, name="ann", password="secret", live=f"{cloud.account_id}/ann")
        s.add(user)
        s.flush()
        workflows.start_for_user(s, workflows.add_user, user)
        return user.id


def remove_user(cloud, user_id) -> None:
    with transaction() as s:
        user = s.get_one(VpnUser, user_id)
        VPN_USER_MOVES.move(user, "revoke")
        workflows.start_for_user(s, workflows.remove_user, user)


def held(cloud) -> tuple[bool, list[str]]:
    """Whether the router has remote access, and for whom."""
    (spec,) = [spec for runner in cloud.runners.values() if runner.host.routers
               for spec in runner.host.routers.specs.values()]  # fmt: skip
    return (True, [user.name for user in spec.vpn.remote.users]) if spec.vpn else (False, [])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("name", "position"), STEPS)
def test_a_change_unwinds_from_every_step(running, monkeypatch, name, position, after):
    cloud, vm_id = running
    vpn_id = "" if name == "vpn.start" else start_vpn(cloud)
    user_id = "" if name == "vpn-user.add" else add_user(cloud)
    cloud.settle()
    before = held(cloud)
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, name, breaking(WORKFLOWS[name], position, after=after))
        if name == "vpn.start":
            vpn_id = start_vpn(cloud)
        elif name == "vpn.stop":
            stop_vpn(cloud, vpn_id)
        elif name == "vpn-user.add":
            user_id = add_user(cloud)
        else:
            remove_user(cloud, user_id)
        cloud.settle(times=2)
    subject = vpn_id if name.startswith("vpn.") else user_id
    assert cloud.workflow(subject, name).status == "failed"
    assert held(cloud) == before
    vpn, user = cloud.get(RemoteAccessVpn, vpn_id), cloud.get(VpnUser, user_id)
    assert (vpn.state, vpn.removed is None) == (("Removed", False) if name == "vpn.start" else ("Running", True))
    assert (user.live is None) is (name == "vpn-user.add")
    if name == "vpn-user.remove":
        assert user.state == "Active"
    clear_all(cloud, vm_id)
    assert cloud.leftovers() == EMPTY
    assert cloud.get(RemoteAccessVpn, vpn_id).removed is not None


def test_all_messages_may_come_twice(running):
    cloud, _ = running
    vpn_id, user_id = start_vpn(cloud), add_user(cloud)
    cloud.settle(times=2)
    assert held(cloud) == (True, ["ann"])
    remove_user(cloud, user_id)
    cloud.settle(times=2)
    assert held(cloud) == (True, [])
    stop_vpn(cloud, vpn_id)
    cloud.settle(times=2)
    assert held(cloud) == (False, [])


def test_changes_at_once_all_reach_the_router(running):
    cloud, _ = running
    vpn_id = start_vpn(cloud)
    user_id = add_user(cloud)
    cloud.settle()
    assert held(cloud) == (True, ["ann"])
    assert cloud.workflow(user_id, "vpn-user.add").status == "done"
    assert cloud.get(RemoteAccessVpn, vpn_id).state == "Running"
