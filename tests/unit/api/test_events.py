"""Events: what each change leaves, also one that is refused, and what may be done with events."""

import datetime as dt
import json

import pytest

from manager import db
from manager.models import EventRow, SshKeyPair, Vm, Zone, utcnow
from manager.workflows.housekeeping import forget_notices
from tests.client import Caller, Refused, signed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6c9dZ4H7Yj1mX3yWQ0jQ2m1Qd3l0C8qv9Zp0yB7m1E me"


def events(api, caller=None, **more):
    return api("listEvents", caller, **more).get("event", [])


def rows(engine, **wanted):
    with db.transaction(engine) as session:
        return session.query(EventRow).filter_by(**wanted).order_by(EventRow.number).all()


def test_a_change_tells_who_did_what_from_where_and_what_it_changed(api, tenant, factory, engine):
    vm = factory(Vm, account_id=tenant.account.id, display_name="old")
    api.client.environ_base["HTTP_USER_AGENT"] = "shell/1"
    api("updateVirtualMachine", tenant, id=vm.id, displayname="new")
    (event,) = events(api, type="VM.UPDATE", listall=True)
    assert (event["resourceid"], event["resourcename"], event["username"]) == (vm.id, vm.name, "tenant")
    assert (event["sourceaddress"], event["useragent"], event["state"]) == ("127.0.0.1", "shell/1", "Completed")
    assert event["parameters"] == {"id": vm.id, "displayname": "new"}
    assert event["changes"] == {"display_name": ["old", "new"]}
    (own,) = events(api, tenant, type="VM.UPDATE")
    assert "changes" not in own
    assert own["useragent"] == "shell/1"


def test_what_an_administrator_did_to_a_tenants_thing_does_not_tell_from_where(api, tenant, factory):
    vm = factory(Vm, account_id=tenant.account.id)
    api("updateVirtualMachine", id=vm.id, displayname="by root")
    (event,) = events(api, tenant, type="VM.UPDATE")
    assert not {"sourceaddress", "useragent", "parameters", "changes"} & set(event)


def test_secrets_come_into_no_event(api, admin, factory, engine):
    secret = "Canary-77-pass"
    given = {"username": "u1", "password": secret, "firstname": "a", "lastname": "b", "email": "e@example.org"}
    api("createUser", account="admin", domainid=factory.root.id, **given)
    vm = factory(Vm)
    details = {"details[0].key": "adminPassword", "details[0].value": secret}
    api("updateVirtualMachine", id=vm.id, userdata="Q2FuYXJ5", params=details)
    with pytest.raises(Refused):
        api("createUser", account="admin", domainid=factory.root.id, **given)
    found = rows(engine)
    assert len(found) >= 3
    stored = json.dumps([[row.description, row.parameters, row.changes] for row in found])
    assert secret not in stored
    (update,) = [row for row in found if row.type == "VM.UPDATE"]
    assert update.parameters["userdata"] == "(hidden)"
    assert update.parameters["details[0].value"] == "(hidden)"


def test_refused_and_forbidden_changes_leave_events_but_reading_none(api, tenant, factory, engine):
    with pytest.raises(Refused, match="431"):
        api("deleteSSHKeyPair", tenant, name="none")
    with pytest.raises(Refused, match="432"):
        api("createZone", tenant, name="z")
    with pytest.raises(Refused, match="431"):
        api("listVirtualMachines", tenant, id="none")
    found = rows(engine, account_id=tenant.account.id)
    assert [(row.type, row.level) for row in found] == [("SSH.KEYPAIR.DELETE", "ERROR"), ("ZONE.CREATE", "ERROR")]
    assert found[0].parameters == {"name": "none"}
    assert "has no SSH key pair none" in found[0].description


def test_a_forged_signature_leaves_nothing(api, tenant, engine):
    parameters = signed(tenant, {"command": "deleteSSHKeyPair", "name": "none", "response": "json"})
    with pytest.raises(Refused, match="401"):
        api.send({**parameters, "name": "other"})
    assert rows(engine, account_id=tenant.account.id) == []


def test_events_are_archived_and_deleted_by_who_owns_them(api, tenant, factory, engine):
    api("registerSSHKeyPair", tenant, name="k", publickey=KEY)
    api("deleteSSHKeyPair", tenant, name="k")
    factory.user("other")
    other = Caller.of(engine, "other")
    first, second = (row.id for row in rows(engine, account_id=tenant.account.id))
    for command in ("archiveEvents", "deleteEvents"):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            api(command, other, ids=first)
        with pytest.raises(Refused, match=r"431 One of the parameters"):
            api(command, tenant)
        with pytest.raises(Refused, match=r"431 The startdate"):
            api(command, tenant, startdate="2026-02-02", enddate="2026-01-01")
    api("archiveEvents", other, startdate="2020-01-01")
    assert api("archiveEvents", tenant, ids=first) == {"success": True}
    assert first not in {event["id"] for event in events(api, tenant)}
    (event,) = events(api, tenant, archived=True)
    assert (event["id"], event["archived"]) == (first, True)
    api("deleteEvents", tenant, type="SSH.KEYPAIR.DELETE", enddate="2999-01-01")
    assert second not in {event["id"] for event in events(api, tenant)}
    assert events(api, tenant, type="EVENT.DELETE", level="INFO")[0]["parameters"]["type"] == "SSH.KEYPAIR.DELETE"


def test_filters(api, tenant, factory):
    api("registerSSHKeyPair", tenant, name="k", publickey=KEY)
    pair = factory.first(SshKeyPair)
    (event,) = events(api, tenant, resourceid=pair.id, resourcetype="SSHKeyPair", state="Completed", level="INFO")
    assert events(api, tenant, id=event["id"]) == events(api, tenant, startid=event["id"]) == [event]
    assert events(api, tenant, keyword="KEYPAIR") == [event]
    assert events(api, tenant, startdate="2020-01-01", enddate="2999-01-01") == [event]
    for none in ({"level": "ERROR"}, {"state": "Started"}, {"enddate": "2020-01-01"}, {"startdate": "2999-01-01"}):
        assert events(api, tenant, **none) == []
    assert {"name": "VM.START"} in api("listEventTypes", tenant)["eventtype"]


def test_events_are_listed_by_their_age(api, tenant, factory, engine):
    vm = factory(Vm, account_id=tenant.account.id)
    for name in ("one", "two"):
        api("updateVirtualMachine", tenant, id=vm.id, displayname=name)
    late, early = rows(engine)
    with db.transaction(engine) as session:
        session.get_one(EventRow, early.number).created = utcnow() - dt.timedelta(minutes=10)
        session.get_one(EventRow, late.number).created = utcnow() - dt.timedelta(minutes=1)
    for entry, duration, found in ((300, 0, 1), (900, 300, 1), (900, 0, 2), (900, 700, 0)):
        assert len(events(api, tenant, entrytime=entry, duration=duration)) == found, (entry, duration)
    with pytest.raises(Refused, match=r"431 entrytime and duration go together"):
        events(api, tenant, duration=5)
    with pytest.raises(Refused, match=r"431 entrytime \(5 s\) must be greater than duration \(5 s\)"):
        events(api, tenant, entrytime=5, duration=5)


def test_events_are_kept_for_their_days_and_until_webhooks_know_them(api, engine, factory):
    old = factory(EventRow, type="T.OLD", description="", created=utcnow().replace(year=2020), announced=True)
    waiting = factory(EventRow, type="T.NEW", description="", created=utcnow().replace(year=2020))
    young = factory(EventRow, type="T.YOUNG", description="", announced=True)
    api("updateConfiguration", name="event.purge.delay", value=0)
    forget_notices()
    assert len(rows(engine, type="T.OLD")) == 1
    api("updateConfiguration", name="event.purge.delay", value=15)
    forget_notices()
    assert {row.id for row in rows(engine)} & {old.id, waiting.id, young.id} == {waiting.id, young.id}


def test_listing_costs_the_same_statements_for_many(api, factory, engine):
    from tests.unit.api.live_cloud import costs

    made = costs(engine, lambda: factory(EventRow, type="T", description=""), lambda: api("listEvents", listall=True))
    assert len(set(made.values())) == 1


def test_zone_changes_show_before_and_after(api, factory, engine):
    zone = factory(Zone, name="before")
    api("updateZone", id=zone.id, name="after")
    (row,) = rows(engine, type="ZONE.EDIT")
    assert row.changes["name"] == ["before", "after"]
    assert row.resource_name == "after"
