"""Annotations: on what one manages, seen by who sees the thing."""

import pytest

from manager.api.commands.annotation import ENTITIES
from manager.models import Network, Vm, Zone
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import costs


def notes(api, caller=None, **more):
    return api("listAnnotations", caller, **more).get("annotation", [])


def add(api, caller, kind, thing, text="a note", **more):
    given = {"entitytype": kind, "entityid": thing.id, "annotation": text, **more}
    return api("addAnnotation", caller, **given)["annotation"]


def test_from_writing_to_removal(api, tenant, factory, engine):
    vm = factory(Vm, account_id=tenant.account.id, name="web")
    note = add(api, tenant, "VM", vm)
    assert (note["entityname"], note["username"], note["adminsonly"]) == ("web", "tenant", False)
    assert notes(api, tenant) == notes(api, entitytype="VM", entityid=vm.id) == [note]
    assert notes(api, tenant, id=note["id"], keyword="not", annotationfilter="self") == [note]
    assert notes(api, annotationfilter="self") == notes(api, tenant, entitytype="NETWORK") == []
    assert notes(api, userid=tenant.user.id) == [note]
    factory.user("other")
    other = Caller.of(engine, "other")
    assert notes(api, other) == notes(api, other, entitytype="VM", entityid=vm.id) == []
    for attempt in (
        lambda: add(api, other, "VM", vm),
        lambda: api("removeAnnotation", other, id=note["id"]),
        lambda: api("removeAnnotation", other, id="x"),
        lambda: add(api, tenant, "ZONE", factory(Zone)),
    ):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            attempt()
    assert "removed" in api("removeAnnotation", tenant, id=note["id"])["annotation"]
    assert notes(api) == []


def test_what_administrators_alone_see(api, tenant, factory):
    network = factory(Network, account_id=tenant.account.id)
    note = add(api, None, "NETWORK", network, adminsonly=True)
    assert notes(api, tenant) == []
    assert notes(api) == [note]
    api("updateAnnotationVisibility", id=note["id"], adminsonly=False)
    assert [one["id"] for one in notes(api, tenant)] == [note["id"]]
    with pytest.raises(Refused, match=r"431 .*entity does not exist"):
        api("removeAnnotation", tenant, id=note["id"])
    with pytest.raises(Refused, match="531"):
        add(api, tenant, "NETWORK", network, adminsonly=True)
    with pytest.raises(Refused, match=r"431 The parameter annotation is missing"):
        api("addAnnotation", tenant, entitytype="NETWORK", entityid=network.id)
    with pytest.raises(Refused, match=r"431 The parameter entityid needs"):
        api("listAnnotations", tenant, entityid=network.id)


@pytest.mark.parametrize("kind", ENTITIES)
def test_every_kind_of_thing_can_have_them(api, factory, kind):
    thing = factory.root if kind == "DOMAIN" else factory(ENTITIES[kind])
    note = add(api, None, kind, thing)
    assert notes(api, entitytype=kind, entityid=thing.id) == [note]


def test_lists_tell_whether_there_are_any_that_the_caller_could_read(api, tenant, factory, engine):
    vm, bare = factory(Vm, account_id=tenant.account.id), factory(Vm, account_id=tenant.account.id)
    zone = factory(Zone)

    def annotated(caller=None, command="listVirtualMachines", key="virtualmachine"):
        shown = api(command, caller, listall=True)[key] if command != "listZones" else api(command, caller)[key]
        return {one["id"] for one in shown if one["hasannotations"]}

    assert annotated() == annotated(tenant) == set()
    note = add(api, None, "VM", vm, adminsonly=True)
    assert (annotated(), annotated(tenant)) == ({vm.id}, set())
    mine = add(api, tenant, "VM", bare)
    assert (annotated(), annotated(tenant)) == ({vm.id, bare.id}, {bare.id})
    for one in (note, mine):
        api("removeAnnotation", id=one["id"])
    assert annotated() == annotated(tenant) == set()
    add(api, None, "ZONE", zone)
    assert annotated(tenant, "listZones", "zone") == {zone.id}
    found = costs(engine, lambda: factory(Vm, account_id=tenant.account.id), lambda: api("listVirtualMachines", tenant))
    assert len(set(found.values())) == 1
