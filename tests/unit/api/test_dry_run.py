"""dryrun=true through the API: it tells what the same call then does, and changes nothing by itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from manager import db
from manager.api.command import COMMANDS
from manager.models import Base, Network, NetworkAclList, Vpc
from network.flow_preview import flow_changes
from tests.client import Refused
from tests.unit.api.groups_world import guarded_network
from tests.unit.api.live_cloud import change, run
from tests.unit.api.test_public_addresses import done
from tests.unit.api.test_vpcs import new_tier, new_vpc

OPENING = {"protocol": "tcp", "startport": 80, "endport": 81, "cidrlist": "192.0.2.0/24"}


def stored(factory) -> dict[str, list]:
    """All rows of all tables but those that tell when somebody was here."""
    tables = [table for table in Base.metadata.sorted_tables if table.name not in ("api_keys", "users", "agents")]
    with db.transaction(factory.engine) as session:
        return {table.name: sorted(map(repr, session.execute(table.select()))) for table in tables}


def told(cloud) -> dict[str, tuple]:
    """By host: the views that it was told, and the routers."""
    hosts = [runner.host for runner in cloud.runners.values() if runner.host.switch]
    return {host.id: dict(host.switch.views) for host in hosts}


def rehearse(api, cloud, factory, caller, command, **given):
    """What the dry run tells; it changes nothing, and the real call changes the hosts' flows as it was told."""
    before = stored(factory)
    shown = api(command, caller, dryrun=True, **given)["dryrun"]
    as_root = api(command, api.admin, dryrun=True, **given)["dryrun"]
    assert stored(factory) == before
    assert cloud.take_messages() == []
    assert [set(one) & {"hostid", "hostname", "flows"} for one in shown["hosts"]] == [set()] * len(shown["hosts"])
    assert (shown["rulecount"], shown["rules"]) == (as_root["rulecount"], as_root["rules"])
    held = told(cloud)
    real = api(command, caller, **given)
    cloud.settle()
    wanted = {}
    for host_id, views in told(cloud).items():
        for network_id in views.keys() | held[host_id].keys():
            known = views.get(network_id) or held[host_id][network_id]
            nobody = replace(known, nics=(), peers=(), pair=())
            pair = (held[host_id].get(network_id, nobody), views.get(network_id, nobody))
            added, removed = flow_changes(host_id, *pair)
            if added or removed:
                wanted[host_id, network_id] = [*(f"- {line}" for line in removed), *(f"+ {line}" for line in added)]
    found = {(one["hostid"], one["networkid"]): one["flows"] for one in as_root["hosts"]}
    assert {key: unmarked(lines) for key, lines in found.items()} == {
        key: unmarked(lines) for key, lines in wanted.items()
    }
    return shown, real


def unmarked(lines: list[str]) -> list[str]:
    """Without cookies, a host's own numbers, and the order of a group's buckets.

    All three are made of ids, and what the dry run made had another id.
    """
    numbers = r"(?<=in_port=)10\d{3}|(?<=set_field:)0x[0-9a-f]+(?=->reg[137])"
    alike = [re.sub(numbers, "N", re.sub(r"cookie=0x[0-9a-f]+,", "", line)) for line in lines]
    return sorted(",bucket=".join(sorted(line.split(",bucket="))) for line in alike)


def entries(shown) -> list[tuple[str, str, str, dict]]:
    return [(one["where"], one["part"], one["change"], json.loads(one["rule"])) for one in shown["rules"]]


@pytest.fixture
def site(api, cloud, user, deploy):
    """The cloud, its user, a VM and a public address of its network."""
    vm = deploy(name="one")
    address = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    return cloud, user, vm, address


def test_rules_of_the_router(api, factory, site):
    cloud, user, vm, address = site
    shown, real = rehearse(api, cloud, factory, user, "createFirewallRule", ipaddressid=address["id"], **OPENING)
    traffic = {"protocol": "tcp", "first_port": 80, "last_port": 81, "sources": ["192.0.2.0/24"]}
    opening = {"address": address["ipaddress"], "traffic": traffic}
    assert entries(shown) == [("router", "openings", "add", opening)]
    assert shown["hostcount"] == 0
    shown, _ = rehearse(api, cloud, factory, user, "deleteFirewallRule", id=real["id"])
    assert entries(shown) == [("router", "openings", "remove", opening)]
    forwarding = {"ipaddressid": address["id"], "protocol": "tcp", "publicport": 8080, "privateport": 80,
                  "virtualmachineid": vm["id"], "openfirewall": False}  # fmt: skip
    shown, real = rehearse(api, cloud, factory, user, "createPortForwardingRule", **forwarding)
    assert entries(shown) == [
        ("router", "forwardings", "add", {"address": address["ipaddress"], "protocol": "tcp", "first_port": 8080,
         "last_port": 8080, "guest": vm["nic"][0]["ipaddress"], "guest_port": 80})]  # fmt: skip
    shown, _ = rehearse(api, cloud, factory, user, "deletePortForwardingRule", id=real["id"])
    assert [one[:3] for one in entries(shown)] == [("router", "forwardings", "remove")]
    shown, real = rehearse(api, cloud, factory, user, "createEgressFirewallRule", networkid=cloud.network_id,
                           protocol="udp", startport=53)  # fmt: skip
    assert entries(shown) == [("router", "legs.egress", "add", {"protocol": "udp", "first_port": 53, "last_port": 53})]
    shown, _ = rehearse(api, cloud, factory, user, "deleteEgressFirewallRule", id=real["id"])
    assert [one[:3] for one in entries(shown)] == [("router", "legs.egress", "remove")]
    nat = {"ipaddressid": address["id"], "virtualmachineid": vm["id"]}
    shown, _ = rehearse(api, cloud, factory, user, "enableStaticNat", **nat)
    assert ("router", "static_nats", "add") in [one[:3] for one in entries(shown)]
    shown, _ = rehearse(api, cloud, factory, user, "disableStaticNat", ipaddressid=address["id"])
    assert ("router", "static_nats", "remove") in [one[:3] for one in entries(shown)]


def test_items_of_an_acl_list(api, factory, cloud, user):
    vpc = factory(Vpc, account_id=cloud.account_id, zone_id=cloud.zone_id)
    acl = factory(NetworkAclList, account_id=cloud.account_id, vpc_id=vpc.id, name="web")
    change(factory, Network, cloud.network_id, vpc_id=vpc.id, acl_id=acl.id)
    cloud.deploy()
    cloud.settle()
    item = {"aclid": acl.id, "number": 10, **OPENING}
    shown, real = rehearse(api, cloud, factory, user, "createNetworkACL", **item)
    ((where, part, kind, rule),) = entries(shown)
    assert (where, part, kind) == ("hosts", "acl.rules", "add")
    assert (rule["direction"], rule["allow"], rule["traffic"]["first_port"]) == ("ingress", True, 80)
    assert shown["hostcount"] == 1
    assert shown["hosts"][0]["added"] > 0
    shown, _ = rehearse(api, cloud, factory, user, "updateNetworkACLItem", id=real["id"], action="deny")
    assert [one[1:3] for one in entries(shown)] == [("acl.rules", "remove"), ("acl.rules", "add")]
    shown, _ = rehearse(api, cloud, factory, user, "deleteNetworkACL", id=real["id"])
    assert [one[:3] for one in entries(shown)] == [("hosts", "acl.rules", "remove")]


def test_static_nat_in_a_vpc(api, factory, cloud, user):
    vpc = new_vpc(api, factory, cloud, user)
    new_tier(api, factory, cloud, user, vpc, number=2)
    tier = new_tier(api, factory, cloud, user, vpc)["id"]
    vm = cloud.deploy("web", tier)
    cloud.settle()
    address = done(api, cloud, api("associateIpAddress", user, vpcid=vpc["id"]), user)["ipaddress"]
    nat = {"ipaddressid": address["id"], "virtualmachineid": vm, "networkid": tier}
    shown, _ = rehearse(api, cloud, factory, user, "enableStaticNat", **nat)
    assert ("router", "static_nats", "add") in [one[:3] for one in entries(shown)]
    shown, _ = rehearse(api, cloud, factory, user, "disableStaticNat", ipaddressid=address["id"])
    assert ("router", "static_nats", "remove") in [one[:3] for one in entries(shown)]


def test_rules_of_security_groups(api, factory, cloud, user, wanted):
    group = api("createSecurityGroup", user, name="web")["securitygroup"]["id"]
    network = guarded_network(api, cloud, user)
    for _ in range(2):
        run(api, cloud, user, "deployVirtualMachine", securitygroupids=group, **wanted | {"networkids": network})
    shown, real = rehearse(api, cloud, factory, user, "authorizeSecurityGroupIngress", securitygroupid=group, **OPENING)
    assert [one[:3] for one in entries(shown)] == [("hosts", "groups.rules", "add")]
    assert shown["hostcount"] == len({one for one, views in told(cloud).items() if network in views}) > 0
    rule = api("queryAsyncJobResult", user, jobid=real["jobid"])["jobresult"]["securitygroup"]["ingressrule"][0]
    shown, _ = rehearse(api, cloud, factory, user, "revokeSecurityGroupIngress", id=rule["ruleid"])
    assert [one[:3] for one in entries(shown)] == [("hosts", "groups.rules", "remove")]


def test_what_would_be_refused_is_refused_and_leaves_no_event(api, factory, site):
    _, user, vm, address = site
    asked = {"ipaddressid": address["id"], "protocol": "tcp", "startport": 2, "endport": 1}
    before = stored(factory)
    with pytest.raises(Refused, match="431"):
        api("createFirewallRule", user, dryrun=True, **asked)
    with pytest.raises(Refused, match=r"431 The command stopVirtualMachine has no dryrun, so nothing was done\."):
        api("stopVirtualMachine", user, id=vm["id"], dryrun=True)
    assert stored(factory) == before
    assert api("listVirtualMachines", user, id=vm["id"], dryrun=True)["count"] == 1
    token = {"clienttoken": "t1", "ipaddressid": address["id"], **OPENING}
    assert api("createFirewallRule", user, dryrun=True, **token)["dryrun"]["rulecount"] == 1
    assert "jobid" in api("createFirewallRule", user, dryrun=False, **token)
    assert COMMANDS["createFirewallRule"].parameters["dryrun"].type_name == "boolean"
