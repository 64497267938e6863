"""Public addresses through the API: associate, list, release, and what they count, with the in-process cloud."""

from __future__ import annotations

import pytest

from manager.models import Account, NetworkRule, PublicAddress, ResourceUse
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import costs, live_cloud


@pytest.fixture
def running(factory, tmp_path):
    """A cloud with a network that a VM runs in, and a user of its account."""
    cloud, user = live_cloud(factory, tmp_path)
    cloud.deploy()
    cloud.settle()
    return cloud, user


def done(api, cloud, answer, caller=None):
    """The result of a job that the cloud carries to its end."""
    cloud.settle()
    job = api("queryAsyncJobResult", caller, jobid=answer["jobid"])
    assert job["jobstatus"] == 1, job
    return job["jobresult"]


def router_of(cloud):
    """The wanted state that the one router of the cloud has."""
    specs = [spec for runner in cloud.runners.values() if runner.host.routers
             for spec in runner.host.routers.specs.values()]  # fmt: skip
    (spec,) = specs
    return spec


def counted(factory, cloud) -> int:
    return factory.first(ResourceUse, account_id=cloud.account_id).public_addresses


def test_a_further_address_is_the_networks_and_counted(api, factory, running):
    cloud, user = running
    assert counted(factory, cloud) == 1
    answer = api("associateIpAddress", user, networkid=cloud.network_id)
    assert api.wrapper == "associateipaddressresponse"
    (listed,) = api("listPublicIpAddresses", user, id=answer["id"])["publicipaddress"]
    assert (listed["state"], listed["jobid"], listed["jobstatus"]) == ("Allocated", answer["jobid"], 0)
    shown = done(api, cloud, answer, user)["ipaddress"]
    assert (shown["id"], shown["state"], shown["issourcenat"]) == (answer["id"], "Allocated", False)
    assert (shown["associatednetworkname"], shown["isstaticnat"], shown["hasrules"]) == ("net1", False, False)
    assert shown["allocated"]
    assert router_of(cloud).addresses == (shown["ipaddress"],)
    assert counted(factory, cloud) == 2
    assert done(api, cloud, api("disassociateIpAddress", user, id=shown["id"]), user) == {"success": True}
    assert router_of(cloud).addresses == ()
    assert counted(factory, cloud) == 1
    assert api("listPublicIpAddresses", user, listall=True)["count"] == 1


def test_the_first_address_of_a_network_is_its_source_nat_and_stays(api, factory, running):
    cloud, user = running
    network = cloud.add_network("net2")
    free = factory.first(PublicAddress, network_id=None).address
    answer = api("associateIpAddress", user, networkid=network, ipaddress=free)
    shown = done(api, cloud, answer, user)["ipaddress"]
    assert (shown["issourcenat"], shown["ipaddress"]) == (True, free)
    cloud.deploy("other", network)
    cloud.settle()
    assert counted(factory, cloud) == 2
    assert api("listPublicIpAddresses", user, associatednetworkid=network)["count"] == 1
    with pytest.raises(Refused, match=rf"431 The public address {free} is the source NAT of network net2"):
        api("disassociateIpAddress", user, id=shown["id"])


def test_an_address_that_is_not_free_and_a_limit_are_told(api, factory, running):
    cloud, user = running
    with pytest.raises(Refused, match=r"431 The public address 203.0.113.1 is not free"):
        api("associateIpAddress", user, networkid=cloud.network_id, ipaddress="203.0.113.1")
    with pytest.raises(Refused, match=r"431 The ipaddress x is not an IPv4 address"):
        api("associateIpAddress", user, networkid=cloud.network_id, ipaddress="x")
    with pytest.raises(Refused, match=r"431 A public address is for a network; give networkid"):
        api("associateIpAddress", user)
    for _ in range(9):
        api("associateIpAddress", user, zoneid=cloud.zone_id)
    with pytest.raises(Refused, match=r"533 The zone has no free public address"):
        api("associateIpAddress", user, networkid=cloud.network_id)
    cloud.settle()
    assert len(router_of(cloud).addresses) == 9
    assert counted(factory, cloud) == 10
    api("updateConfiguration", name="max.account.public.ips", value=10)
    with pytest.raises(
        Refused, match=r"535 Account tenant may hold 10 public addresses; it holds 10, asked for 1 more"
    ):
        api("associateIpAddress", user, networkid=cloud.network_id)


def test_others_can_neither_use_nor_release_an_address(api, factory, running):
    cloud, user = running
    tenant = Caller.of(factory.engine, factory.user("stranger").username)
    answer = api("associateIpAddress", user, networkid=cloud.network_id)
    shown = done(api, cloud, answer, user)["ipaddress"]
    for given in ({"id": shown["id"]}, {"ipaddress": shown["ipaddress"]}):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            api("disassociateIpAddress", tenant, **given)
    with pytest.raises(Refused, match=r"431 .*Invalid parameter networkid"):
        api("associateIpAddress", tenant, networkid=cloud.network_id)
    with pytest.raises(Refused, match=r"431 .*missing parameter id"):
        api("disassociateIpAddress", user)
    answer = api("disassociateIpAddress", user, ipaddress=shown["ipaddress"])
    with pytest.raises(Refused, match=r"536 public_addresses .* is busy with job"):
        api("disassociateIpAddress", user, id=shown["id"])
    (listed,) = api("listPublicIpAddresses", user, id=shown["id"])["publicipaddress"]
    assert listed["state"] == "Releasing"
    assert api("listPublicIpAddresses", user, state="releasing")["count"] == 1
    done(api, cloud, answer, user)


def test_releasing_an_address_takes_its_rules_away(api, factory, running):
    cloud, user = running
    address = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    rule = api("createFirewallRule", user, ipaddressid=address["id"], protocol="icmp")
    done(api, cloud, rule, user)
    assert len(router_of(cloud).openings) == 1
    assert api("listPublicIpAddresses", user, id=address["id"])["publicipaddress"][0]["hasrules"] is True
    done(api, cloud, api("disassociateIpAddress", user, id=address["id"]), user)
    assert router_of(cloud).openings == ()
    assert api("listFirewallRules", user, listall=True) == {}
    assert factory.first(NetworkRule, id=rule["id"]).removed is not None


def test_a_hidden_address_is_for_administrators(api, running):
    cloud, user = running
    answer = api("associateIpAddress", networkid=cloud.network_id, fordisplay=False)
    shown = done(api, cloud, answer)["ipaddress"]
    assert shown["fordisplay"] is False
    assert api("listPublicIpAddresses", user, id=shown["id"]) == {}
    assert api("listPublicIpAddresses", listall=True, fordisplay=False)["count"] == 1
    assert done(api, cloud, api("updateIpAddress", id=shown["id"], fordisplay=True))["ipaddress"]["fordisplay"] is True
    assert api("listPublicIpAddresses", user, id=shown["id"])["count"] == 1
    with pytest.raises(Refused, match=r"531 The parameter fordisplay"):
        api("updateIpAddress", user, id=shown["id"], fordisplay=False)


def test_a_network_that_goes_gives_its_addresses_and_rules_back(api, factory, running):
    cloud, user = running
    network = cloud.add_network("net2")
    for _ in range(2):
        address = done(api, cloud, api("associateIpAddress", user, networkid=network), user)["ipaddress"]
        done(api, cloud, api("createFirewallRule", user, ipaddressid=address["id"], protocol="tcp", startport=1), user)
    cloud.delete_network(network)
    cloud.settle()
    assert counted(factory, cloud) == 1
    assert api("listFirewallRules", user, listall=True) == {}
    assert api("listDrift") == api("listOrphans") == {}


def test_lists_cost_the_same_at_any_length(api, factory, engine):
    account = factory.account("many")
    caller = Caller.of(engine, factory.user("many", account).username)
    network = factory(NetworkRule, account_id=account.id).network_id

    def make():
        address = factory(PublicAddress, account_id=account.id, network_id=network)
        factory(NetworkRule, account_id=account.id, network_id=network, address_id=address.id)

    found = costs(engine, make, lambda: api("listPublicIpAddresses", caller, listall=True))
    assert found == {1: found[1], 50: found[1]}
    assert factory.first(Account, id=account.id).name == "many"
