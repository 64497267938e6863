"""Guest operating systems through the API."""

from __future__ import annotations

from manager.models import OsCategory, OsType
from tests.unit.api.live_cloud import costs


def test_operating_systems_and_their_categories(api, tenant, factory):
    debian, other = factory(OsCategory, name="Debian"), factory(OsCategory, name="Other")
    twelve = factory(OsType, name="Debian 12", category_id=debian.id)
    factory(OsType, name="Any Linux", category_id=other.id)
    assert [one["description"] for one in api("listOsTypes", tenant)["ostype"]] == ["Any Linux", "Debian 12"]
    assert api("listOsTypes", tenant, id=twelve.id)["ostype"] == [
        {
            "id": twelve.id, "description": "Debian 12", "oscategoryid": debian.id, "oscategoryname": "Debian",
            "isuserdefined": False, "fordisplay": True,
        }
    ]  # fmt: skip
    assert api("listOsTypes", oscategoryid=other.id)["ostype"][0]["description"] == "Any Linux"
    assert api("listOsTypes", description="Debian 12")["count"] == api("listOsTypes", keyword="ebian")["count"] == 1
    assert [one["name"] for one in api("listOsCategories", tenant)["oscategory"]] == ["Debian", "Other"]
    assert api("listOsCategories", name="Other")["oscategory"][0]["id"] == other.id
    assert api("listOsCategories", id=debian.id)["count"] == api("listOsCategories", keyword="eb")["count"] == 1


def test_lists_cost_the_same_at_any_length(api, factory, engine):
    found = costs(engine, lambda: factory(OsType), lambda: api("listOsTypes"))
    assert found == {1: found[1], 50: found[1]}
