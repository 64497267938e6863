"""Service offerings through the API."""

from __future__ import annotations

import pytest

from manager.models import EventRow, ServiceOffering, Vm
from tests.client import Refused
from tests.unit.api.live_cloud import costs


def test_life_of_an_offering(api, tenant, factory):
    made = api(
        "createServiceOffering", name="small", displaytext="1 CPU", cpunumber=1, cpuspeed=500, memory=128,
        storagetype="local", hosttags="ssd, fast,ssd", tags="gold", offerha=True, rootdisksize=3,
    )["serviceoffering"]  # fmt: skip
    assert (made["cpunumber"], made["cpuspeed"], made["memory"], made["rootdisksize"]) == (1, 500, 128, 3)
    assert (made["hosttags"], made["storagetags"], made["storagetype"]) == ("ssd,fast", "gold", "local")
    assert (made["iscustomized"], made["offerha"], made["limitcpuuse"], made["state"]) == (False, True, False, "Active")
    assert factory.first(ServiceOffering, id=made["id"]).memory == 128 * 2**20
    assert factory.first(EventRow, type="SERVICE.OFFERING.CREATE").resource_id == made["id"]
    assert api("listServiceOfferings", tenant, name="small")["serviceoffering"] == [made]
    changed = api("updateServiceOffering", id=made["id"], name="little", hosttags="", sortkey=-1, storagetags="tin")
    assert (changed["serviceoffering"]["name"], changed["serviceoffering"]["storagetags"]) == ("little", "tin")
    assert "hosttags" not in changed["serviceoffering"]
    changed = api("updateServiceOffering", id=made["id"], displaytext="few", state="inactive")["serviceoffering"]
    assert (changed["displaytext"], changed["state"], changed["name"]) == ("few", "Inactive", "little")
    assert api("deleteServiceOffering", id=made["id"]) == {"success": True}
    assert api("listServiceOfferings") == {}
    assert api("listServiceOfferings", id=made["id"]) == {}
    api("createServiceOffering", name="little", cpunumber=1, cpuspeed=500, memory=128)


def test_only_root_administrators_change_offerings(api, tenant, factory):
    offering = factory(ServiceOffering)
    for command, given in (
        ("createServiceOffering", {"name": "x"}),
        ("updateServiceOffering", {"id": offering.id}),
        ("deleteServiceOffering", {"id": offering.id}),
    ):
        with pytest.raises(Refused, match="not available for the account"):
            api(command, tenant, **given)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ({"cpunumber": 1, "memory": 64}, "needs cpuspeed too"),
        ({"cpunumber": 1}, "needs cpuspeed, memory too"),
        ({"cpunumber": 1, "customized": True}, "who deploys chooses them"),
        ({"customized": False}, "needs cpunumber, cpuspeed, memory too"),
        ({"cpunumber": 0, "cpuspeed": 1, "memory": 64}, "0 is not within 1"),
        ({"cpunumber": 1, "cpuspeed": 1, "memory": 4}, "4 is not within 32"),
        ({"storagetype": "tape"}, "tape is none of shared, local"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(api, size, reason):
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        api("createServiceOffering", name="odd", **size)


def test_customized_offerings(api):
    made = api("createServiceOffering", name="own")["serviceoffering"]
    assert made["iscustomized"]
    assert not {"cpunumber", "cpuspeed", "memory", "rootdisksize"} & set(made)
    assert made["storagetype"] == "shared"
    assert (
        api("createServiceOffering", name="own2", customized=True, cpuspeed=700)["serviceoffering"]["cpuspeed"] == 700
    )


def test_names_are_unique_in_any_case(api):
    api("createServiceOffering", name="Same")
    with pytest.raises(Refused, match="431 A service offering named same exists already"):
        api("createServiceOffering", name="same")
    other = api("createServiceOffering", name="other")["serviceoffering"]["id"]
    with pytest.raises(Refused, match="431 A service offering named SAME exists already"):
        api("updateServiceOffering", id=other, name="SAME")


def test_a_client_token_makes_one(api):
    first = api("createServiceOffering", name="once", clienttoken="t")
    assert api("createServiceOffering", name="once", clienttoken="t") == first


def test_filters(api, tenant, factory):
    big = factory(ServiceOffering, name="big", cpus=8, memory=2**30)
    factory(ServiceOffering, name="small", storage_type="shared")
    old = factory(ServiceOffering, name="old", state="Inactive")
    factory(ServiceOffering, name="free", cpus=0, memory=0, customized=True)

    def names(**given):
        return [one["name"] for one in api("listServiceOfferings", tenant, **given).get("serviceoffering", [])]

    assert names() == ["big", "free", "small"]
    assert names(state="all") == ["big", "free", "old", "small"]
    assert names(state="Inactive") == names(id=old.id) == ["old"]
    assert names(cpunumber=2) == names(memory=1024) == ["big", "free"]
    assert names(storagetype="shared") == ["small"]
    assert names(keyword="ma") == ["small"]
    with pytest.raises(Refused, match="431 Only root administrators"):
        names(issystem=True)
    vm = factory(Vm, account_id=tenant.account.id, service_offering_id=big.id)
    assert names(virtualmachineid=vm.id) == ["free"]


def test_lists_cost_the_same_at_any_length(api, tenant, factory, engine):
    found = costs(engine, lambda: factory(ServiceOffering), lambda: api("listServiceOfferings", tenant))
    assert found == {1: found[1], 50: found[1]}
