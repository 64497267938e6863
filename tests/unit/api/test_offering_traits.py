"""Traits of offerings: limits of disks, provisioning, bounds of custom sizes, rates, details."""

from __future__ import annotations

import pytest

from manager.models import DiskOffering, ServiceOffering
from tests.client import Refused

SIZE = {"cpunumber": 1, "cpuspeed": 500, "memory": 128}
LIMITS = {"bytesreadrate": 1000, "bytesreadratemax": 2000, "bytesreadratemaxlength": 5, "iopswriterate": 50}
SHOWN = {
    "diskBytesReadRate": 1000, "diskBytesReadRateMax": 2000, "diskBytesReadRateMaxLength": 5, "diskIopsWriteRate": 50,
    "cacheMode": "writeback", "provisioningtype": "fat",
}  # fmt: skip


@pytest.mark.parametrize(
    ("command", "key", "more"),
    [("createServiceOffering", "serviceoffering", SIZE), ("createDiskOffering", "diskoffering", {"disksize": 1})],
)
def test_limits_of_disks_are_kept_and_shown(api, factory, command, key, more):
    made = api(command, name="fast", cachemode="writeback", provisioningtype="fat", **LIMITS, **more)[key]
    assert {name: made.get(name) for name in SHOWN} == SHOWN
    assert "diskIopsReadRate" not in made
    model = ServiceOffering if key == "serviceoffering" else DiskOffering
    assert factory.first(model, id=made["id"]).io_limits == {
        "read_bytes": 1000, "read_bytes_max": 2000, "read_bytes_max_length": 5, "write_iops": 50,
    }  # fmt: skip
    plain = api(command, name="plain", **more)[key]
    assert (plain["provisioningtype"], plain["cacheMode"]) == ("thin", "none")
    assert not [name for name in plain if name.startswith(("diskBytes", "diskIops"))]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"bytesreadratemax": 5}, "bytesreadratemax needs bytesreadrate too"),
        ({"iopswriterate": 5, "iopswriteratemaxlength": 5}, "iopswriteratemaxlength needs iopswriteratemax too"),
        ({"iopsreadrate": 5, "iopsreadratemax": 4}, "iopsreadratemax of 4 is less than iopsreadrate, 5"),
        ({"bytesreadrate": 0}, "0 is not within 1"),
        ({"cachemode": "much"}, "much is none of none, writeback, writethrough"),
        ({"provisioningtype": "big"}, "big is none of thin, sparse, fat"),
    ],
)
def test_limits_that_cannot_be_are_refused(api, limits, reason):
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        api("createDiskOffering", name="odd", disksize=1, **limits)


def test_limits_of_a_disk_offering_change_one_by_one(api):
    made = api("createDiskOffering", name="fast", disksize=1, **LIMITS)["diskoffering"]["id"]
    changed = api("updateDiskOffering", id=made, iopswriterate=60, cachemode="writethrough")["diskoffering"]
    assert (changed["diskIopsWriteRate"], changed["diskBytesReadRate"]) == (60, 1000)
    assert changed["cacheMode"] == "writethrough"
    with pytest.raises(Refused, match=r"431 .*bytesreadratemax of 2000 is less than bytesreadrate, 3000"):
        api("updateDiskOffering", id=made, bytesreadrate=3000)


def test_details_are_kept_and_shown(api, tenant):
    params = {"details[0].key": "rack", "details[0].value": "7"}
    made = api("createDiskOffering", name="d", disksize=1, params=params)["diskoffering"]
    assert api("listDiskOfferings", tenant, id=made["id"])["diskoffering"][0]["details"] == {"rack": "7"}
    params = {"serviceofferingdetails[0].key": "rack", "serviceofferingdetails[0].value": "7"}
    made = api("createServiceOffering", name="s", params=params, mincpunumber=2, maxmemory=64)["serviceoffering"]
    assert made["serviceofferingdetails"] == {"rack": "7", "mincpunumber": 2, "maxmemory": 64}
    assert "serviceofferingdetails" not in api("createServiceOffering", name="t", **SIZE)["serviceoffering"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({**SIZE, "mincpunumber": 1}, "mincpunumber is for customized offerings"),
        ({"mincpunumber": 3, "maxcpunumber": 2}, "mincpunumber of 3 is greater than maxcpunumber, 2"),
        ({"minmemory": 64, "maxmemory": 63}, "minmemory of 64 is greater than maxmemory, 63"),
        ({**SIZE, "networkrate": 0}, "0 is not within 1"),
    ],
)
def test_bounds_that_cannot_be_are_refused(api, given, reason):
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        api("createServiceOffering", name="odd", **given)


def test_leases_of_offerings_need_leases(api):
    lease = {"leaseduration": 3, "leaseexpiryaction": "stop"}
    with pytest.raises(Refused, match=r"431 Leases are off in this cloud: the setting instance\.lease\.enabled"):
        api("createServiceOffering", name="lent", **SIZE, **lease)
    api("updateConfiguration", name="instance.lease.enabled", value="true")
    with pytest.raises(Refused, match="431 A lease has both"):
        api("createServiceOffering", name="lent", **SIZE, leaseduration=3)
    made = api("createServiceOffering", name="lent", **SIZE, **lease, networkrate=7)["serviceoffering"]
    assert (made["leaseduration"], made["leaseexpiryaction"], made["networkrate"]) == (3, "STOP", 7)
