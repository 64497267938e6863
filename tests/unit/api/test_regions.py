"""Regions: the own one, and others that clients are told of."""

import pytest

from manager import db
from manager.models import EventRow
from manager.seed import seed
from tests.client import Refused


@pytest.fixture(autouse=True)
def seeded(any_engine):
    with db.transaction(any_engine) as session:
        seed(session)


def test_another_region_comes_and_goes(any_api, any_factory):
    made = any_api("addRegion", id=2, name="east", endpoint="https://east.example.org/client/api")["region"]
    assert (made["id"], made["name"]) == (2, "east")
    assert any_api("updateRegion", id=2, name="west")["region"]["name"] == "west"
    assert any_api("listRegions", id=2)["region"][0]["endpoint"] == "https://east.example.org/client/api"
    assert any_api("removeRegion", id=2) == {"success": True}
    assert any_api("listRegions")["count"] == 1
    assert any_factory.first(EventRow, type="REGION.DELETE").description == "removeRegion: Region 2"


def test_refusals(any_api):
    with pytest.raises(Refused, match=r"431 There is a region 1, or one named x, already"):
        any_api("addRegion", id=1, name="x", endpoint="https://x.example.org")
    with pytest.raises(Refused, match=r"431 The endpoint file:///x is not an http or https URL"):
        any_api("addRegion", id=3, name="x", endpoint="file:///x")
    with pytest.raises(Refused, match=r"431 The region Local is this cloud"):
        any_api("removeRegion", id=1)
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        any_api("updateRegion", id=9, name="y")
