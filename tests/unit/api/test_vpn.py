"""Remote access VPNs and their users through the API, with the in-process cloud."""

from __future__ import annotations

import base64
from ipaddress import IPv4Address

import pytest
from cryptography import x509

from manager.models import NetworkOffering, RemoteAccessVpn, VpnUser
from network.vpn import VpnUser as User
from tests.client import Refused
from tests.unit.api.live_cloud import costs, rows
from tests.unit.api.test_public_addresses import done, router_of, running  # noqa: F401 - running is a fixture


@pytest.fixture
def site(api, running):  # noqa: F811 - pytest gives the fixture of that name
    """The cloud, its user, and the public address of its network."""
    cloud, user = running
    (address,) = api("listPublicIpAddresses", user, listall=True)["publicipaddress"]
    return cloud, user, address


@pytest.fixture
def vpn(api, site):
    cloud, user, address = site
    return done(api, cloud, api("createRemoteAccessVpn", user, publicipid=address["id"]), user)["remoteaccessvpn"]


def test_a_vpn_from_added_to_removed(api, factory, site):
    cloud, user, address = site
    answer = api("createRemoteAccessVpn", user, publicipid=address["id"])
    (shown,) = api("listRemoteAccessVpns", user, publicipid=address["id"])["remoteaccessvpn"]
    assert (shown["state"], shown["jobid"], shown["id"]) == ("Added", answer["jobid"], answer["id"])
    vpn = done(api, cloud, answer, user)["remoteaccessvpn"]
    assert (vpn["state"], vpn["iprange"]) == ("Running", "10.1.2.2-10.1.2.8")
    assert vpn["publicip"] == address["ipaddress"]
    wanted = router_of(cloud).vpn.remote
    assert (wanted.address, wanted.first, wanted.last) == (address["ipaddress"], "10.1.2.2", "10.1.2.8")
    assert (wanted.guests, wanted.users, wanted.open_to_all) == (("10.1.1.0/24",), (), True)
    (stored,) = rows(factory, RemoteAccessVpn)
    assert stored.private_key.startswith("-----BEGIN PRIVATE KEY-----")
    answer = api("deleteRemoteAccessVpn", user, publicipid=address["id"])
    assert api("listRemoteAccessVpns", user, id=vpn["id"])["remoteaccessvpn"][0]["state"] == "Removed"
    assert done(api, cloud, answer, user) == {"success": True}
    assert router_of(cloud).vpn is None
    assert api("listRemoteAccessVpns", user) == {}
    with pytest.raises(Refused, match=r"431 .*has no remote access VPN"):
        api("deleteRemoteAccessVpn", user, publicipid=address["id"])
    done(api, cloud, api("createRemoteAccessVpn", user, publicipid=address["id"]), user)


def test_the_router_proves_itself_by_the_certificate_that_is_shown(api, site, vpn):
    cloud, _, address = site
    authority = x509.load_pem_x509_certificate(vpn["certificate"].encode())
    own = x509.load_der_x509_certificate(base64.b64decode(router_of(cloud).vpn.remote.certificate))
    own.verify_directly_issued_by(authority)
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [IPv4Address(address["ipaddress"])]
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_users_reach_the_router_and_leave_it(api, factory, site, vpn):
    cloud, user, _ = site
    answer = api("addVpnUser", user, username="ann", password="Secret-1")
    (shown,) = api("listVpnUsers", user, username="ann")["vpnuser"]
    assert (shown["state"], shown["id"], "password" in shown) == ("Add", answer["id"], False)
    assert done(api, cloud, answer, user)["vpnuser"]["state"] == "Active"
    assert router_of(cloud).vpn.remote.users == (User("ann", "Secret-1"),)
    with factory.engine.connect() as connection:
        ((stored,),) = connection.exec_driver_sql("SELECT password FROM vpn_users").all()
    assert "Secret-1" not in stored
    with pytest.raises(Refused, match=r"431 .* has a VPN user ann already"):
        api("addVpnUser", user, username="ann", password="Secret-2")
    answer = api("removeVpnUser", user, username="ann")
    assert api("listVpnUsers", user)["vpnuser"][0]["state"] == "Revoke"
    assert done(api, cloud, answer, user) == {"success": True}
    assert router_of(cloud).vpn.remote.users == ()
    assert api("listVpnUsers", user) == {}
    with pytest.raises(Refused, match=r"431 .* has no VPN user ann"):
        api("removeVpnUser", user, username="ann")


def test_users_may_be_there_before_the_vpn(api, site):
    cloud, user, address = site
    assert done(api, cloud, api("addVpnUser", user, username="bob", password="Secret-1"), user)["vpnuser"]["state"]
    done(api, cloud, api("createRemoteAccessVpn", user, publicipid=address["id"]), user)
    assert [one.name for one in router_of(cloud).vpn.remote.users] == ["bob"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"iprange": "10.1.2.1"}, "is not two IPv4 addresses"),
        ({"iprange": "10.1.2.8-10.1.2.1"}, "must hold 2 to 4097 addresses"),
        ({"iprange": "10.1.2.8-10.1.2.8"}, "must hold 2 to 4097 addresses"),
        ({"iprange": "10.0.0.0-10.9.0.0"}, "must hold 2 to 4097 addresses"),
        ({"iprange": "8.8.8.1-8.8.8.9"}, "is not one of private addresses"),
        ({"iprange": "10.1.1.200-10.1.2.8"}, r"overlaps 10\.1\.1\.0/24"),
    ],
)
def test_ranges_that_cannot_be(api, site, given, reason):
    _, user, address = site
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        api("createRemoteAccessVpn", user, publicipid=address["id"], **given)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"username": "a"}, "The username has a form"),
        ({"username": "a b c"}, "The username has a form"),
        ({"password": "ab"}, "The password has a form"),
        ({"password": "x" * 33}, "The password has a form"),
    ],
)
def test_users_that_cannot_be(api, site, given, reason):
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        api("addVpnUser", site[1], **{"username": "ann", "password": "Secret-1", **given})


def test_no_more_users_than_the_limit(api, admin, site):
    _, user, _ = site
    api("updateConfiguration", admin, name="remote.access.vpn.user.limit", value=2)
    for name in ("ann", "bob"):
        api("addVpnUser", user, username=name, password="Secret-1")
    with pytest.raises(Refused, match=r"535 .* has 2 VPN users"):
        api("addVpnUser", user, username="cid", password="Secret-1")


def test_a_vpn_and_rules_on_the_same_ports_refuse_each_other(api, site, vpn):
    cloud, user, address = site
    (vm,) = api("listVirtualMachines", user, listall=True)["virtualmachine"]
    given = {"ipaddressid": address["id"], "virtualmachineid": vm["id"], "privateport": 4500, "publicport": 4500}
    with pytest.raises(Refused, match=r"537 .* in use by remote access VPN"):
        api("createPortForwardingRule", user, protocol="udp", **given)
    api("createPortForwardingRule", user, protocol="tcp", **given)
    with pytest.raises(Refused, match=r"431 .* has a remote access VPN already"):
        api("createRemoteAccessVpn", user, publicipid=address["id"])
    further = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    api("createPortForwardingRule", user, protocol="udp", **given | {"ipaddressid": further["id"]})
    with pytest.raises(Refused, match=r"537 .* leads the ports of a VPN"):
        api("createRemoteAccessVpn", user, publicipid=further["id"])


def test_a_closed_vpn_takes_only_what_firewall_rules_let_in(api, site):
    cloud, user, address = site
    done(api, cloud, api("createRemoteAccessVpn", user, publicipid=address["id"], openfirewall=False), user)
    assert not router_of(cloud).vpn.remote.open_to_all


def test_a_vpn_on_a_further_address_keeps_it_and_goes_with_the_network(api, admin, factory, site):
    cloud, user, _ = site
    further = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    done(api, cloud, api("createRemoteAccessVpn", user, publicipid=further["id"]), user)
    with pytest.raises(Refused, match=r"537 .* in use by remote access VPN"):
        api("disassociateIpAddress", user, id=further["id"])
    (vm,) = api("listVirtualMachines", user, listall=True)["virtualmachine"]
    with pytest.raises(Refused, match=r"537 .* in use by remote access VPN"):
        api("enableStaticNat", user, ipaddressid=further["id"], virtualmachineid=vm["id"])
    done(api, cloud, api("destroyVirtualMachine", admin, id=vm["id"], expunge=True), admin)
    done(api, cloud, api("deleteNetwork", user, id=cloud.network_id), user)
    assert [row.removed is None for row in rows(factory, RemoteAccessVpn)] == [False]


def test_a_network_with_a_vpn_keeps_the_service(api, factory, site, vpn):
    cloud, user, _ = site
    fewer = dict.fromkeys(("Dhcp", "Dns", "SourceNat", "UserData"), "VirtualRouter")
    offering = factory(NetworkOffering, services=fewer)
    with pytest.raises(Refused, match=r"431 .*Vpn"):
        api("updateNetwork", user, id=cloud.network_id, networkofferingid=offering.id)


def test_users_do_not_see_a_hidden_vpn(api, admin, site, vpn):
    cloud, user, _ = site
    hidden = done(api, cloud, api("updateRemoteAccessVpn", admin, id=vpn["id"], fordisplay=False), admin)
    assert hidden["remoteaccessvpn"]["fordisplay"] is False
    assert api("listRemoteAccessVpns", user) == {}
    assert api("listRemoteAccessVpns", admin, listall=True, fordisplay=False)["count"] == 1
    assert api("listRemoteAccessVpns", admin, listall=True, fordisplay=True) == {}


def test_what_the_router_refuses_is_taken_back(api, factory, site, monkeypatch):
    from network.elements.simulator import MemoryRouter
    from network.errors import RouterFailedError

    cloud, user, address = site
    apply = MemoryRouter.apply

    def refuse(self, spec):
        if spec.vpn is not None:
            raise RouterFailedError("no charon here")
        apply(self, spec)

    monkeypatch.setattr(MemoryRouter, "apply", refuse)
    answer = api("createRemoteAccessVpn", user, publicipid=address["id"])
    cloud.settle()
    job = api("queryAsyncJobResult", user, jobid=answer["jobid"])
    assert (job["jobstatus"], "no charon here" in job["jobresult"]["errortext"]) == (2, True)
    assert [row.live for row in rows(factory, RemoteAccessVpn)] == [None]


def test_lists_cost_the_same_for_any_number(api, engine, factory, site):
    cloud, user, _ = site
    for model, command, values in (
        (VpnUser, "listVpnUsers", {"password": "x"}),
        (RemoteAccessVpn, "listRemoteAccessVpns", {}),
    ):
        found = costs(
            engine,
            lambda model=model, values=values: factory(model, account_id=cloud.account_id, **values),
            lambda command=command: api(command, user, page=1, pagesize=100),
        )
        assert len(set(found.values())) == 1, found
