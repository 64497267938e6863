"""Usage records as the API shows them, to whom, and the commands around them."""

import pytest
from sqlalchemy import update

from manager import db
from manager.models import LeaseRow, PublicAddress, Tag, Template, UsageSpan, Vm, Volume
from tests.client import Caller, Refused

PERIOD = {"startdate": "2020-01-01", "enddate": "2999-01-01"}


def records(api, caller=None, **more):
    return api("listUsageRecords", caller, **PERIOD, **more).get("usagerecord", [])


def age(engine, hours):
    with db.transaction(engine) as session:
        session.execute(update(UsageSpan).values(started=UsageSpan.started - hours * 3600))


def test_what_an_account_used(api, tenant, factory, engine):
    vm = factory(Vm, account_id=tenant.account.id, name="web", state="Running", cpus=2, memory=512 * 2**20)
    factory(Volume, account_id=tenant.account.id, size=2**30, vm_id=vm.id)
    factory(PublicAddress, account_id=tenant.account.id, source_nat=True)
    factory(Template, account_id=tenant.account.id, state="Ready", size=5, physical_size=4)
    factory(Tag, resource_id=vm.id, resource_type="UserVm", key="k", value="v", account_id=tenant.account.id)
    age(engine, 2)
    assert api("generateUsageRecords") == {"success": True}
    found = {record["usagetype"]: record for record in records(api, tenant, includetags=True)}
    assert set(found) == {1, 2, 3, 6, 7}
    running = found[1]
    assert float(running["rawusage"]) == pytest.approx(2, abs=0.01)
    assert running["usage"] == f"{running['rawusage']} Hrs"
    assert (running["virtualmachineid"], running["usageid"], running["name"]) == (vm.id, vm.id, "web")
    assert (running["cpunumber"], running["cpuspeed"], running["memory"]) == (2, 500, 512)
    assert (running["account"], running["offeringid"]) == ("tenant", vm.service_offering_id)
    assert running["tags"][0]["key"] == "k"
    assert "osdisplayname" in running
    assert found[3]["issourcenat"] is True
    assert found[6]["size"] == 2**30
    assert (found[7]["size"], found[7]["virtualsize"]) == (4, 5)
    assert "tags" not in records(api, tenant, type=1)[0]
    assert records(api, tenant, usageid=vm.id, keyword="we", type=2) == [
        {k: v for k, v in found[2].items() if k != "tags"}
    ]


def test_each_sees_what_it_may(api, tenant, factory, engine):
    inner = factory.domain("inner")
    below = factory.account("below", factory.domain("deep", inner))
    boss = Caller.of(engine, factory.user("boss", factory.account("boss", inner, type=2)).username)
    factory(Vm, account_id=tenant.account.id)
    factory(Vm, account_id=below.id)
    age(engine, 1)
    api("generateUsageRecords")
    assert {record["account"] for record in records(api)} >= {"tenant", "below"}
    assert {record["account"] for record in records(api, tenant)} == {"tenant"}
    assert {record["account"] for record in records(api, boss)} == {"below"}
    assert records(api, domainid=inner.id) == []
    assert {record["account"] for record in records(api, domainid=inner.id, isrecursive=True)} == {"below"}
    assert {record["account"] for record in records(api, account="tenant", domainid=factory.root.id)} == {"tenant"}
    assert {record["account"] for record in records(api, accountid=below.id)} == {"below"}
    with pytest.raises(Refused, match=r"431 .*entity does not exist"):
        records(api, tenant, accountid=below.id)
    with pytest.raises(Refused, match="531"):
        records(api, tenant, account="below", domainid=factory.root.id)


def test_records_are_made_once_and_removed_when_asked(api, tenant, factory, engine):
    factory(Vm, account_id=tenant.account.id)
    age(engine, 1)
    for _ in range(2):
        api("generateUsageRecords")
    assert len(records(api, tenant)) == 1
    with pytest.raises(Refused, match="432"):
        api("generateUsageRecords", tenant)
    assert api("removeRawUsageRecords", interval=1)["displaytext"] == "0 records were removed."
    assert api("listUsageRecords", tenant, startdate="2020-01-01", enddate="2020-01-02") == {}
    for bad, text in (({"startdate": "2999-01-02"}, "after the enddate"), ({"type": 99}, "no usage type 99")):
        with pytest.raises(Refused, match=f"431 .*{text}"):
            api("listUsageRecords", tenant, **{**PERIOD, **bad})


def test_types_and_the_server(api, tenant, factory, engine):
    types = {kind["id"]: kind["name"] for kind in api("listUsageTypes", tenant)["usagetype"]}
    assert types[1] == "RUNNING_VM"
    assert api("listUsageServerMetrics")["usageMetrics"]["state"] == "Down"
    factory(LeaseRow, name="watch", holder="m1:77", until=2**32)
    factory(Vm, account_id=tenant.account.id)
    age(engine, 1)
    api("generateUsageRecords")
    metrics = api("listUsageServerMetrics")["usageMetrics"]
    assert (metrics["state"], metrics["hostname"]) == ("Up", "m1")
    assert {"collectiontime", "lastheartbeat", "lastsuccessfuljob"} <= set(metrics)


def test_listing_costs_the_same_statements_for_many(api, factory, engine):
    from tests.unit.api.live_cloud import costs

    def make():
        factory(Vm, state="Running")
        age(engine, 1)
        api("generateUsageRecords")

    made = costs(engine, make, lambda: api("listUsageRecords", **PERIOD, includetags=True))
    assert len(set(made.values())) == 1
