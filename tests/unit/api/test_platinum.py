"""Gold and platinum through the same calls: a tenant sees no difference, and those who serve are told the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from manager import db
from manager.models import NetworkOffering
from manager.workflows.views import present
from network.vpn import RemoteAccess
from tests.client import Refused
from tests.unit.api.live_cloud import rows as rows_of
from tests.unit.api.live_cloud import run
from tests.unit.workflows.hardware import add_devices, parts_of

HTTP = {"protocol": "tcp", "publicport": 80, "privateport": 8080}


@pytest.fixture
def ordered(api, cloud, user, factory):
    """A function that gives the user a network of an offering with a running VM: (network id, VM id)."""
    add_devices(cloud)
    (gold,) = rows_of(factory, NetworkOffering, name="gold")
    factory(NetworkOffering, name="balanced", services={**gold.services, "Lb": "Netscaler"})
    offerings = {one.name: one.id for one in rows_of(factory, NetworkOffering)}

    def make(offering: str) -> tuple[str, str]:
        given = {"zoneid": cloud.zone_id, "name": offering, "networkofferingid": offerings[offering]}
        network = api("createNetwork", user, **given)["network"]["id"]
        vm = cloud.deploy(f"vm-{offering}", network)
        cloud.settle()
        return network, vm

    return make


def furnish(api, cloud, user, network: str, vm: str) -> dict[str, dict[str, Any]]:
    """Rules of every kind; what the tenant is shown of them, by kind."""

    def do(command: str, **given: Any) -> Any:
        return next(iter(run(api, cloud, user, command, **given).values()))

    nat, led, balanced = (do("associateIpAddress", networkid=network)["id"] for _ in range(3))
    api("enableStaticNat", user, ipaddressid=nat, virtualmachineid=vm)
    shown = {
        "firewall": do("createFirewallRule", ipaddressid=nat, protocol="tcp", startport=22, cidrlist="192.0.2.0/24")
    }
    shown["egress"] = do("createEgressFirewallRule", networkid=network, protocol="udp", startport=53, endport=53)
    shown["forwarding"] = do("createPortForwardingRule", ipaddressid=led, virtualmachineid=vm, **HTTP)
    balancer = do("createLoadBalancerRule", publicipid=balanced, name="web", algorithm="leastconn", publicport=443,
                  privateport=8443)  # fmt: skip
    shown["balancer"] = balancer
    one = {"lbruleid": balancer["id"]}
    run(api, cloud, user, "assignToLoadBalancerRule", id=balancer["id"], virtualmachineids=vm)
    shown["sticky"] = do("createLBStickinessPolicy", **one, name="s", methodname="LbCookie",
                         params={"param[0].name": "cookie-name", "param[0].value": "C"})  # fmt: skip
    shown["health"] = do("createLBHealthCheckPolicy", **one, pingpath="/health")
    return shown


def shape(shown: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is shown without what names a thing."""
    own = ("id", "ip", "ipaddress", "tags", "lbruleid", "network", "virtualmachine", "vmguestip", "jobid", "policy")
    return {
        kind: {key: value for key, value in one.items() if not any(part in key for part in own)}
        for kind, one in shown.items()
    }


def told(cloud, network: str) -> dict[str, Any]:
    """What all who serve the network publish together, without what names a thing."""
    with db.transaction() as s:
        commands = list(present(s, network).commands.values())
    specs = [command.router for command in commands if command.router]
    parts = parts_of(cloud, network)
    specs += [part.router for part in parts.values() if part.router]
    balanced = [part.balanced for part in parts.values() if part.balanced]
    balancers = [one for spec in (*specs, *balanced) for one in spec.balancers]
    openings = {opening for spec in (*specs, *balanced) for opening in spec.openings}
    return {
        "forwardings": [replace(one, address="", guest="") for spec in specs for one in spec.forwardings],
        "static_nats": sum(len(spec.static_nats) for spec in specs),
        "openings": sorted(repr(opening.traffic) for opening in openings),
        "egress": [traffic for spec in specs for leg in spec.legs for traffic in leg.egress],
        "balancers": [replace(one, id="", address="", members=len(one.members)) for one in balancers],
    }


def test_the_same_calls_give_the_same(api, cloud, user, ordered):
    both = {offering: ordered(offering) for offering in ("gold", "platinum")}
    shown = {offering: furnish(api, cloud, user, *place) for offering, place in both.items()}
    assert shape(shown["gold"]) == shape(shown["platinum"])
    assert told(cloud, both["gold"][0]) == told(cloud, both["platinum"][0])
    network, _ = both["platinum"]
    parts = parts_of(cloud, network)
    firewall, balancer = parts["srx"].router, parts["netscaler"].balanced
    assert (len(firewall.forwardings), len(firewall.static_nats), firewall.balancers) == (1, 1, ())
    assert {one.address for one in firewall.openings}.isdisjoint({one.address for one in balancer.openings})
    assert {one.address for one in balancer.balancers} == {one.address for one in balancer.openings}
    assert balancer.balancers[0].address not in firewall.addresses
    shown_routers = {one["guestnetworkid"]: one for one in api("listRouters", listall=True)["router"]}
    assert "publicip" in shown_routers[both["gold"][0]]
    assert not {"publicip", "gateway"} & shown_routers[network].keys()
    for kind, command in (("balancer", "deleteLoadBalancerRule"), ("forwarding", "deletePortForwardingRule")):
        run(api, cloud, user, command, id=shown["platinum"][kind]["id"])
    parts = parts_of(cloud, network)
    assert (parts["srx"].router.forwardings, parts["netscaler"].balanced.balancers) == ((), ())


def test_remote_access_is_the_same(api, cloud, user, ordered):
    """Its certificate, address and ids aside: what a tenant is shown, and what gateway is told."""
    shown, gateways = {}, {}
    run(api, cloud, user, "addVpnUser", username="ann", password="Secret-1")
    for offering in ("gold", "platinum"):
        network, _ = ordered(offering)
        source = rows_of_source(api, user, network)
        given = {"publicipid": source, "openfirewall": False}
        made = run(api, cloud, user, "createRemoteAccessVpn", **given)["remoteaccessvpn"]
        assert made["certificate"].startswith("-----BEGIN CERTIFICATE-----")
        shown[offering] = {name: made[name] for name in made if name not in OF_ONE_VPN}
        name = f"of-{offering}"
        run(api, cloud, user, "addVpnUser", username=name, password="Secret-2")
        with_both = gateway(cloud, network)
        run(api, cloud, user, "removeVpnUser", username=name)
        told_last = gateway(cloud, network)
        assert {one.name for one in with_both.users} - {one.name for one in told_last.users} == {name}
        assert told_last.address == made["publicip"]
        gateways[offering] = replace(told_last, id="", address="", certificate="", private_key="")
        run(api, cloud, user, "deleteRemoteAccessVpn", publicipid=source)
        assert gateway(cloud, network) is None
    assert shown["gold"] == shown["platinum"]
    assert gateways["gold"] == gateways["platinum"]
    assert [one.name for one in gateways["gold"].users] == ["ann"]


OF_ONE_VPN = ("id", "publicipid", "publicip", "certificate", "jobid")


def gateway(cloud, network: str) -> RemoteAccess | None:
    """What the one that serves remote access was told of it."""
    with db.transaction() as s:
        specs = [command.router for command in present(s, network).commands.values() if command.router]
    specs += [part.router for part in parts_of(cloud, network).values() if part.router]
    found = [spec.vpn.remote for spec in specs if spec.vpn is not None]
    assert len(found) < 2
    return found[0] if found else None


def test_a_load_balancer_beside_a_virtual_router(api, cloud, user, ordered):
    both = {offering: ordered(offering) for offering in ("gold", "balanced")}
    shown = {offering: furnish(api, cloud, user, *place) for offering, place in both.items()}
    assert shape(shown["gold"]) == shape(shown["balanced"])
    assert told(cloud, both["gold"][0]) == told(cloud, both["balanced"][0])
    parts = parts_of(cloud, both["balanced"][0])
    assert set(parts) == {"netscaler"}
    with db.transaction() as s:
        (router,) = [one.router for one in present(s, both["balanced"][0]).commands.values() if one.router]
    (balanced,) = parts["netscaler"].balanced.balancers
    assert (router.balancers, len(router.addresses), balanced.address in router.addresses) == ((), 2, False)
    assert (router.legs[0].nic.address, router.legs[0].gateway) == ("10.1.1.1", "")
    assert router.public is not None


def rows_of_source(api, user, network: str) -> str:
    (found,) = api("listPublicIpAddresses", user, associatednetworkid=network, issourcenat=True)["publicipaddress"]
    return found["id"]


def test_what_a_device_cannot_do_is_refused_at_once(api, cloud, user, factory, ordered):
    network, vm = ordered("platinum")
    source = rows_of_source(api, user, network)
    rule = {"name": "web", "algorithm": "source", "publicport": 80, "privateport": 80}
    with pytest.raises(
        Refused, match=r"431 .* is that of source NAT, and the offering platinum balances by a device of"
    ):
        api("createLoadBalancerRule", user, publicipid=source, **rule)
    run(api, cloud, user, "createPortForwardingRule", ipaddressid=source, virtualmachineid=vm, **HTTP)
    address = run(api, cloud, user, "associateIpAddress", networkid=network)["ipaddress"]
    with pytest.raises(
        Refused, match=r"431 .* is a NetScaler, which balances tcp and ssl and does not speak the PROXY"
    ):
        api("createLoadBalancerRule", user, publicipid=address["id"], protocol="tcp-proxy", **rule)
    made = run(api, cloud, user, "createLoadBalancerRule", publicipid=address["id"], **rule)
    one = {"lbruleid": made["loadbalancer"]["id"], "name": "s", "methodname": "LbCookie"}
    for name, value, reason in (
        ("nocache", "true", "of the method LbCookie it does not know nocache, but cookie-name, mode"),
        ("mode", "rewrite", "which makes its own cookie: the mode is insert, not rewrite"),
    ):
        with pytest.raises(Refused, match=f"431 .*NetScaler.*{reason}"):
            api("createLBStickinessPolicy", user, **one, params={"param[0].name": name, "param[0].value": value})
    with pytest.raises(Refused, match=r"431 .* is that of load balancing, and the offering platinum balances by"):
        api("createPortForwardingRule", user, ipaddressid=address["id"], virtualmachineid=vm,
            **{**HTTP, "publicport": 81})  # fmt: skip
    with pytest.raises(Refused, match=r"431 .* is balanced by a device; it cannot be the source NAT"):
        api("updateNetwork", user, id=network, sourcenatipaddress=address["ipaddress"])
    (gold,) = rows_of(factory, NetworkOffering, name="gold")
    with pytest.raises(Refused, match=r"431 .* is Implemented: what devices give it stays on them"):
        api("updateNetwork", user, id=network, networkofferingid=gold.id)


def test_a_rehearsal_tells_what_a_device_would_do_and_never_how_it_is_reached(api, cloud, user, ordered):
    told_of = {}
    for offering in ("gold", "platinum"):
        network, vm = ordered(offering)
        run(api, cloud, user, "createRemoteAccessVpn", publicipid=rows_of_source(api, user, network))
        address = run(api, cloud, user, "associateIpAddress", networkid=network)["ipaddress"]
        api("enableStaticNat", user, ipaddressid=address["id"], virtualmachineid=vm)
        cloud.settle()
        answer = api("createFirewallRule", user, ipaddressid=address["id"], protocol="tcp", startport=22, dryrun=True)
        rules = answer["dryrun"]["rules"]
        told_of[offering] = [(one["where"], one["part"], one["change"]) for one in rules]
        assert "password" not in repr(answer)
    assert told_of["gold"] == told_of["platinum"] == [("router", "openings", "add")]


POLICIES = ("health", "sticky")
CHANGES: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("health", "LBHealthCheckPolicies", "LBHealthCheckPolicy", {}),
    ("sticky", "LBStickinessPolicies", "LBStickinessPolicy", {}),
    ("firewall", "FirewallRules", "FirewallRule", {}),
    ("egress", "EgressFirewallRules", "EgressFirewallRule", {}),
    ("forwarding", "PortForwardingRules", "PortForwardingRule", {"privateport": 8081}),
    ("balancer", "LoadBalancerRules", "LoadBalancerRule", {"algorithm": "roundrobin"}),
)
"""By kind of rule: its names in the commands that list and change it, and what is changed, if it can be."""


def test_rules_are_listed_changed_and_deleted_alike(api, cloud, user, ordered):
    seen: dict[str, list[Any]] = {}
    for offering in ("gold", "platinum"):
        network, vm = ordered(offering)
        shown = furnish(api, cloud, user, network, vm)
        if offering == "platinum":
            devices = {kind: part.vlan for kind, part in parts_of(cloud, network).items()}
        seen[offering] = list(journey(api, cloud, user, network, shown))
    assert seen["gold"] == seen["platinum"]
    assert seen["gold"][-1] == {"forwardings": [], "static_nats": 0, "openings": [], "egress": [], "balancers": []}
    run(api, cloud, user, "restartNetwork", id=network, cleanup=True)
    assert {kind: part.vlan for kind, part in parts_of(cloud, network).items()} == devices


def journey(api, cloud, user, network: str, shown: dict[str, dict[str, Any]]) -> Iterator[Any]:
    """What a tenant sees of each kind as it is listed, changed and deleted, and what providers are told then."""
    for kind, many, one, change in CHANGES:
        # A policy is shown as the one of its rule.
        parts = [value[0]["id"] for value in shown[kind].values() if isinstance(value, list) and kind in POLICIES]
        key = parts[0] if parts else shown[kind]["id"]
        own = {"lbruleid": shown["balancer"]["id"]} if parts else {"id": key}

        def listed(own=own, many=many, kind=kind) -> Any:
            found = next((value for value in api(f"list{many}", user, **own).values() if isinstance(value, list)), [])
            return [shape({kind: entry}) for entry in found]

        yield many, listed()
        if change:
            run(api, cloud, user, f"update{one}", id=key, **change)
            yield f"update{one}", listed(), told(cloud, network)
        if kind == "balancer":
            members = api("listLoadBalancerRuleInstances", user, id=key)
            yield one, members["count"]
        run(api, cloud, user, f"delete{one}", id=key)
        yield f"delete{one}", len(listed()) if own.get("id") else 0, told(cloud, network)
    listing = {"associatednetworkid": network, "isstaticnat": True}
    (address,) = api("listPublicIpAddresses", user, **listing)["publicipaddress"]
    run(api, cloud, user, "disableStaticNat", ipaddressid=address["id"])
    yield api("listPublicIpAddresses", user, **listing).get("count", 0)
    yield told(cloud, network)
