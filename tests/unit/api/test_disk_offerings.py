"""Disk offerings through the API."""

from __future__ import annotations

import pytest

from manager.models import DiskOffering
from tests.client import Refused
from tests.unit.api.live_cloud import costs


def test_life_of_an_offering(api, tenant, factory):
    made = api("createDiskOffering", name="ten", displaytext="10 GiB", disksize=10, tags="a, b", storagetype="local")
    made = made["diskoffering"]
    assert (made["disksize"], made["iscustomized"], made["tags"], made["state"]) == (10, False, "a,b", "Active")
    assert factory.first(DiskOffering, id=made["id"]).size == 10 * 2**30
    assert api("listDiskOfferings", tenant)["diskoffering"] == [made]
    changed = api("updateDiskOffering", id=made["id"], name="Ten", displaytext="more", tags="", state="Inactive")
    assert (changed["diskoffering"]["displaytext"], changed["diskoffering"]["state"]) == ("more", "Inactive")
    assert "tags" not in changed["diskoffering"]
    assert api("listDiskOfferings") == {}
    assert api("listDiskOfferings", state="all", keyword="en")["count"] == 1
    assert api("listDiskOfferings", state="all", name="Ten", storagetype="local")["count"] == 1
    assert api("listDiskOfferings", state="all", storagetype="shared") == {}
    assert api("updateDiskOffering", id=made["id"], sortkey=4)["diskoffering"]["name"] == "Ten"
    assert factory.first(DiskOffering, id=made["id"]).sort_key == 4
    api("deleteDiskOffering", id=made["id"])
    assert api("listDiskOfferings", id=made["id"]) == {}
    api("createDiskOffering", name="ten")


def test_a_customized_offering_leaves_the_size_open(api):
    made = api("createDiskOffering", name="own", customized=True)["diskoffering"]
    assert (made["iscustomized"], made["disksize"], made["storagetype"]) == (True, 0, "shared")


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ({"customized": True, "disksize": 1}, "has no disksize"),
        ({"customized": False}, "needs disksize"),
        ({"disksize": 0}, "0 is not within 1"),
        ({"disksize": "1.5"}, "1.5 is not a whole number"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(api, size, reason):
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        api("createDiskOffering", name="odd", **size)


def test_names_are_unique(api):
    api("createDiskOffering", name="Same")
    with pytest.raises(Refused, match="431 A disk offering named same exists already"):
        api("createDiskOffering", name="same")


def test_users_do_not_see_hidden_offerings(api, tenant, factory):
    hidden = factory(DiskOffering, display=False)
    assert api("listDiskOfferings", tenant) == {}
    assert api("listDiskOfferings", id=hidden.id)["count"] == 1
    with pytest.raises(Refused, match="not available for the account"):
        api("updateDiskOffering", tenant, id=hidden.id, displayoffering=True)
    assert api("updateDiskOffering", id=hidden.id, displayoffering=True)["diskoffering"]["displayoffering"]
    assert api("listDiskOfferings", tenant)["count"] == 1


def test_lists_cost_the_same_at_any_length(api, factory, engine):
    found = costs(engine, lambda: factory(DiskOffering), lambda: api("listDiskOfferings"))
    assert found == {1: found[1], 50: found[1]}
