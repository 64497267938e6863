"""Accounts and domains that are disabled or deleted, with all that they hold."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from manager import identity_seed
from manager.db import transaction
from manager.models import (
    Account,
    ApiKey,
    Base,
    Domain,
    LoginSession,
    Network,
    OfferingDomain,
    ResourceUse,
    ServiceOffering,
    SshKeyPair,
    Tag,
    Template,
    User,
    Vm,
    Volume,
    WorkflowRow,
)
from manager.workflows.account import OWN_ROWS, PEOPLE_AND_ROWS, delete_account, disable_account
from manager.workflows.clearing import FORGOTTEN, WAYS
from manager.workflows.domain import delete_domain
from manager.workflows.engine import WORKFLOWS
from tests.unit.workflows.cloud import Cloud
from tests.unit.workflows.test_laws import breaking

WITH_OTHERS = {
    "Volume": "its virtual machine",
    "Router": "its network",
    "PublicAddress": "its network",
    "ResourceUse": "the account",
    "ApiKey": "its user",
    "NetworkRule": "its network",
    "FirewallRule": "its network",
    "EgressRule": "its network",
    "PortForwardingRule": "its network",
    "StaticNatRule": "its network",
    "IpForwardingRule": "its network",
    "LoadBalancerRule": "its network",
    "BalancedMember": "its network",
    "BalancerAppliance": "its network",
    "StickinessPolicy": "its network",
    "HealthPolicy": "its network",
    "Project": "the account that owns it",
    "RemoteAccessVpn": "its network",
    "VpnGateway": "its VPC",
    "VpnConnection": "its VPC",
    "PrivateGateway": "its VPC",
    "StaticRoute": "its VPC",
}
"""What ends with something else of the account."""
KEPT = {
    "EventRow",
    "WorkflowRow",
    "ClientToken",
    "UsageSpan",
    "UsageRecord",
    "UsageTraffic",
    "NetworkTraffic",
    "Quarantine",
}
"""What tells of the past, and stays until its time is over."""


@pytest.fixture
def quick(engine, tmp_path) -> Cloud:
    """A cloud on SQLite alone."""
    from manager.celery_app import app

    app.cache_clear()
    return Cloud(tmp_path)


def furnish(cloud: Cloud) -> list[str]:
    """Give the tenant a VM of each state, a user with a key and a session, a key pair and a tag."""
    vms = [cloud.deploy(name) for name in ("running", "stopped", "destroyed")]
    cloud.settle()
    cloud.stop(vms[1])
    with transaction() as s:
        WORKFLOWS["vm.destroy"].start(s, s.get_one(Vm, vms[2]), forced=True)
        user = User(account_id=cloud.account_id, username="tenant", password_hash="x", live="tenant")
        s.add(user)
        s.flush()
        identity_seed.new_keys(s, user)
        s.add_all([
            LoginSession(token_hash="t", user_id=user.id, session_key_hash="k", last_used=0.0),
            SshKeyPair(account_id=cloud.account_id, name="k", fingerprint="", public_key="", live="k"),
            Tag(resource_id=vms[0], key="k", resource_type="UserVm", account_id=cloud.account_id),
        ])  # fmt: skip
    cloud.settle()
    states = {cloud.get(Vm, vm_id).state for vm_id in vms}
    assert states == {"Running", "Stopped", "Destroyed"}
    return vms


def delete(cloud: Cloud) -> str:
    with transaction() as s:
        return delete_account.start(s, s.get_one(Account, cloud.account_id)).id


def assert_gone(cloud: Cloud) -> None:
    account = cloud.get(Account, cloud.account_id)
    assert (account.state, account.cleanup_needed, account.live) == ("removed", False, None)
    assert account.removed is not None
    with transaction() as s:
        for model in (Vm, Volume, Network, Template, SshKeyPair, User):
            mine = select(func.count()).select_from(model).where(model.account_id == cloud.account_id)
            assert s.scalar(mine.where(model.removed.is_(None))) == 0, model
        for model in (Tag, ResourceUse):
            assert s.scalar(select(func.count()).select_from(model).where(model.account_id == cloud.account_id)) == 0
        assert s.scalar(select(func.count()).select_from(LoginSession)) == 0
        users = select(User.id).where(User.account_id == cloud.account_id)
        assert s.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.user_id.in_(users))) == 0
        s.add(ResourceUse(account_id=cloud.account_id))  # what `leftovers` reads
    left = cloud.leftovers()
    assert {key: value for key, value in left.items() if value} == {"use": (0, 0, 0, 0, 0, 0)}
    assert all(not runner.host.inventory_of_images() for runner in cloud.runners.values()
               if runner.host.hypervisor is None)  # fmt: skip


def test_an_account_goes_with_all_it_holds(cloud):
    furnish(cloud)
    job = delete(cloud)
    cloud.settle(times=2)
    row = cloud.get(WorkflowRow, job)
    assert (row.status, row.error) == ("done", None)
    assert [entry["step"] for entry in row.trace] == [
        "begin_deleting", "remove_projects", "remove_vms", "remove_networks", "remove_vpcs", "remove_templates",
        "remove_account",
    ]  # fmt: skip
    assert_gone(cloud)


def test_a_deletion_survives_the_death_of_its_workers(quick, killed_at_commits):
    furnish(quick)
    deaths = killed_at_commits()
    delete(quick)
    quick.settle_killed()
    assert len(deaths) > 10
    assert_gone(quick)


def test_a_deletion_that_failed_says_why_and_goes_on_when_asked_again(quick, monkeypatch):
    furnish(quick)
    with monkeypatch.context() as patch:
        broken = breaking(WORKFLOWS["network.delete"], 0, after=False)
        patch.setitem(WORKFLOWS, "network.delete", broken)
        job = delete(quick)
        quick.settle()
    row = quick.get(WorkflowRow, job)
    assert row.status == "failed"
    assert "The network net1" in row.error
    assert "could not be ended: planted" in row.error
    account = quick.get(Account, quick.account_id)
    assert (account.state, account.cleanup_needed, account.removed) == ("disabled", True, None)
    assert quick.domains() == {}
    delete(quick)
    quick.settle()
    assert_gone(quick)


def test_a_deletion_waits_for_what_is_under_way(quick):
    vm_id = quick.deploy("starting")
    assert quick.get(Vm, vm_id).state in ("Starting", "Stopped")
    delete(quick)
    quick.settle(shuffle=True)
    assert quick.get(Vm, vm_id).removed is not None
    assert quick.get(Account, quick.account_id).removed is not None


def test_what_nobody_knows_how_to_end_keeps_the_account(quick):
    with transaction() as s:
        zone = quick.zone_id
        s.add(Volume(name="loose", account_id=quick.account_id, zone_id=zone, size=1, type="DATADISK"))
    job = delete(quick)
    quick.settle()
    assert quick.get(WorkflowRow, job).error == (
        "The account still holds 1 volumes; end those and delete the account again."
    )
    account = quick.get(Account, quick.account_id)
    assert (account.removed, account.cleanup_needed) == (None, True)
    with transaction() as s:
        assert s.get(ResourceUse, quick.account_id) is not None


def test_a_disabled_account_has_no_running_vm(quick):
    running, stopped, destroyed = furnish(quick)
    with transaction() as s:
        job = disable_account.start(s, s.get_one(Account, quick.account_id)).id
    quick.settle(times=2)
    assert quick.get(WorkflowRow, job).status == "done"
    assert [quick.get(Vm, vm_id).state for vm_id in (running, stopped, destroyed)] == [
        "Stopped", "Stopped", "Destroyed",
    ]  # fmt: skip
    assert quick.domains() == {}
    assert quick.get(Account, quick.account_id).state == "disabled"


def tree(cloud: Cloud) -> tuple[str, str]:
    """A domain with one below it, in which the tenant's account stands."""
    with transaction() as s:
        root = s.scalars(select(Domain).where(Domain.live == "/")).one()
        west = Domain(name="west", parent_id=root.id, path="/west/", level=1, live=f"{root.id}/west")
        s.add(west)
        s.flush()
        deep = Domain(name="deep", parent_id=west.id, path="/west/deep/", level=2, live=f"{west.id}/deep")
        s.add(deep)
        s.flush()
        s.execute(update(Account).where(Account.id == cloud.account_id).values(domain_id=deep.id))
        return west.id, deep.id


def restricted(domain_ids: list[str], name: str) -> str:
    with transaction() as s:
        offering = ServiceOffering(name=name, display_text=name, cpus=1, cpu_mhz=1, memory=1, live=name)
        s.add(offering)
        s.flush()
        s.add_all(OfferingDomain(offering_id=offering.id, domain_id=domain_id) for domain_id in domain_ids)
        return offering.id


def test_a_domain_goes_with_all_that_is_in_it(cloud):
    furnish(cloud)
    west, deep = tree(cloud)
    with transaction() as s:
        root_id = str(s.get_one(Domain, west).parent_id)
    only, shared = restricted([west, deep], "only"), restricted([deep, root_id], "shared")
    with transaction() as s:
        job = delete_domain.start(s, s.get_one(Domain, west)).id
    cloud.settle(times=2)
    row = cloud.get(WorkflowRow, job)
    assert (row.status, row.error) == ("done", None)
    assert_gone(cloud)
    for domain_id in (west, deep):
        domain = cloud.get(Domain, domain_id)
        assert (domain.state, domain.live) == ("Inactive", None)
        assert domain.removed is not None
    assert cloud.get(ServiceOffering, only).removed is not None
    assert cloud.get(ServiceOffering, shared).removed is None


def test_a_domain_that_cannot_be_emptied_is_open_again(quick):
    west, deep = tree(quick)
    with transaction() as s:
        s.add(Volume(name="loose", account_id=quick.account_id, zone_id=quick.zone_id, size=1, type="DATADISK"))
        job = delete_domain.start(s, s.get_one(Domain, west)).id
    quick.settle()
    row = quick.get(WorkflowRow, job)
    assert row.status == "failed"
    assert "The account tenant" in row.error
    assert "still holds 1 volumes" in row.error
    assert {quick.get(Domain, key).state for key in (west, deep)} == {"Active"}
    assert quick.get(Account, quick.account_id).state == "disabled"


def test_every_kind_of_thing_that_belongs_to_an_account_has_its_end():
    """A new model with an owner must say how it ends: a way of its own, its row alone, or with something else."""
    ended = {way.model for way in WAYS} | set(PEOPLE_AND_ROWS) | set(FORGOTTEN) | set(OWN_ROWS)
    known = {model.__name__ for model in ended} | set(WITH_OTHERS) | KEPT
    owned = {m.class_.__name__ for m in Base.registry.mappers if hasattr(m.class_, "account_id")}
    assert owned - known == set(), "manager.workflows.clearing does not say how these end with their account"


def test_a_stuck_job_is_told(quick):
    vm_id = quick.deploy()
    quick.settle()
    with transaction() as s:
        row = WORKFLOWS["vm.stop"].start(s, s.get_one(Vm, vm_id))
        row.status, row.error, row.wake_at = "stuck", "no way back", None
    job = delete(quick)
    quick.settle()
    assert "which is stuck: no way back" in quick.get(WorkflowRow, job).error
