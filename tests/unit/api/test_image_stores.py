"""Image stores."""

import pytest

from manager.models import Agent, ImageStore, Template
from tests.client import Refused
from tests.unit.api import site
from tests.unit.api.site import statements_of


@pytest.fixture
def zone_id(api):
    return site.zone(api)


def add(api, zone_id, **more):
    key = {"details[0].key": "publickey", "details[0].value": more.pop("key", site.key())}
    given = {"name": "secondary", "provider": "Directory", "url": "file:///var/lib/images", **more}
    return api("addImageStore", zoneid=zone_id, **given, params=key)["imagestore"]


def test_an_image_store_joins_with_its_agent(api, zone_id, factory):
    key = site.key()
    made = add(api, zone_id, key=key)
    assert (made["name"], made["zonename"], made["scope"]) == ("secondary", "z1", "ZONE")
    assert (made["protocol"], made["providername"], made["readonly"]) == ("file", "Directory", False)
    row = factory.first(ImageStore, id=made["id"])
    agent = factory.first(Agent, id=row.agent_id)
    assert (row.driver, row.path) == ("directory", "/var/lib/images")
    assert (agent.kind, agent.public_key, agent.broker_user) == ("image_store", key, f"store-{agent.id[:8]}")
    assert api("listImageStores", zoneid=zone_id, provider="directory") == {"count": 1, "imagestore": [made]}
    assert api("listImageStores", protocol="simulator") == {}


def test_the_url_tells_the_driver(api, zone_id):
    made = add(api, zone_id, url="simulator:///secondary")
    assert (made["protocol"], made["providername"]) == ("simulator", "Simulator")
    assert api("listImageStores", protocol="simulator")["count"] == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "431 An image store named secondary exists already"),
        ({"name": "b", "url": "nfs://server/x"}, "431 The url nfs://server/x cannot be used"),
        ({"name": "b", "url": None}, "431 The url  cannot be used"),
        ({"name": "b", "provider": "Swift"}, "431 .*Swift is none of Directory, Simulator"),
        ({"name": "b", "zoneid": None}, "431 The parameter zoneid is missing"),
        ({"name": "b", "key": "short"}, "431 The public key short is not an Ed25519 key"),
    ],
)
def test_bad_image_stores_are_refused_with_the_reason(api, zone_id, given, reason):
    add(api, zone_id)
    given = dict(given)
    place = given.pop("zoneid", zone_id)
    with pytest.raises(Refused, match=reason):
        add(api, place, **given)
    assert api("listImageStores")["count"] == 1


def test_an_image_store_changes(api, zone_id):
    store_id = add(api, zone_id)["id"]
    changed = api("updateImageStore", id=store_id, name="other", readonly="true", capacitybytes=100)["imagestore"]
    assert (changed["name"], changed["readonly"], changed["disksizetotal"]) == ("other", True, 100)
    assert api("listImageStores", readonly="false") == {}


def test_an_image_store_goes_when_it_is_empty(api, zone_id, factory):
    made = add(api, zone_id)
    template = factory(Template, image_store_id=made["id"], physical_size=5)
    assert api("listImageStores")["imagestore"][0]["disksizeused"] == 5
    with pytest.raises(Refused, match="431 The image store secondary cannot be removed: it still has 1 templates"):
        api("deleteImageStore", id=made["id"])
    factory.change(template, removed=template.created)
    assert api("deleteImageStore", id=made["id"]) == {"success": True}
    assert api("listImageStores") == {}
    assert factory.first(Agent).removed is not None
    add(api, zone_id)


def test_lists_of_image_stores_take_the_same_statements_for_one_and_for_fifty(api, engine, factory):
    factory(ImageStore)
    one = statements_of(engine, api, "listImageStores", 1)
    for _ in range(49):
        factory(ImageStore)
    assert statements_of(engine, api, "listImageStores", 50) == one
