"""Remote access VPNs of VPCs through the API, with the in-process cloud."""

from __future__ import annotations

import pytest

from manager.models import RemoteAccessVpn, Vpc, VpcOffering, VpnUser
from network.elements.simulator import MemoryRouter
from network.errors import RouterFailedError
from network.vpn import VpnUser as User
from tests.client import Refused
from tests.unit.api.live_cloud import live_cloud, rows
from tests.unit.api.test_public_addresses import done, router_of
from tests.unit.api.test_vpn_connections import AGREED, vpc_in


@pytest.fixture
def site(api, factory, tmp_path):
    """The cloud, its user, a VPC of one tier whose router runs, and the source NAT address of that."""
    cloud, user = live_cloud(factory, tmp_path)
    vpc = vpc_in(factory, cloud, "10.0.0.0/16")
    (address,) = api("listPublicIpAddresses", user, vpcid=vpc.id)["publicipaddress"]
    return cloud, user, vpc, address


@pytest.fixture
def vpn(api, site):
    cloud, user, _, address = site
    return done(api, cloud, api("createRemoteAccessVpn", user, publicipid=address["id"]), user)["remoteaccessvpn"]


def test_people_reach_all_tiers_of_a_vpc_until_it_is_taken_away(api, site):
    cloud, user, _, address = site
    answer = api("createRemoteAccessVpn", user, publicipid=address["id"])
    (shown,) = api("listRemoteAccessVpns", user, publicipid=address["id"])["remoteaccessvpn"]
    assert (shown["state"], shown["jobid"], shown["id"]) == ("Added", answer["jobid"], answer["id"])
    vpn = done(api, cloud, answer, user)["remoteaccessvpn"]
    assert (vpn["state"], vpn["publicip"]) == ("Running", address["ipaddress"])
    wanted = router_of(cloud).vpn.remote
    assert (wanted.address, wanted.guests, wanted.open_to_all) == (address["ipaddress"], ("10.0.0.0/16",), True)
    assert (wanted.first, wanted.last) == ("10.1.2.2", "10.1.2.8")
    with pytest.raises(Refused, match=r"431 .*The VPC .* has a remote access VPN already"):
        api("createRemoteAccessVpn", user, publicipid=address["id"])
    answer = api("deleteRemoteAccessVpn", user, publicipid=address["id"])
    assert api("listRemoteAccessVpns", user, id=vpn["id"])["remoteaccessvpn"][0]["state"] == "Removed"
    assert done(api, cloud, answer, user) == {"success": True}
    assert router_of(cloud).vpn is None
    assert api("listRemoteAccessVpns", user) == {}


def test_users_reach_the_routers_of_vpcs_and_leave_them(api, site, vpn):
    cloud, user, _, _ = site
    assert vpn["state"] == "Running"
    done(api, cloud, api("addVpnUser", user, username="ann", password="Secret-1"), user)
    assert router_of(cloud).vpn.remote.users == (User("ann", "Secret-1"),)
    done(api, cloud, api("removeVpnUser", user, username="ann"), user)
    assert router_of(cloud).vpn.remote.users == ()


def test_addresses_of_people_lie_apart_from_all_that_the_router_leads_to(api, site):
    cloud, user, vpc, address = site
    done(api, cloud, api("createStaticRoute", user, vpcid=vpc.id, cidr="10.60.0.0/24", nexthop="10.0.0.9"), user)
    gateway = done(api, cloud, api("createVpnGateway", user, vpcid=vpc.id), user)["vpngateway"]
    other = done(api, cloud, api("createVpnCustomerGateway", user, **AGREED), user)["vpncustomergateway"]
    ends = {"s2svpngatewayid": gateway["id"], "s2scustomergatewayid": other["id"]}
    done(api, cloud, api("createVpnConnection", user, **ends), user)
    for text, reason in (
        ("10.0.9.1-10.0.9.8", r"overlaps 10\.0\.0\.0/16, the range of VPC"),
        ("10.60.0.1-10.60.0.8", r"overlaps 10\.60\.0\.0/24, that of static route"),
        ("10.9.0.1-10.9.0.8", r"overlaps 10\.9\.0\.0/24, that of VPN customer gateway"),
    ):
        with pytest.raises(Refused, match=f"431 .*{reason}"):
            api("createRemoteAccessVpn", user, publicipid=address["id"], iprange=text)
    given = {"publicipid": address["id"], "iprange": "10.70.0.1-10.70.0.8"}
    done(api, cloud, api("createRemoteAccessVpn", user, **given), user)
    spec = router_of(cloud).vpn
    assert (spec.remote.first, len(spec.tunnels)) == ("10.70.0.2", 1)
    people = r"431 .*overlaps 10\.70\.0\.2-10\.70\.0\.8, the addresses that people are given"
    with pytest.raises(Refused, match=people):
        api("createStaticRoute", user, vpcid=vpc.id, cidr="10.70.0.0/24", nexthop="10.0.0.9")
    with pytest.raises(Refused, match=people):
        api("updateVpnCustomerGateway", user, id=other["id"], **{**AGREED, "cidrlist": "10.70.0.0/24"})
    more = {**AGREED, "gateway": "203.0.113.20", "cidrlist": "10.70.0.0/16"}
    third = done(api, cloud, api("createVpnCustomerGateway", user, **more), user)["vpncustomergateway"]
    with pytest.raises(Refused, match=people):
        api("createVpnConnection", user, **{**ends, "s2scustomergatewayid": third["id"]})


def test_vpcs_that_cannot_have_one(api, factory, site):
    cloud, user, vpc, address = site
    with pytest.raises(Refused, match=r"431 .*openfirewall cannot be false in a VPC"):
        api("createRemoteAccessVpn", user, publicipid=address["id"], openfirewall=False)
    further = done(api, cloud, api("associateIpAddress", user, vpcid=vpc.id), user)["ipaddress"]
    with pytest.raises(Refused, match=r"431 .* is not the source NAT of VPC"):
        api("createRemoteAccessVpn", user, publicipid=further["id"])
    factory.change(factory.first(VpcOffering, id=vpc.offering_id), services={"Dhcp": "VpcVirtualRouter"})
    with pytest.raises(Refused, match=r"431 .* has no service Vpn"):
        api("createRemoteAccessVpn", user, publicipid=address["id"])
    factory.change(factory.first(Vpc, id=vpc.id), state="Inactive")
    with pytest.raises(Refused, match=r"431 .* is being deleted"):
        api("createRemoteAccessVpn", user, publicipid=address["id"])
    with pytest.raises(Refused, match=r"431 .* has no remote access VPN"):
        api("deleteRemoteAccessVpn", user, publicipid=address["id"])


def test_what_the_router_of_a_vpc_refuses_is_taken_back(api, factory, site, vpn, monkeypatch):
    cloud, user, _, address = site
    assert vpn["state"] == "Running"
    apply = MemoryRouter.apply

    def refuse(self, spec):
        if spec.vpn is None or spec.vpn.remote.users:
            raise RouterFailedError("no charon here")
        apply(self, spec)

    monkeypatch.setattr(MemoryRouter, "apply", refuse)
    for command, given in (
        ("addVpnUser", {"username": "ann", "password": "Secret-1"}),
        ("deleteRemoteAccessVpn", {"publicipid": address["id"]}),
    ):
        answer = api(command, user, **given)
        cloud.settle()
        job = api("queryAsyncJobResult", user, jobid=answer["jobid"])
        assert (job["jobstatus"], "no charon here" in job["jobresult"]["errortext"]) == (2, True)
    assert [row.live for row in rows(factory, VpnUser)] == [None]
    assert [(row.state, row.removed) for row in rows(factory, RemoteAccessVpn)] == [("Running", None)]
    assert router_of(cloud).vpn.remote.users == ()
