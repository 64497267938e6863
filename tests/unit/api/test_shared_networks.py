"""Shared networks: who makes them and for whom, who sees and uses them, what their guests are told."""

from __future__ import annotations

import pytest

from manager.models import Account, Host, Network, NetworkOffering, Nic, Router, Template, TunnelKey, Vm
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import change, run

RANGE = {"gateway": "10.9.0.1", "netmask": "255.255.255.0", "startip": "10.9.0.100", "endip": "10.9.0.120"}


@pytest.fixture
def offering(factory, cloud) -> str:
    return factory.first(NetworkOffering, name="DefaultSharedNetworkOffering").id


@pytest.fixture
def place(cloud, offering):
    return {"zoneid": cloud.zone_id, "networkofferingid": offering}


@pytest.fixture
def free(factory, cloud):
    """An offering of shared networks that not root administrators alone may use."""
    services = {"Dhcp": "VirtualRouter", "UserData": "VirtualRouter"}
    return factory(NetworkOffering, name="free", guest_ip_type="Shared", specify_ip_ranges=True, services=services).id


@pytest.fixture
def world(api, cloud, user, factory, engine):
    change(factory, Template, cloud.template_id, is_public=True)
    return api, cloud, user, factory, engine


@pytest.fixture
def shared(api, place):
    return api("createNetwork", name="shared", vlan="4242", **RANGE, **place)["network"]


def names(api, caller=None, **given) -> set[str]:
    return {one["name"] for one in api("listNetworks", caller, **given).get("network", [])}


def neighbour(factory, engine, name="neighbour", domain=None) -> Caller:
    account = factory.account(name, domain or factory.root)
    return Caller.of(engine, factory.user(name, account).username)


def test_an_administrators_shared_network_is_for_the_domain_and_belongs_to_no_tenant(api, factory, shared):
    assert (shared["type"], shared["acltype"], shared["subdomainaccess"]) == ("Shared", "Domain", True)
    assert shared["domainid"] == factory.root.id
    assert "account" not in shared
    assert (shared["cidr"], shared["gateway"], shared["vlan"]) == ("10.9.0.0/24", "10.9.0.1", "4242")
    assert (shared["specifyvlan"], shared["specifyipranges"]) == (True, True)
    assert factory.first(TunnelKey, network_id=shared["id"]).key == 4242
    row = factory.first(Network, id=shared["id"])
    assert factory.first(Account, id=row.account_id).name == "system"


def test_guests_of_two_accounts_are_in_it_and_the_gateway_is_not_its_router(world, shared, wanted):
    api, cloud, user, factory, engine = world
    other = neighbour(factory, engine)
    given = {**wanted, "networkids": shared["id"], "name": "same"}
    first = run(api, cloud, user, "deployVirtualMachine", **given)["virtualmachine"]
    second = run(api, cloud, other, "deployVirtualMachine", **given)["virtualmachine"]
    for vm in (first, second):
        (nic,) = vm["nic"]
        assert (nic["gateway"], nic["type"]) == ("10.9.0.1", "Shared")
        assert "10.9.0.100" <= nic["ipaddress"] <= "10.9.0.120"
    router = factory.first(Router, network_id=shared["id"])
    own = factory.first(Nic, router_id=router.id).address
    assert "10.9.0.100" <= own <= "10.9.0.120"
    spec = next(s for s in specs(cloud) if s.id == router.id)
    (leg,) = spec.legs
    assert (leg.gateway, spec.public, leg.nic.address) == ("10.9.0.1", None, own)
    assert sorted(lease.hostname for lease in leg.leases) == ["same", f"same-{second['id'][:8]}"]
    for view in views(cloud, shared["id"]):
        assert view.gateway_outside
        assert view.key == 4242
    with pytest.raises(Refused, match="still has 2 NICs"):
        api("deleteNetwork", id=shared["id"])
    assert factory.first(Vm, id=first["id"]).account_id != factory.first(Vm, id=second["id"]).account_id


def hosts(cloud):
    return [runner.host for runner in cloud.runners.values() if runner.host.routers is not None]


def specs(cloud):
    return [spec for host in hosts(cloud) for spec in host.routers.specs.values()]


def views(cloud, network_id):
    found = [host.switch.views[network_id] for host in hosts(cloud) if network_id in host.switch.views]
    assert found
    return found


def test_who_sees_and_uses_it(world, place, shared, wanted):
    api, _, _, factory, engine = world
    inner = factory.domain("inner")
    below = neighbour(factory, engine, "below", inner)
    beside = neighbour(factory, engine, "beside", factory.domain("beside"))
    api("createNetwork", name="narrow", domainid=inner.id, subdomainaccess=False, **RANGE, **place)
    deep = neighbour(factory, engine, "deep", factory.domain("deep", inner))
    assert names(api, below) == {"shared", "narrow"}
    assert names(api, beside) == names(api, deep) == {"shared"}
    narrow = factory.first(Network, name="narrow").id
    for caller in (beside, deep):
        with pytest.raises(Refused, match=r"431 .*networkids"):
            api("deployVirtualMachine", caller, **{**wanted, "networkids": narrow})
    for caller in (below, beside):
        for command in ("deleteNetwork", "updateNetwork", "restartNetwork"):
            with pytest.raises(Refused, match="431"):
                api(command, caller, id=shared["id"])
        for command in ("associateIpAddress", "createEgressFirewallRule"):
            with pytest.raises(Refused, match=r"431 .*networkid"):
                api(command, caller, networkid=shared["id"], protocol="all")
    assert names(api, below, networkfilter="Account") == set()
    assert names(api, below, networkfilter="Domain") == {"shared", "narrow"}
    assert names(api, below, type="Isolated") == set()
    assert names(api, below, acltype="Domain", type="shared") == {"shared", "narrow"}
    assert names(api, below, specifyipranges=False) == set()
    assert names(api, id=shared["id"]) == {"shared"}


def test_a_root_administrator_may_not_put_an_account_where_it_may_not_be(api, factory, engine, place, wanted):
    inner = factory.domain("inner")
    api("createNetwork", name="narrow", domainid=inner.id, **RANGE, **place)
    factory.account("outsider")
    narrow = factory.first(Network, name="narrow").id
    with pytest.raises(Refused, match=r"531 The network narrow .* is not the account outsider's, and not open to it"):
        api("deployVirtualMachine", **{**wanted, "networkids": narrow}, account="outsider", domainid=factory.root.id)


def test_domain_administrators_manage_those_of_their_domain(api, factory, engine, free, cloud):
    inner = factory.domain("inner")
    account = factory.account("chief", inner, type=2)
    chief = Caller.of(engine, factory.user("chief", account).username)
    made = api("createNetwork", chief, name="ours", zoneid=cloud.zone_id, networkofferingid=free, **RANGE)["network"]
    assert (made["acltype"], made["domainid"]) == ("Domain", inner.id)
    api("updateNetwork", chief, id=made["id"], displaytext="all of us")
    member = neighbour(factory, engine, "member", inner)
    with pytest.raises(Refused, match="531 Networks with the acltype Domain are made by administrators"):
        api("createNetwork", member, name="x", zoneid=cloud.zone_id, networkofferingid=free, acltype="Domain", **RANGE)
    own = api("createNetwork", member, name="own", zoneid=cloud.zone_id, networkofferingid=free, **RANGE)["network"]
    assert (own["acltype"], own["account"]) == ("Account", "member")
    with pytest.raises(Refused, match="531 Networks of the offering DefaultSharedNetworkOffering are made by root"):
        api("createNetwork", member, name="y", zoneid=cloud.zone_id, **RANGE,
            networkofferingid=factory.first(NetworkOffering, name="DefaultSharedNetworkOffering").id)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"gateway": None}, "431 The parameter gateway is missing"),
        ({"startip": None}, "431 The parameter startip is missing"),
        ({"startip": "10.9.0.1"}, "431 The gateway 10.9.0.1 lies within"),
        ({"endip": "10.9.1.1"}, "431 The endip 10.9.1.1 is no host address"),
        ({"netmask": "255.0.0.0"}, "431 The range 10.0.0.0/8 has the prefix /8"),
        ({"routerip": "10.9.1.5"}, "431 .* 10.9.1.5 is no host address"),
        ({"vlan": "0"}, "431 The vlan 0 is no GRE key"),
        ({"vlan": "vlan://nine"}, "431 The vlan vlan://nine is no GRE key"),
        ({"acltype": "Account", "subdomainaccess": True}, "431 The parameter subdomainaccess is for networks"),
        ({"acltype": "Domain", "account": "admin"}, "431 .*"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_stays(api, place, given, reason):
    with pytest.raises(Refused, match=reason):
        api("createNetwork", name="x", **{**RANGE, **place, **given})
    assert names(api, listall=True, type="Shared") == set()


def test_a_key_is_given_once(api, place, shared):
    with pytest.raises(Refused, match="431 The tunnel key 4242 belongs to another network of the zone, or did"):
        api("createNetwork", name="again", vlan="gre://4242", **RANGE, **place)


def test_the_router_has_the_address_that_is_asked_for(api, cloud, user, factory, place, wanted):
    narrow = {**RANGE, "startip": "10.9.0.2", "endip": "10.9.0.3", "routerip": "10.9.0.2"}
    made = api("createNetwork", name="r", **narrow, **place)["network"]
    with pytest.raises(Refused, match=r"Address 10.9.0.2 of network r is taken"):
        api("deployVirtualMachine", user, **{**wanted, "networkids": made["id"], "ipaddress": "10.9.0.2"})
    run(api, cloud, user, "deployVirtualMachine", **{**wanted, "networkids": made["id"]})
    router = factory.first(Router, network_id=made["id"])
    assert factory.first(Nic, router_id=router.id).address == "10.9.0.2"
    assert factory.first(Host, id=router.host_id) is not None


def test_it_goes_with_its_domain_and_its_guests(world, place, wanted):
    api, cloud, _, factory, engine = world
    inner = factory.domain("inner")
    member = neighbour(factory, engine, "member", inner)
    made = api("createNetwork", name="ours", domainid=inner.id, **RANGE, **place)["network"]
    run(api, cloud, member, "deployVirtualMachine", **{**wanted, "networkids": made["id"]})
    with pytest.raises(Refused):
        run(api, cloud, None, "deleteDomain", id=inner.id, cleanup=False)
    run(api, cloud, None, "deleteDomain", id=inner.id, cleanup=True)
    assert factory.first(Network, id=made["id"]).removed is not None


def test_a_part_of_its_range_is_not_reserved(api, shared):
    with pytest.raises(Refused, match="431 The network shared is Shared; guestvmcidr is for Isolated networks"):
        api("updateNetwork", id=shared["id"], guestvmcidr="10.9.0.0/25")
