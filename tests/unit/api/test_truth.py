"""listDrift and listOrphans as calls; what they find is held by tests/unit/test_truth.py."""

import datetime as dt
from dataclasses import replace

import pytest
from sqlalchemy import update

from agents.contract import DomainFacts
from manager import db, reports
from manager.models import Host, Inventory, Network, Vm, WorkflowRow, Zone, new_id, utcnow
from tests.client import Refused
from tests.unit.api.live_cloud import live_cloud


@pytest.fixture
def cloud_and_user(factory, tmp_path):
    reports._cached_key.cache_clear()
    return live_cloud(factory, tmp_path)


@pytest.fixture
def vm(cloud, factory) -> Vm:
    vm_id = cloud.deploy("web")
    cloud.settle()
    with db.transaction(factory.engine) as s:
        s.execute(update(WorkflowRow).values(ended=utcnow() - dt.timedelta(hours=1)))
    survey(cloud)
    return cloud.get(Vm, vm_id)


def survey(cloud, *, of=None, sequence=1, **planted):
    for runner in cloud.runners.values():
        found = replace(runner.host.inventory(), incarnation="i1", sequence=sequence)
        if runner.host.id == of:
            found = replace(found, **planted)
        reports.take(runner.report("inventory", found))


def test_a_clean_cloud_gives_empty_lists(api, vm):
    assert api("listDrift") == {}
    assert api("listOrphans") == {}


def test_findings_are_shown(api, cloud, vm, factory):
    stray = DomainFacts(new_id(), "stray", "running")
    survey(cloud, of=vm.host_id, sequence=2, domains=(stray,))
    (drift,) = api("listDrift")["drift"]
    host = cloud.get(Host, vm.host_id)
    assert (drift["type"], drift["resourcetype"], drift["id"]) == ("vm.missing", "VirtualMachine", vm.id)
    assert (drift["hostid"], drift["hostname"], drift["zoneid"]) == (host.id, host.name, cloud.zone_id)
    assert (drift["expected"], drift["found"]) == ("running", "absent")
    assert drift["detail"] == f"The virtual machine web should run on {host.name}; it has no such domain."
    assert abs(dt.datetime.fromisoformat(drift["surveyed"]) - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    (orphan,) = api("listOrphans")["orphan"]
    assert (orphan["type"], orphan["id"]) == ("domain.foreign", stray.vm_id)
    assert orphan["detail"] == f"{host.name} has a domain stray (running) that Pileus did not define."
    other = next(host_id for host_id in cloud.hosts if host_id != host.id)
    assert api("listDrift", hostid=host.id)["count"] == api("listOrphans", zoneid=cloud.zone_id)["count"] == 1
    assert api("listDrift", hostid=other) == api("listDrift", zoneid=factory(Zone).id) == {}
    assert api("listDrift", keyword="no such domain")["count"] == 1
    assert api("listDrift", keyword="elsewhere") == {}


def test_findings_come_in_pages(api, cloud, vm, factory):
    for number in range(3):
        factory(Network, zone_id=cloud.zone_id, name=f"n{number}")
    pages = [api("listDrift", keyword="tunnel key", page=page, pagesize=2) for page in (1, 2)]
    assert [(page["count"], len(page["drift"])) for page in pages] == [(3, 2), (3, 1)]
    assert len({drift["id"] for page in pages for drift in page["drift"]}) == 3


def test_an_old_survey_is_refused(api, cloud, vm, factory):
    now = dt.datetime.now(dt.UTC)
    before = (now - dt.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S+0000")
    assert api("listDrift", surveyedafter=before) == {}
    assert api("listOrphans", surveyedafter=now.timestamp() - 300) == {}
    later = now.timestamp() + 60
    with pytest.raises(Refused, match=r"534 The host h1 was last surveyed at 20"):
        api("listDrift", surveyedafter=f"{later:.2f}")
    with db.transaction(factory.engine) as s:
        s.delete(s.get_one(Inventory, cloud.get(Host, cloud.hosts[1]).agent_id))
    with pytest.raises(Refused, match=r"534 The host h2 has never been surveyed"):
        api("listOrphans", surveyedafter=before)
    assert api("listDrift", surveyedafter=before, hostid=cloud.hosts[0]) == {}
    with pytest.raises(Refused, match=r"431 .*surveyedafter"):
        api("listDrift", surveyedafter="yesterday")


def test_the_oracle_is_for_root_administrators(api, cloud_and_user):
    for command in ("listDrift", "listOrphans"):
        with pytest.raises(Refused, match=r"432"):
            api(command, cloud_and_user[1])
