"""VPN gateways, customer gateways and connections through the API, with the router of a VPC on a simulated host."""

from __future__ import annotations

import pytest
from sqlalchemy import inspect

from agents.contract import HostInventory, TunnelFacts
from manager import reports
from manager.models import (
    Host,
    Network,
    Nic,
    PublicAddress,
    Router,
    VlanIpRange,
    Vpc,
    VpcOffering,
    VpnConnection,
    VpnCustomerGateway,
    VpnGateway,
    WorkflowRow,
)
from network.elements.simulator import MemoryRouter
from network.errors import RouterFailedError
from tests.client import Refused
from tests.unit.api.live_cloud import costs, live_cloud, rows
from tests.unit.api.test_public_addresses import done, router_of

AGREED = {
    "gateway": "203.0.113.9", "cidrlist": "10.8.0.0/24,10.9.0.0/24", "ipsecpsk": "Agreed-1",
    "ikepolicy": "aes256-sha256;modp2048", "esppolicy": "aes128-sha1",
}  # fmt: skip


@pytest.fixture
def cloud_and_user(factory, tmp_path):
    return live_cloud(factory, tmp_path)


@pytest.fixture
def vpc(factory, cloud_and_user):
    """A VPC with one tier, whose router runs."""
    return vpc_in(factory, cloud_and_user[0], "10.0.0.0/16")


def vpc_in(factory, cloud, cidr):
    """A VPC with one tier and a source NAT address, whose router is on the first host."""
    owned = {"account_id": cloud.account_id, "zone_id": cloud.zone_id}
    offering = factory(VpcOffering, services={"Vpn": "VpcVirtualRouter"})
    vpc = factory(Vpc, cidr=cidr, offering_id=offering.id, **owned)
    plain = factory.first(Network, id=cloud.network_id)
    tier = factory(
        Network, vpc_id=vpc.id, cidr=cidr.replace("/16", "/24"), gateway=cidr.replace("0/16", "1"),
        offering_id=plain.offering_id, physical_network_id=plain.physical_network_id, **owned,
    )  # fmt: skip
    router = factory(Router, network_id=None, vpc_id=vpc.id, host_id=cloud.hosts[0], **owned)
    factory(Nic, network_id=tier.id, router_id=router.id, host_id=cloud.hosts[0], address=tier.gateway)
    span = factory.first(VlanIpRange)
    factory(PublicAddress, vpc_id=vpc.id, source_nat=True, range_id=span.id, **owned)
    return vpc


@pytest.fixture
def connected(api, cloud_and_user, vpc):
    """A connection, and the gateways at its ends."""
    cloud, user = cloud_and_user
    gateway = done(api, cloud, api("createVpnGateway", user, vpcid=vpc.id), user)["vpngateway"]
    other = done(api, cloud, api("createVpnCustomerGateway", user, **AGREED), user)["vpncustomergateway"]
    ends = {"s2svpngatewayid": gateway["id"], "s2scustomergatewayid": other["id"]}
    connection = done(api, cloud, api("createVpnConnection", user, **ends), user)["vpnconnection"]
    return connection, gateway, other


def tell(factory, cloud, *tunnels: tuple[str, str], sequence: int) -> None:
    """The first host's inventory, with the states of tunnels."""
    facts = HostInventory("now", sequence, tunnels=tuple(TunnelFacts(*one) for one in tunnels))
    reports._inventory(factory.first(Host, id=cloud.hosts[0]).agent_id, facts, {})


def test_a_connection_from_pending_to_removed(api, factory, cloud_and_user, vpc, connected):
    cloud, user = cloud_and_user
    connection, gateway, other = connected
    assert connection["state"] == "Connecting"
    assert connection["publicip"] == gateway["publicip"]
    assert {name: connection[name] for name in AGREED} == AGREED
    (tunnel,) = router_of(cloud).vpn.tunnels
    assert (tunnel.id, tunnel.address, tunnel.peer) == (connection["id"], gateway["publicip"], "203.0.113.9")
    assert (tunnel.near, tunnel.far) == (("10.0.0.0/16",), ("10.8.0.0/24", "10.9.0.0/24"))
    assert (tunnel.secret, tunnel.passive, tunnel.round) == ("Agreed-1", False, 0)
    answer = api("deleteVpnConnection", user, id=connection["id"])
    (shown,) = api("listVpnConnections", user, vpcid=vpc.id)["vpnconnection"]
    assert (shown["state"], shown["jobid"]) == ("Removed", answer["jobid"])
    assert done(api, cloud, answer, user) == {"success": True}
    assert router_of(cloud).vpn is None
    assert api("listVpnConnections", user) == {}
    for command, one in (("deleteVpnGateway", gateway), ("deleteVpnCustomerGateway", other)):
        assert done(api, cloud, api(command, user, id=one["id"]), user) == {"success": True}
    assert api("listVpnGateways", user) == api("listVpnCustomerGateways", user) == {}


def test_the_state_is_what_the_host_tells(api, factory, cloud_and_user, connected):
    cloud, user = cloud_and_user
    key = connected[0]["id"]
    for number, state in enumerate(("Connected", "Disconnected", "Connecting", "Disconnected", "Connected")):
        tell(factory, cloud, (key, state), sequence=number)
        assert api("listVpnConnections", user, id=key)["vpnconnection"][0]["state"] == state
    tell(factory, cloud, ("nobody's", "Connected"), sequence=99)
    api("deleteVpnConnection", user, id=key)
    tell(factory, cloud, (key, "Connected"), sequence=100)
    assert api("listVpnConnections", user, id=key)["vpnconnection"][0]["state"] == "Removed"


def test_secrets_are_sealed(api, factory, cloud_and_user, connected):
    cloud, user = cloud_and_user
    changed = {**AGREED, "ipsecpsk": "Agreed-2"}
    done(api, cloud, api("updateVpnCustomerGateway", user, id=connected[2]["id"], **changed), user)
    with factory.engine.connect() as connection:
        for table in inspect(factory.engine).get_table_names():
            for row in connection.exec_driver_sql(f'SELECT * FROM "{table}"'):  # noqa: S608 - a table's name
                assert "Agreed-" not in str(row), table


def test_a_customer_gateway_that_changes_is_told(api, cloud_and_user, connected):
    cloud, user = cloud_and_user
    _, _, other = connected
    changed = {**AGREED, "gateway": "203.0.113.10", "dpd": True, "ikeversion": "IKEv2", "cidrlist": "10.8.0.0/16"}
    shown = done(api, cloud, api("updateVpnCustomerGateway", user, id=other["id"], **changed), user)
    shown = shown["vpncustomergateway"]
    assert (shown["name"], shown["gateway"], shown["dpd"]) == ("VPN-203.0.113.9", "203.0.113.10", True)
    assert (shown["ikelifetime"], shown["esplifetime"], shown["ikeversion"]) == (86400, 3600, "ikev2")
    (tunnel,) = router_of(cloud).vpn.tunnels
    assert (tunnel.peer, tunnel.dpd, tunnel.version, tunnel.far) == ("203.0.113.10", True, "ikev2", ("10.8.0.0/16",))
    with pytest.raises(Refused, match=r"431 .*10\.0\.4\.0/24 of VPN customer gateway .* overlaps 10\.0\.0\.0/16"):
        api("updateVpnCustomerGateway", user, id=other["id"], **{**AGREED, "cidrlist": "10.0.4.0/24"})


def test_what_the_router_refuses_is_taken_back(api, factory, cloud_and_user, connected, monkeypatch):
    cloud, user = cloud_and_user
    connection, gateway, other = connected
    apply = MemoryRouter.apply

    def refuse(self, spec):
        if spec.vpn is not None and any(one.peer != "203.0.113.9" or one.round for one in spec.vpn.tunnels):
            raise RouterFailedError("no charon here")
        apply(self, spec)

    monkeypatch.setattr(MemoryRouter, "apply", refuse)
    answer = api("updateVpnCustomerGateway", user, id=other["id"], **{**AGREED, "gateway": "203.0.113.10"})
    cloud.settle()
    assert api("queryAsyncJobResult", user, jobid=answer["jobid"])["jobstatus"] == 2
    assert api("listVpnCustomerGateways", user)["vpncustomergateway"][0]["gateway"] == "203.0.113.9"
    more = {**AGREED, "gateway": "203.0.113.20", "cidrlist": "10.7.0.0/24"}
    third = done(api, cloud, api("createVpnCustomerGateway", user, **more), user)["vpncustomergateway"]
    answer = api("createVpnConnection", user, s2svpngatewayid=gateway["id"], s2scustomergatewayid=third["id"])
    cloud.settle()
    assert api("queryAsyncJobResult", user, jobid=answer["jobid"])["jobstatus"] == 2
    assert [one.id for one in router_of(cloud).vpn.tunnels] == [connection["id"]]
    assert api("listVpnConnections", user)["count"] == 1


def test_a_reset_sets_the_tunnel_up_anew(api, cloud_and_user, connected):
    cloud, user = cloud_and_user
    answer = api("resetVpnConnection", user, id=connected[0]["id"])
    assert done(api, cloud, answer, user)["vpnconnection"]["id"] == connected[0]["id"]
    assert router_of(cloud).vpn.tunnels[0].round == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"gateway": "vpn.example.org"}, "is not an IPv4 address"),
        ({"cidrlist": "10.8.0.1/24"}, "is not an IPv4 network"),
        ({"cidrlist": "10.8.0.0/24,10.8.0.0/16"}, "which overlap"),
        ({"cidrlist": "203.0.113.0/24"}, "in which the gateway"),
        ({"cidrlist": ",".join(f"10.{number}.0.0/16" for number in range(11))}, "has 11 networks; .* admits 10"),
        ({"ikepolicy": "aes256-sha256"}, "has the group ''"),
        ({"ikepolicy": "aes256-sha256;modp768"}, "has the group 'modp768' .* there are modp1024, modp1536"),
        ({"ikepolicy": "des-sha256;modp2048"}, "has the cipher 'des'"),
        ({"esppolicy": "aes256-crc"}, "has the hash 'crc'"),
        ({"esppolicy": "aes256-sha256;"}, "has the group ''"),
        ({"esppolicy": "aes256-sha256,"}, "has the cipher ''"),
        ({"ikelifetime": 299}, "299 is not within 300 and 86400"),
        ({"esplifetime": 86401}, "86401 is not within 300 and 86400"),
        ({"ikeversion": "ikev3"}, "ikev3 is none of ike, ikev1, ikev2"),
    ],
)
def test_customer_gateways_that_cannot_be(api, cloud_and_user, given, reason):
    with pytest.raises(Refused, match=rf"431 .*{reason}"):
        api("createVpnCustomerGateway", cloud_and_user[1], **{**AGREED, **given})


def test_each_thing_once_and_nothing_away_that_is_in_use(api, factory, cloud_and_user, vpc, connected):
    _, user = cloud_and_user
    _, gateway, other = connected
    for pattern, command, given in (
        ("has a VPN customer gateway VPN-203.0.113.9 already", "createVpnCustomerGateway", AGREED),
        ("has a VPN gateway already", "createVpnGateway", {"vpcid": vpc.id}),
        ("is connected to VPN customer gateway .* already", "createVpnConnection",
         {"s2svpngatewayid": gateway["id"], "s2scustomergatewayid": other["id"]}),
        ("has connections; delete those first", "deleteVpnGateway", {"id": gateway["id"]}),
        ("has connections; delete those first", "deleteVpnCustomerGateway", {"id": other["id"]}),
    ):  # fmt: skip
        with pytest.raises(Refused, match=f"431 .*{pattern}"):
            api(command, user, **given)


def test_ends_that_do_not_fit(api, admin, factory, cloud_and_user, vpc, connected):
    cloud, user = cloud_and_user
    _, gateway, _ = connected

    def connect(caller=user, **values):
        row = factory(VpnCustomerGateway, **{"account_id": cloud.account_id, "networks": ["10.7.0.0/24"], **values})
        return api("createVpnConnection", caller, s2svpngatewayid=gateway["id"], s2scustomergatewayid=row.id)

    with pytest.raises(Refused, match=r"431 .*10\.0\.9\.0/24 .* overlaps 10\.0\.0\.0/16 of the VPC"):
        connect(networks=["10.0.9.0/24"])
    with pytest.raises(Refused, match=r"431 .*overlaps 10\.8\.0\.0/24 of the VPN customer gateway VPN-203"):
        connect(networks=["10.8.0.128/25"])
    with pytest.raises(Refused, match=r"431 .*belongs to another account"):
        connect(admin, account_id=factory.account("else").id)
    api("updateConfiguration", admin, name="site2site.vpn.vpngateway.connection.limit", value=1)
    with pytest.raises(Refused, match=r"535 .*has 1 connections"):
        connect()


def test_a_gateway_begins_at_the_source_nat_address(api, factory, cloud_and_user, vpc):
    cloud, user = cloud_and_user
    span = factory.first(VlanIpRange)
    further = factory(
        PublicAddress, vpc_id=vpc.id, account_id=cloud.account_id, zone_id=cloud.zone_id, range_id=span.id
    )
    with pytest.raises(Refused, match=r"431 .*tunnels can begin at no other"):
        api("createVpnGateway", user, vpcid=vpc.id, ipaddressid=further.id)
    bare = factory(Vpc, account_id=cloud.account_id, zone_id=cloud.zone_id, offering_id=vpc.offering_id)
    with pytest.raises(Refused, match=r"431 .*has no source NAT address"):
        api("createVpnGateway", user, vpcid=bare.id)
    lame = factory(Vpc, account_id=cloud.account_id, zone_id=cloud.zone_id)
    with pytest.raises(Refused, match=r"431 .*has no service Vpn"):
        api("createVpnGateway", user, vpcid=lame.id)


def test_users_do_not_see_what_is_hidden(api, admin, cloud_and_user, connected):
    cloud, user = cloud_and_user
    connection, gateway, _ = connected
    for noun, key in (("VpnConnection", connection["id"]), ("VpnGateway", gateway["id"])):
        shown = done(api, cloud, api(f"update{noun}", admin, id=key, fordisplay=False), admin)[noun.lower()]
        assert shown["fordisplay"] is False
        assert api(f"list{noun}s", user) == {}
        assert api(f"list{noun}s", admin, listall=True, fordisplay=False)["count"] == 1


def test_lists_cost_the_same_for_any_number(api, engine, factory, cloud_and_user):
    cloud, user = cloud_and_user
    for model, command in (
        (VpnGateway, "listVpnGateways"),
        (VpnCustomerGateway, "listVpnCustomerGateways"),
        (VpnConnection, "listVpnConnections"),
    ):
        found = costs(
            engine,
            lambda model=model: factory(model, account_id=cloud.account_id),
            lambda command=command: api(command, user, page=1, pagesize=100),
        )
        assert len(set(found.values())) == 1, found


def test_no_job_keeps_a_secret(factory, api, cloud_and_user, connected):
    _, user = cloud_and_user
    api("updateVpnCustomerGateway", user, id=connected[2]["id"], **AGREED)
    assert all("Agreed-1" not in str(row.arguments) for row in rows(factory, WorkflowRow))
