"""Leases of virtual machines: told of, ended once, changed, and off."""

from __future__ import annotations

import datetime as dt

import pytest

from manager.models import (
    EventRow,
    ServiceOffering,
    Vm,
    utcnow,
)
from manager.workflows.vm_leases import end_leases
from tests.client import Refused
from tests.unit.api.live_cloud import change, rows, run

MIB, GIB = 2**20, 2**30


@pytest.fixture
def leases(api):
    api("updateConfiguration", name="instance.lease.enabled", value="true")


def over(factory, vm_id):
    change(factory, Vm, vm_id, lease_ends=utcnow() - dt.timedelta(seconds=1))


def kinds(factory, vm_id):
    return [row.type for row in rows(factory, EventRow, resource_id=vm_id) if row.type.startswith("VM.LEASE")]


def test_a_lease_is_told_and_ended_once(api, deploy, user, cloud, factory, leases):
    lent = deploy(leaseduration=5, leaseexpiryaction="STOP")
    far = deploy(name="far", leaseduration=50, leaseexpiryaction="DESTROY")
    assert (lent["leaseduration"], lent["leaseexpiryaction"]) == (5, "STOP")
    end_leases()
    end_leases()
    assert (kinds(factory, lent["id"]), kinds(factory, far["id"])) == (["VM.LEASE.EXPIRING"], [])
    over(factory, lent["id"])
    over(factory, far["id"])
    for _ in range(2):
        end_leases()
        cloud.settle()
    assert cloud.get(Vm, lent["id"]).state == "Stopped"
    assert cloud.get(Vm, far["id"]).state == "Destroyed"
    assert kinds(factory, lent["id"]) == ["VM.LEASE.EXPIRING", "VM.LEASE.EXPIRED"]
    assert kinds(factory, far["id"]) == ["VM.LEASE.EXPIRED"]
    run(api, cloud, user, "startVirtualMachine", id=lent["id"])
    end_leases()
    cloud.settle()
    assert cloud.get(Vm, lent["id"]).state == "Running"
    assert {one["name"] for one in api("listEventTypes", user)["eventtype"]} >= {"VM.LEASE.EXPIRED"}


def test_a_protected_machine_outlives_its_lease(api, deploy, user, cloud, factory, leases):
    vm = deploy(leaseduration=1, leaseexpiryaction="DESTROY")
    api("updateVirtualMachine", user, id=vm["id"], deleteprotection=True)
    over(factory, vm["id"])
    end_leases()
    cloud.settle()
    assert cloud.get(Vm, vm["id"]).state == "Running"
    (event,) = rows(factory, EventRow, resource_id=vm["id"], type="VM.LEASE.EXPIRED")
    assert "protected against deletion" in event.description


def test_a_machine_at_work_ends_its_lease_later(api, deploy, user, cloud, factory, leases):
    vm = deploy(leaseduration=1, leaseexpiryaction="STOP")
    over(factory, vm["id"])
    job = api("rebootVirtualMachine", user, id=vm["id"])
    end_leases()
    assert kinds(factory, vm["id"]) == []
    cloud.settle()
    assert api("queryAsyncJobResult", user, jobid=job["jobid"])["jobstatus"] == 1
    end_leases()
    cloud.settle()
    assert cloud.get(Vm, vm["id"]).state == "Stopped"


def test_leases_are_the_offerings_and_can_be_changed_and_ended(api, deploy, user, cloud, factory, leases):
    change(factory, ServiceOffering, cloud.offering_id, lease_days=3, lease_action="DESTROY")
    vm = deploy()
    assert (vm["leaseduration"], vm["leaseexpiryaction"]) == (3, "DESTROY")
    assert "leaseduration" not in deploy(name="b", leaseduration=-1)
    assert [one["id"] for one in api("listVirtualMachines", user, leased=True)["virtualmachine"]] == [vm["id"]]
    assert api("listVirtualMachines", user, leased=False)["count"] == 1
    longer = api("updateVirtualMachine", user, id=vm["id"], leaseduration=10)["virtualmachine"]
    assert (longer["leaseduration"], longer["leaseexpiryaction"]) == (10, "DESTROY")
    other = api("updateVirtualMachine", user, id=vm["id"], leaseexpiryaction="STOP")["virtualmachine"]
    assert (other["leaseduration"], other["leaseexpiryaction"]) == (10, "STOP")
    assert "leaseexpirydate" not in api("updateVirtualMachine", user, id=vm["id"], leaseduration=-1)["virtualmachine"]
    for given, reason in (
        ({"leaseduration": 0}, "is 1 to 36500 days, or -1"),
        ({"leaseduration": 5}, "needs leaseexpiryaction too"),
        ({"leaseexpiryaction": "STOP"}, "needs leaseduration too"),
    ):
        with pytest.raises(Refused, match=rf"431 .*{reason}"):
            api("updateVirtualMachine", user, id=vm["id"], **given)


def test_nothing_ends_while_leases_are_off(api, deploy, cloud, factory, leases):
    vm = deploy(leaseduration=1, leaseexpiryaction="DESTROY")
    over(factory, vm["id"])
    api("updateConfiguration", name="instance.lease.enabled", value="false")
    end_leases()
    cloud.settle()
    assert cloud.get(Vm, vm["id"]).state == "Running"
    with pytest.raises(Refused, match="431 Leases are off"):
        deploy(name="b", leaseduration=1, leaseexpiryaction="STOP")
