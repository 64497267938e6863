"""What networks are asked to be: range and reservation, name servers, MTUs, source NAT; down to the router's state."""

from __future__ import annotations

import pytest

from agents.contract import NicTraffic
from manager import configuration, traffic
from manager.db import transaction
from manager.models import (
    Host,
    Network,
    NetworkOffering,
    Nic,
    NicAddress,
    PhysicalNetwork,
    PublicAddress,
    ResourceUse,
    StaticNatRule,
    UsageRecord,
    Vm,
    meters,
)
from manager.placement.address import NoAddress, add_nic
from manager.workflows import usage
from manager.workflows.engine import WORKFLOWS
from manager.workflows.network_change import change_network
from network.elements.simulator import MemoryRouter
from network.errors import NetworkError
from tests.client import Refused
from tests.unit.api.live_cloud import costs
from tests.unit.api.test_networks import place  # noqa: F401 - a fixture
from tests.unit.api.test_public_addresses import done, router_of, running  # noqa: F401 - running is a fixture
from tests.unit.workflows.test_laws import breaking

FULL = ("Dhcp", "Dns", "SourceNat", "StaticNat", "UserData")
CHANGE = len(change_network.steps)
GATEWAY = {"gateway": "10.1.1.1", "netmask": "255.255.255.0"}


@pytest.fixture
def spot(factory, place):  # noqa: F811 - a fixture
    """As place, with an offering that has name servers and public addresses."""
    offering = factory(NetworkOffering, name="full", services=dict.fromkeys(FULL, "VirtualRouter"))
    return {**place, "networkofferingid": offering.id}


def given_to(factory, network_id, **wanted):
    """The address of a new NIC of a VM in the network."""
    vm_id = factory(Vm, account_id=factory.first(Network, id=network_id).account_id).id
    with transaction() as session:
        network = session.get_one(Network, network_id)
        return session.get_one(Nic, add_nic(session, network, vm_id=vm_id, **wanted)).address


class TestRanges:
    def test_guests_are_given_addresses_of_the_range_alone(self, api, tenant, factory, spot):
        made = api("createNetwork", tenant, name="n", startip="10.1.1.10", endip="10.1.1.12", **GATEWAY, **spot)
        made = made["network"]
        assert made["cidr"] == "10.1.1.0/24"
        assert made["reservediprange"] == "10.1.1.1-10.1.1.9, 10.1.1.13-10.1.1.254"
        given = {given_to(factory, made["id"]) for _ in range(3)}
        assert given == {"10.1.1.10", "10.1.1.11", "10.1.1.12"}
        with pytest.raises(NoAddress, match=r"10\.1\.1\.10-10\.1\.1\.12 of 10\.1\.1\.0/24\) has no free address"):
            given_to(factory, made["id"])
        with pytest.raises(NoAddress, match=r"from 10\.1\.1\.10 to 10\.1\.1\.12"):
            given_to(factory, made["id"], wanted="10.1.1.20")

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({"endip": "10.1.1.9"}, "431 The endip of a network comes with its startip"),
            ({"startip": "10.1.2.9"}, "431 The startip 10.1.2.9 is no host address of 10.1.1.0/24"),
            ({"startip": "10.1.1.9", "endip": "10.1.1.8"}, "431 The endip 10.1.1.8 lies before"),
            ({"startip": "10.1.1.1", "endip": "10.1.1.8"}, "431 The gateway 10.1.1.1 lies within"),
            ({"dns1": "x"}, "431 The dns1 x is not an IPv4 address"),
            ({"dns2": "192.0.2.9"}, "431 A network with a dns2 needs a dns1"),
            ({"privatemtu": 1400}, "531 The privatemtu of networks of zone z1 is for root administrators"),
            ({"sourcenatipaddress": "198.51.100.99"}, "431 The public address 198.51.100.99 is not free"),
            ({"displaynetwork": False}, "531 The parameter displaynetwork"),
        ],
    )
    def test_what_cannot_be_is_refused_and_nothing_stays(self, api, tenant, factory, spot, given, reason):
        with pytest.raises(Refused, match=reason):
            api("createNetwork", tenant, name="n", **spot, **given)
        assert api("listNetworks", tenant) == {}
        assert factory.first(ResourceUse, account_id=tenant.account.id).networks == 0

    def test_a_reservation_keeps_virtual_machines_in_a_part(self, api, tenant, factory, spot):
        made = api("createNetwork", tenant, name="n", **spot)["network"]

        def reserve(cidr):
            job = api("updateNetwork", tenant, id=made["id"], guestvmcidr=cidr)["jobid"]
            return api("queryAsyncJobResult", tenant, jobid=job)["jobresult"]["network"]

        shown = reserve("10.1.1.8/30")
        assert (shown["cidr"], shown["networkcidr"]) == ("10.1.1.8/30", "10.1.1.0/24")
        assert shown["reservediprange"] == "10.1.1.1-10.1.1.8, 10.1.1.11-10.1.1.254"
        assert {given_to(factory, made["id"]) for _ in range(2)} == {"10.1.1.9", "10.1.1.10"}
        with pytest.raises(
            Refused, match=r"431 The address 10\.1\.1\.9 of a virtual machine in network n lies outside"
        ):
            reserve("10.1.1.128/25")
        for wrong in ("10.1.0.0/16", "10.2.0.0/24", "10.1.1.8/31"):
            with pytest.raises(Refused, match=r"431 The guestvmcidr .* is not a part of 10.1.1.0/24"):
                reserve(wrong)
        with pytest.raises(Refused, match=r"431 The guestvmcidr 10\.1\.1\.9/29 is not an IPv4 network"):
            reserve("10.1.1.9/29")
        whole = reserve("10.1.1.0/24")
        assert whole["cidr"] == "10.1.1.0/24"
        assert not {"networkcidr", "reservediprange"} & set(whole)
        assert given_to(factory, made["id"], wanted="10.1.1.200") == "10.1.1.200"

    def test_further_addresses_count_as_well(self, api, tenant, factory, spot):
        made = api("createNetwork", tenant, name="n", **spot)["network"]
        given_to(factory, made["id"], wanted="10.1.1.9")
        nic = factory.first(Nic, network_id=made["id"])
        factory(NicAddress, nic_id=nic.id, network_id=made["id"], address="10.1.1.77")
        with pytest.raises(Refused, match=r"431 The address 10\.1\.1\.77"):
            api("updateNetwork", tenant, id=made["id"], guestvmcidr="10.1.1.0/26")

    def test_the_gateway_may_lie_outside_and_a_deployment_is_told(self, api, factory, running):  # noqa: F811 - a fixture
        cloud, user = running
        network = cloud.add_network("net2")
        api("updateNetwork", user, id=network, guestvmcidr="10.1.1.64/26")
        cloud.deploy("second", network)
        cloud.settle()
        address = factory.first(Nic, network_id=network, router_id=None).address
        assert 65 <= int(address.rpartition(".")[2]) <= 126
        assert factory.first(Nic, network_id=network, vm_id=None).address == "10.1.1.1"
        deploy = {"zoneid": cloud.zone_id, "templateid": cloud.template_id, "serviceofferingid": cloud.offering_id}
        with pytest.raises(Refused, match=r"431 The address 10\.1\.1\.9 of network net2 is not for virtual machines"):
            api("deployVirtualMachine", user, networkids=network, ipaddress="10.1.1.9", **deploy)


class TestTheRouter:
    def test_it_learns_name_servers_and_mtus(self, api, running):  # noqa: F811 - a fixture
        cloud, user = running
        before = router_of(cloud)
        given = {"id": cloud.network_id, "dns1": "192.0.2.53", "dns2": "192.0.2.54"}
        shown = done(api, cloud, api("updateNetwork", user, **given), user)["network"]
        assert (shown["dns1"], shown["dns2"]) == router_of(cloud).legs[0].nameservers == ("192.0.2.53", "192.0.2.54")
        mtus = {"privatemtu": 1400, "publicmtu": 1450}
        with pytest.raises(Refused, match=r"531 The privatemtu .*allow\.end\.users\.to\.specify\.vr\.mtu"):
            api("updateNetwork", user, id=cloud.network_id, **mtus)
        api("updateConfiguration", name="allow.end.users.to.specify.vr.mtu", value=True, zoneid=cloud.zone_id)
        configuration.forget()
        shown = done(api, cloud, api("updateNetwork", user, id=cloud.network_id, **mtus), user)["network"]
        spec = router_of(cloud)
        assert (shown["privatemtu"], shown["publicmtu"]) == (spec.legs[0].mtu, spec.public.mtu) == (1400, 1450)
        for wrong in ({"privatemtu": 1459}, {"publicmtu": 1501}, {"publicmtu": 575}):
            with pytest.raises(Refused, match=r"431 The (private|public)mtu \d+ does not lie within 576 and 1[45]"):
                api("updateNetwork", user, id=cloud.network_id, **wrong)
        shown = done(api, cloud, api("updateNetwork", user, id=cloud.network_id, dns1="", dns2=""), user)["network"]
        assert router_of(cloud).legs[0].nameservers == before.legs[0].nameservers
        assert shown["dns1"] == before.legs[0].nameservers[0]

    def test_the_zone_says_how_large_mtus_are(self, api, tenant, spot):
        api("updateConfiguration", name="vr.private.interface.max.mtu", value=8958, zoneid=spot["zoneid"])
        configuration.forget()
        (zone,) = api("listZones", id=spot["zoneid"])["zone"]
        shown = [zone[name] for name in zone if "mtu" in name]
        assert shown == [False, 8958, 1500]
        assert api("createNetwork", tenant, name="n", **spot)["network"]["privatemtu"] == 8958
        assert api("createNetwork", name="m", privatemtu=600, publicmtu=700, **spot)["network"]["publicmtu"] == 700

    def test_another_address_becomes_the_source_nat(self, api, factory, running):  # noqa: F811 - a fixture
        cloud, user = running
        former = router_of(cloud).public
        other = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
        change = {"id": cloud.network_id, "sourcenatipaddress": other["ipaddress"]}
        done(api, cloud, api("updateNetwork", user, **change), user)
        spec = router_of(cloud)
        assert (spec.public.address, spec.addresses) == (other["ipaddress"], (former.address,))
        assert spec.public.mac == factory.first(PublicAddress, id=other["id"]).mac
        (nat,) = api("listPublicIpAddresses", user, issourcenat=True)["publicipaddress"]
        assert nat["id"] == other["id"]
        done(api, cloud, api("updateNetwork", user, **change), user)
        done(api, cloud, api("disassociateIpAddress", user, ipaddress=former.address), user)
        with pytest.raises(Refused, match=r"431 The public address .* is not one of network net1; associate it first"):
            api("updateNetwork", user, id=cloud.network_id, sourcenatipaddress=former.address)
        third = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
        factory(StaticNatRule, network_id=cloud.network_id, address_id=third["id"], account_id=cloud.account_id)
        with pytest.raises(Refused, match=r"431 The public address .* stands for a virtual machine by static NAT"):
            api("updateNetwork", user, id=cloud.network_id, sourcenatipaddress=third["ipaddress"])

    def test_what_the_router_refuses_is_taken_back(self, api, factory, running, monkeypatch):  # noqa: F811 - a fixture
        cloud, user = running
        other = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
        before = router_of(cloud)
        apply = MemoryRouter.apply

        def refuse(router, spec):
            if spec.legs[0].nameservers != before.legs[0].nameservers:
                raise NetworkError("planted")
            apply(router, spec)

        monkeypatch.setattr(MemoryRouter, "apply", refuse)
        given = {"sourcenatipaddress": other["ipaddress"], "dns1": "192.0.2.99"}
        job = api("updateNetwork", user, id=cloud.network_id, **given)["jobid"]
        cloud.settle()
        assert api("queryAsyncJobResult", user, jobid=job)["jobresult"]["errortext"] == "planted"
        after = router_of(cloud)
        assert (after.public, after.addresses, after.legs[0].nameservers) == (
            before.public, before.addresses, before.legs[0].nameservers,
        )  # fmt: skip
        assert factory.first(Network, id=cloud.network_id).dns1 is None
        (nat,) = api("listPublicIpAddresses", user, issourcenat=True)["publicipaddress"]
        assert nat["ipaddress"] == before.public.address

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("position", range(CHANGE))
    def test_a_change_unwinds_from_every_step(self, api, factory, running, monkeypatch, position, after):  # noqa: F811 - a fixture
        cloud, user = running
        other = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
        before, row = router_of(cloud), factory.first(Network, id=cloud.network_id)
        broken = breaking(change_network, position, after=after)
        with monkeypatch.context() as patch:
            patch.setitem(WORKFLOWS, "network.change", broken)
            given = {"sourcenatipaddress": other["ipaddress"], "dns1": "192.0.2.99", "networkdomain": "new.example"}
            job = api("updateNetwork", user, id=cloud.network_id, **given)["jobid"]
            cloud.settle(times=2)
        assert api("queryAsyncJobResult", user, jobid=job)["jobstatus"] == 2
        after_all = router_of(cloud)
        for name in ("public", "addresses"):
            assert getattr(after_all, name) == getattr(before, name)
        for name in ("nameservers", "domain"):
            assert getattr(after_all.legs[0], name) == getattr(before.legs[0], name)
        now = factory.first(Network, id=cloud.network_id)
        assert (now.dns1, now.network_domain, now.state) == (row.dns1, row.network_domain, row.state)
        assert api("listPublicIpAddresses", user, issourcenat=True)["count"] == 1
        done(api, cloud, api("updateNetwork", user, id=cloud.network_id, **given), user)
        assert router_of(cloud).public.address == other["ipaddress"]

    def test_a_network_begins_with_the_address_that_it_asks_for(self, api, factory, running):  # noqa: F811 - a fixture
        cloud, user = running
        free = factory.first(PublicAddress, network_id=None).address
        offering = factory(NetworkOffering, services=dict.fromkeys(FULL, "VirtualRouter"))
        given = {"zoneid": cloud.zone_id, "networkofferingid": offering.id}
        made = api("createNetwork", user, name="n", sourcenatipaddress=free, **given)["network"]
        (nat,) = api("listPublicIpAddresses", user, associatednetworkid=made["id"])["publicipaddress"]
        assert (nat["ipaddress"], nat["issourcenat"], nat["state"]) == (free, True, "Allocated")
        cloud.deploy("second", made["id"])
        cloud.settle()
        assert api("listPublicIpAddresses", user, associatednetworkid=made["id"])["count"] == 1
        bare = factory(NetworkOffering, name="bare", services={"Dhcp": "VirtualRouter"})
        for wrong, service in (({"sourcenatipaddress": free}, "SourceNat"), ({"dns1": "192.0.2.9"}, "Dns")):
            with pytest.raises(Refused, match=f"431 The network offering bare has no service {service}"):
                api("createNetwork", user, name="b", zoneid=cloud.zone_id, networkofferingid=bare.id, **wrong)


class TestLists:
    def test_hidden_networks_are_the_administrators(self, api, tenant, factory):
        network = factory(Network, account_id=tenant.account.id, name="net")
        api("updateNetwork", id=network.id, displaynetwork=False)
        assert api("listNetworks", tenant) == api("listNetworks", tenant, id=network.id) == {}
        assert api("listNetworks", listall=True, displaynetwork=True) == {}
        (shown,) = api("listNetworks", listall=True, displaynetwork=False)["network"]
        assert shown["displaynetwork"] is False

    def test_filters(self, api, tenant, factory):
        network = factory(Network, account_id=tenant.account.id, key=77)
        factory(Network, account_id=tenant.account.id, key=78)
        assert api("listNetworks", tenant, networkfilter="account")["count"] == 2
        assert api("listNetworks", tenant, networkfilter="Shared") == {}
        (shown,) = api("listNetworks", listall=True, vlan=77)["network"]
        assert shown["id"] == network.id
        assert api("listNetworks", listall=True, vlan="gre") == {}
        with pytest.raises(Refused, match=r"431 .*Mine is none of Account"):
            api("listNetworks", tenant, networkfilter="Mine")

    def test_only_how_many(self, api, tenant, factory):
        for _ in range(3):
            network = factory(Network, account_id=tenant.account.id)
        factory(PublicAddress, account_id=tenant.account.id, network_id=network.id)
        count = {"retrieveonlyresourcecount": True}
        assert api("listNetworks", tenant, **count) == {"count": 3}
        assert api("listNetworks", tenant, id=network.id, **count) == {"count": 1}
        assert api("listPublicIpAddresses", tenant, **count) == {"count": 1}
        assert api("listPublicIpAddresses", tenant, forprovider=True, **count) == {}
        assert api("listVolumes", tenant, **count) == {}

    def test_networks_are_on_physical_networks_with_the_tags_of_their_offering(self, api, tenant, factory, spot):
        given = {"guestiptype": "Isolated", "traffictype": "Guest", "supportedservices": "Dhcp", "enable": True}
        made = api("createNetworkOffering", name="t", tags="fast, near,fast", **given)["networkoffering"]
        assert made["tags"] == "fast,near"
        wanted = {**spot, "networkofferingid": made["id"]}
        with pytest.raises(Refused, match=r"431 There is none in zone z1 .* has the tags fast, near of the offering t"):
            api("createNetwork", tenant, name="n", **wanted)
        factory.change(factory.first(PhysicalNetwork, zone_id=spot["zoneid"]), tags="near,far,fast")
        api("createNetwork", tenant, name="n", **wanted)
        api("updateNetworkOffering", id=made["id"], tags="far")
        assert [one["name"] for one in api("listNetworkOfferings", istagged=True)["networkoffering"]] == ["t"]
        assert [one["name"] for one in api("listNetworkOfferings", tags="far")["networkoffering"]] == ["t"]
        assert "t" not in [one["name"] for one in api("listNetworkOfferings", istagged=False)["networkoffering"]]

    def test_offerings_that_a_network_could_have(self, api, tenant, factory):
        def offering(name, *services, **more):
            return factory(NetworkOffering, name=name, services=dict.fromkeys(services, "VirtualRouter"), **more).id

        network = factory(Network, account_id=tenant.account.id, offering_id=offering("own", "Dhcp", "Dns"))
        for name, *services in (("more", "Dhcp", "Dns", "UserData"), ("less", "Dhcp")):
            offering(name, *services)
        offering("closed", "Dhcp", "Dns", state="Disabled")
        found = api("listNetworkOfferings", tenant, networkid=network.id)["networkoffering"]
        assert "more" in {one["name"] for one in found}
        assert not {"own", "less", "closed"} & {one["name"] for one in found}

    @pytest.mark.parametrize(
        ("capability", "reason"),
        [
            (("SourceNat", "RedundantRouter", "2"), "The RedundantRouter of SourceNat is true with VirtualRouter"),
            (("SourceNat", "SupportedSourceNatTypes", "perzone"), "SourceNat is peraccount with VirtualRouter"),
            (("SourceNat", "Colour", "red"), "The service SourceNat has no capability Colour; it has Supported"),
            (("Lb", "SupportedLbIsolation", "shared"), "names Lb, which is none of the services"),
        ],
    )
    def test_capabilities_that_cannot_be_are_refused(self, api, capability, reason):
        given = {"guestiptype": "Isolated", "traffictype": "Guest", "supportedservices": "SourceNat"}
        keys = ("service", "capabilitytype", "capabilityvalue")

        def params(entry):
            return {f"servicecapabilitylist[0].{key}": text for key, text in zip(keys, entry, strict=True)}

        with pytest.raises(Refused, match=f"431 .*{reason}"):
            api("createNetworkOffering", name="o", params=params(capability), **given)
        fitting = params(("sourcenat", "redundantrouter", "FALSE"))
        api("createNetworkOffering", name="o", params={**fitting, "details[0].a": "b"}, **given)


class TestTraffic:
    def test_networks_and_accounts_tell_what_their_guests_had(self, api, factory, running):  # noqa: F811 - a fixture
        cloud, user = running
        nic = factory.first(Nic, network_id=cloud.network_id, router_id=None)
        agent = factory.first(Host, id=nic.host_id).agent_id
        for told in ((100, 10), (150, 10), (30, 5)):
            with transaction() as session:
                traffic.note(session, agent, [NicTraffic(nic.id, *told)])
        (network,) = api("listNetworks", user)["network"]
        assert (network["receivedbytes"], network["sentbytes"]) == (180, 15)
        (account,) = api("listAccounts", user)["account"]
        assert (account["receivedbytes"], account["sentbytes"]) == (180, 15)

    def test_addresses_of_networks_that_hide_them_are_in_no_record(self, api, running):  # noqa: F811 - a fixture
        cloud, user = running
        period = {"startdate": "2020-01-01", "enddate": "2099-01-01", "type": meters.IP_ADDRESS}
        for hide in (True, False):
            api("updateNetwork", id=cloud.network_id, hideipaddressusage=hide)
            with transaction() as session:
                usage.count(session, 4e9 + (not hide))
            with transaction() as session:
                rows = session.query(UsageRecord).filter_by(type=meters.IP_ADDRESS, hidden=hide).count()
            assert rows == 1
        assert api("listUsageRecords", user, **period)["count"] == 1

    def test_lists_cost_the_same_at_any_length(self, api, tenant, factory, engine):
        found = costs(
            engine, lambda: factory(Network, account_id=tenant.account.id), lambda: api("listNetworks", tenant)
        )
        assert len(set(found.values())) == 1


def test_networks_on_every_database(any_api, any_factory, any_engine):
    network = any_factory(Network)
    vm = any_factory(Vm, account_id=network.account_id)
    host = any_factory(Host)
    nic = any_factory(Nic, network_id=network.id, vm_id=vm.id, host_id=host.id, address="10.1.1.9")
    for told in ((100, 10), (150, 20)):
        with transaction(any_engine) as session:
            traffic.note(session, host.agent_id, [NicTraffic(nic.id, *told)])
    any_factory(PublicAddress, network_id=network.id, account_id=network.account_id)
    any_api("updateNetwork", id=network.id, guestvmcidr="10.1.1.0/28", hideipaddressusage=True, dns1="")
    with transaction(any_engine) as session:
        network = session.get_one(Network, network.id)
        assert add_nic(session, network, wanted="10.1.1.10", vm_id=vm.id, device=1, is_default=False)
        with pytest.raises(NoAddress, match=r"from 10\.1\.1\.1 to 10\.1\.1\.14"):
            add_nic(session, network, wanted="10.1.1.20", vm_id=vm.id, device=2, is_default=False)
    any_api("addAnnotation", entitytype="NETWORK", entityid=network.id, annotation="a note")
    (shown,) = any_api("listNetworks", id=network.id, showicon=True)["network"]
    assert (shown["receivedbytes"], shown["sentbytes"], shown["hasannotations"]) == (150, 20, True)
    any_api("listAccounts", listall=True)
    with transaction(any_engine) as session:
        usage.adopt()
    with transaction(any_engine) as session:
        usage.count(session, 4e9)
    period = {"startdate": "2020-01-01", "enddate": "2099-01-01"}
    kinds = {one["usagetype"] for one in any_api("listUsageRecords", **period)["usagerecord"]}
    assert meters.NETWORK in kinds
    assert meters.IP_ADDRESS not in kinds
