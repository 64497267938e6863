"""Tags, events, settings, the description of the API."""

import pytest

from manager import configuration, db
from manager.api import docs
from manager.models import Configuration, Network, SshKeyPair, Tag, Vm, Zone
from tests.client import Refused


def test_tags_from_creation_to_removal(api, tenant, factory):
    vms = [factory(Vm, account_id=tenant.account.id).id for _ in range(2)]
    tags = {"tags[0].key": "a", "tags[0].value": "1", "tags[3].key": "b", "tags[3].value": "x y"}
    job = api("createTags", tenant, resourcetype="uservm", resourceids=",".join(vms), params=tags)["jobid"]
    answer = api("queryAsyncJobResult", tenant, jobid=job)
    assert (answer["jobstatus"], answer["jobresult"]) == (1, {"success": True})
    found = api("listTags", tenant)
    assert found["count"] == 4
    assert {(tag["resourceid"], tag["key"], tag["value"]) for tag in found["tag"]} == {
        (vm, key, value) for vm in vms for key, value in (("a", "1"), ("b", "x y"))
    }
    assert {(tag["resourcetype"], tag["account"], tag["domainpath"]) for tag in found["tag"]} == {
        ("UserVm", "tenant", "ROOT")
    }
    assert api("listTags", tenant, key="a")["count"] == api("listTags", tenant, value="1")["count"] == 2
    assert api("listTags", tenant, resourceid=vms[0], resourcetype="UserVm", keyword="b")["count"] == 1
    with pytest.raises(Refused, match=r"431 One of the things has a tag of the key a"):
        api("createTags", tenant, resourcetype="UserVm", resourceids=vms[0], params={"tags[0].key": "a"})
    api(
        "deleteTags",
        tenant,
        resourcetype="UserVm",
        resourceids=vms[0],
        params={"tags[0].key": "a", "tags[0].value": "2"},
    )
    assert api("listTags", tenant)["count"] == 4
    api("deleteTags", tenant, resourcetype="UserVm", resourceids=vms[0], params={"tags[0].key": "a"})
    assert api("listTags", tenant)["count"] == 3
    api("deleteTags", tenant, resourcetype="UserVm", resourceids=",".join(vms))
    assert api("listTags", tenant) == {}


def test_tags_go_only_on_what_one_manages(api, tenant, factory):
    tag = {"tags[0].key": "k", "tags[0].value": "v"}
    for kind, thing in (("UserVm", factory(Vm)), ("Network", factory(Network)), ("Zone", factory(Zone))):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            api("createTags", tenant, resourcetype=kind, resourceids=thing.id, params=tag)
    with pytest.raises(Refused, match=r"431 There are no tags on Unicorn"):
        api("createTags", tenant, resourcetype="Unicorn", resourceids=factory(Zone).id, params=tag)
    with pytest.raises(Refused, match=r"431 .*missing parameter tags"):
        api("createTags", tenant, resourcetype="Zone", resourceids=factory(Zone).id)
    with pytest.raises(Refused, match=r"431 .*is not a uuid"):
        api("createTags", tenant, resourcetype="Zone", resourceids="1,2", params=tag)
    with pytest.raises(Refused, match=r"431 The parameter resourceids names nothing"):
        api("createTags", tenant, resourcetype="Zone", resourceids=",", params=tag)
    api("createTags", resourcetype="Zone", resourceids=factory.first(Zone).id, params=tag)
    assert factory.first(Tag).resource_type == "Zone"


def test_events_of_changes_and_refusals(api, tenant):
    with pytest.raises(Refused):
        api("registerSSHKeyPair", tenant, name="k", publickey="junk")
    pair = api("createSSHKeyPair", tenant, name="k")["keypair"]
    api("listSSHKeyPairs", tenant)
    made, refused = api("listEvents", tenant)["event"]
    assert (made["type"], made["level"], made["state"]) == ("REGISTER.SSH.KEYPAIR", "INFO", "Completed")
    assert (made["resourceid"], made["resourcetype"], made["username"]) == (pair["id"], "SSHKeyPair", "tenant")
    assert refused["level"] == "ERROR"
    assert "The public key is not one" in refused["description"]
    assert api("listEvents", tenant, id=made["id"])["count"] == 1
    assert api("listEvents", tenant, level="error")["event"] == [refused]
    assert api("listEvents", tenant, type="VM.START") == {}
    assert api("listEvents", tenant, keyword="SSH.KEYPAIR", state="Completed")["count"] == 2
    assert api("listEvents", tenant, resourceid=pair["id"], resourcetype="SSHKeyPair")["count"] == 1
    assert api("listEvents", tenant, startid=made["id"])["count"] == 1
    assert api("listEvents", tenant, startdate="2020-01-01", enddate="2020-01-02") == {}
    assert api("listEvents", tenant, startdate="2020-01-01", enddate="2199-01-01")["count"] == 2
    with pytest.raises(Refused, match=r"431 .*is not a date"):
        api("listEvents", tenant, startdate="yesterday")
    with pytest.raises(Refused, match=r"431 .*none of INFO, WARN, ERROR"):
        api("listEvents", tenant, level="loud")
    assert {"name": "REGISTER.SSH.KEYPAIR"} in api("listEventTypes")["eventtype"]


def test_an_event_belongs_to_the_owner_of_the_thing(api, tenant, factory):
    api("createSSHKeyPair", name="k", account="tenant", domainid=factory.root.id)
    (event,) = api("listEvents", tenant)["event"]
    assert (event["account"], event["username"]) == ("tenant", "admin")


def test_settings(api, engine):
    (shown,) = api("listConfigurations", name="expunge.delay")["configuration"]
    assert (shown["value"], shown["defaultvalue"], shown["type"]) == ("86400", "86400", "Number")
    assert api("updateConfiguration", name="expunge.delay", value="60")["configuration"]["value"] == "60"
    with db.transaction(engine) as session:
        assert configuration.value(session, "expunge.delay") == 60
    assert api("listConfigurations", name="expunge.delay")["configuration"][0]["value"] == "60"
    assert api("updateConfiguration", name="expunge.delay")["configuration"]["value"] == "86400"
    assert api("listConfigurations", category="storage", keyword="over")["count"] == 1


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("nothing", "1", "There is no setting nothing"),
        ("expunge.delay", "soon", "is a whole number, not soon"),
        ("expunge.delay", "-1", "lies within 0 and"),
        ("max.account.user.vms", "-2", "lies within -1 and"),
        ("cpu.overprovisioning.factor", "0.5", "lies within 1 and 100"),
        ("cpu.overprovisioning.factor", "nan", "is a number, not nan"),
        ("enforce.post.requests.and.timestamps", "yes", "is true or false"),
        ("guest.domain.suffix", "a b", "must look like cs.cloud.internal"),
    ],
)
def test_bad_settings_are_refused(api, factory, engine, name, value, text):
    with pytest.raises(Refused, match=f"431 .*{text}"):
        api("updateConfiguration", name=name, value=value)
    with db.transaction(engine) as session:
        assert session.get(Configuration, name) is None


def test_typed_values_of_all_settings(engine):
    with db.transaction(engine) as session:
        for name, setting in configuration.SETTINGS.items():
            assert configuration.value(session, name) == setting.read(setting.write(setting.default))


def test_the_description_is_sorted():
    names = [entry["name"] for entry in docs.commands()]
    assert names == sorted(names)
    assert {"listApis", "createAccount", "queryAsyncJobResult"} <= set(names)


def test_a_list_costs_the_same_statements_for_one_row_and_for_many(api, engine, factory):
    from sqlalchemy import event

    statements = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    def cost(command):
        api(command, listall=True)
        statements.clear()
        api(command, listall=True)
        return len([s for s in statements if not s.startswith(("BEGIN", "COMMIT"))])

    lists = ("listSSHKeyPairs", "listAccounts", "listUsers", "listEvents", "listTags", "listDomains", "listAsyncJobs")
    factory.user("one")
    few = {name: cost(name) for name in lists}
    for number in range(20):
        user = factory.user(f"many{number}", factory.account(f"many{number}", factory.domain(f"many{number}")))
        pair = factory(SshKeyPair, account_id=user.account_id)
        api("createTags", resourcetype="SSHKeyPair", resourceids=pair.id, params={"tags[0].key": "k"})
    many = {name: cost(name) for name in lists}
    assert all(many[name] <= few[name] + 4 for name in lists), (few, many)
    assert max(many.values()) <= 14, many
    statements.clear()
    api("listCapabilities")
    assert len([s for s in statements if not s.startswith("BEGIN")]) == 1, statements
