"""Dedicated resources: whose virtual machines are placed there, and whose are not."""

import pytest

from manager.models import Host, Vm
from tests.client import Refused
from tests.unit.api.live_cloud import run

KINDS = ["Zone", "Pod", "Cluster", "Host"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_for_others_takes_no_vm(api, cloud, user, wanted, factory, kind):
    thing = {"Zone": cloud.zone_id, "Pod": cloud.pod_id, "Cluster": cloud.cluster_id, "Host": cloud.hosts[0]}[kind]
    word = kind.lower()
    other = factory.domain("other")
    done = run(api, cloud, None, f"dedicate{kind}", domainid=other.id, **{f"{word}id": thing})
    assert done[f"dedicated{word}"][f"{word}id"] == thing
    (row,) = api(f"listDedicated{kind}s", domainid=other.id)[f"dedicated{word}"]
    assert (row["domainid"], row[f"{word}id"], "accountid" in row) == (other.id, thing, False)
    with pytest.raises(Refused, match=rf"431 The {word} .* is dedicated already"):
        api(f"dedicate{kind}", domainid=other.id, **{f"{word}id": thing})
    rows = api("explainPlacement", user, **{k: v for k, v in wanted.items() if k != "networkids"})["placement"]
    barred = [row for row in rows if row.get("reason") == "it is dedicated to another account or domain"]
    assert len(barred) == (1 if kind == "Host" else 2)
    job = api("deployVirtualMachine", user, **wanted)
    cloud.settle()
    assert cloud.get(Vm, job["id"]).host_id == (cloud.hosts[1] if kind == "Host" else None)
    run(api, cloud, None, f"releaseDedicated{kind}", **{f"{word}id": thing})
    assert api(f"listDedicated{kind}s") == {}
    with pytest.raises(Refused, match=r"431 .* is not dedicated"):
        api(f"releaseDedicated{kind}", **{f"{word}id": thing})
    with pytest.raises(Refused, match=r"432"):
        api(f"dedicate{kind}", user, domainid=other.id, **{f"{word}id": thing})


def test_the_account_goes_first_where_it_is_alone(api, cloud, user, wanted, factory):
    own, shared = cloud.hosts
    run(api, cloud, None, "dedicateHost", hostid=own, domainid=factory.root.id, account="tenant")
    factory.change(cloud.get(Host, own), memory_used=32 * 2**30)
    jobs = [api("deployVirtualMachine", user, **wanted) for _ in range(2)]
    cloud.settle()
    assert {cloud.get(Vm, job["id"]).host_id for job in jobs} == {own}
    factory.change(cloud.get(Host, own), resource_state="Disabled")
    job = api("deployVirtualMachine", user, **wanted)
    cloud.settle()
    assert cloud.get(Vm, job["id"]).host_id == shared
    assert api("listDedicatedHosts", account="tenant", domainid=factory.root.id)["count"] == 1


def test_a_domain_has_what_is_kept_for_one_above_it(api, cloud, user, wanted, factory):
    run(api, cloud, None, "dedicateZone", zoneid=cloud.zone_id, domainid=factory.root.id)
    job = api("deployVirtualMachine", user, **wanted)
    cloud.settle()
    assert cloud.get(Vm, job["id"]).state == "Running"


def test_nothing_is_dedicated_over_the_head_of_others(api, cloud, user, wanted, factory):
    job = api("deployVirtualMachine", user, **wanted)
    cloud.settle()
    host = cloud.get(Vm, job["id"]).host_id
    with pytest.raises(Refused, match=r"431 The host h. cannot be dedicated: the virtual machine .* of another"):
        api("dedicateHost", hostid=host, domainid=factory.domain("other").id)
    assert api("listDedicatedHosts") == {}
    run(api, cloud, None, "dedicateHost", hostid=host, domainid=factory.root.id)
