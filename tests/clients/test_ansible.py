"""Ansible's ngine_io.cloudstack collection keeps a team's things: made once, found unchanged, taken away."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devcloud.cloud import ZONE

PLAYS = Path(__file__).with_name("ansible")


class Playbooks:
    """Plays against one server; `believed` is the file that build.yml leaves."""

    def __init__(self, simulator: Any, keys: Any, python: Path, home: Path) -> None:
        self.program = str(python.parent / "ansible-playbook")
        self.python = str(python)
        self.believed = home / "believed.json"
        self.environment = {
            **os.environ,
            "CLOUDSTACK_ENDPOINT": simulator.management.endpoint,
            "CLOUDSTACK_KEY": keys.apikey,
            "CLOUDSTACK_SECRET": keys.secretkey,
            "CLOUDSTACK_TIMEOUT": "60",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        }

    def play(self, name: str, **variables: str) -> list[str]:
        """The tasks that changed something; one that failed fails the test with what it said."""
        given = {"zone": ZONE, "believed": str(self.believed), **variables}
        given |= {"ansible_python_interpreter": self.python, "ansible_connection": "local"}
        argv = [self.program, str(PLAYS / name), "--extra-vars", json.dumps(given)]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.stdout.strip(), done.stderr
        told = json.loads(done.stdout[done.stdout.index("{") :])
        results = [task["hosts"]["localhost"] for play in told["plays"] for task in play["tasks"]]
        assert [result.get("msg") for result in results if result.get("failed")] == []
        assert done.returncode == 0, done.stderr
        tasks = [task for play in told["plays"] for task in play["tasks"]]
        return [task["task"]["name"] for task in tasks if task["hosts"]["localhost"].get("changed")]


@pytest.fixture(scope="module")
def playbooks(simulator, root_keys, client_python, tmp_path_factory):
    return Playbooks(simulator, root_keys, client_python, tmp_path_factory.mktemp("ansible"))


def test_what_ansible_builds_is_there(playbooks, root):
    changed = playbooks.play("build.yml")
    believed = json.loads(playbooks.believed.read_text())
    (vm,) = root.listVirtualMachines(name="web-1", listall="true")["virtualmachine"]
    assert (believed["web"]["state"], vm["state"]) == ("Running", "Running")
    assert believed["web"]["id"] == believed["seen"]["id"] == vm["id"]
    assert believed["seen"]["nic"][0]["ipaddress"] == vm["nic"][0]["ipaddress"]
    assert (vm["group"], vm["affinitygroup"][0]["name"]) == ("web", "apart")
    assert [(tag["key"], tag["value"]) for tag in vm["tags"]] == [("role", "web")]
    (key,) = root.listSSHKeyPairs(name="ansible-key")["sshkeypair"]
    assert (vm["keypairs"], key["fingerprint"]) == ("ansible-key", believed["key"]["fingerprint"])
    address = believed["address"]["ip_address"]
    (zone,) = root.listZones(name=ZONE)["zone"]
    (shown,) = root.listPublicIpAddresses(ipaddress=address, zoneid=zone["id"], listall="true")["publicipaddress"]
    assert shown["state"] == "Allocated"
    rules = root.listFirewallRules(ipaddressid=shown["id"], listall="true")["firewallrule"]
    assert sorted((rule["startport"], rule["cidrlist"], rule["state"]) for rule in rules) == [
        (80, "198.51.100.0/24", "Active"), (8443, "0.0.0.0/0", "Active"),
    ]  # fmt: skip
    (forward,) = root.listPortForwardingRules(ipaddressid=shown["id"], listall="true")["portforwardingrule"]
    assert (str(forward["privateport"]), forward["virtualmachineid"]) == ("8080", vm["id"])
    (group,) = root.listSecurityGroups(securitygroupname="ansible-web")["securitygroup"]
    assert {rule["protocol"] for rule in group["ingressrule"]} == {"tcp", "gre", "icmp"}
    assert [(rule["startport"], rule["endport"]) for rule in group["egressrule"]] == [(1, 1024)]
    (balancer,) = root.listLoadBalancerRules(publicipid=shown["id"], listall="true")["loadbalancerrule"]
    assert (balancer["name"], balancer["algorithm"], balancer["cidrlist"]) == (
        "web-balancer", "leastconn", "198.51.100.0/24",
    )  # fmt: skip
    assert (balancer["publicport"], balancer["privateport"], balancer["state"]) == ("8443", "8080", "Active")
    assert balancer["tags"] == [{"key": "role", "value": "web"}]
    (member,) = root.listLoadBalancerRuleInstances(id=balancer["id"])["loadbalancerruleinstance"]
    assert (member["id"], believed["balancer"]["vms"]) == (vm["id"], ["web-1"])
    (team,) = root.listAccounts(name="team", listall="true")["account"]
    assert {user["username"] for user in team["user"]} == {"tina", "tom"}
    assert (team["domainpath"], team["vmlimit"]) == ("ROOT/ansible", "7")
    assert len(changed) > 15


def test_a_second_play_changes_nothing(playbooks):
    """But the file that Ansible writes: a module tells of itself whether it changed something."""
    assert set(playbooks.play("build.yml")) <= {"what Ansible believes"}


def test_the_machine_is_stopped_started_and_restarted(playbooks, root):
    assert len(playbooks.play("change.yml")) == 3
    (vm,) = root.listVirtualMachines(name="web-1", listall="true")["virtualmachine"]
    assert vm["state"] == "Running"


def test_what_ansible_removes_is_gone(playbooks, root):
    address = json.loads(playbooks.believed.read_text())["address"]["ip_address"]
    playbooks.play("remove.yml", address=address)
    assert root.listVirtualMachines(name="web-1", listall="true") == {}
    assert root.listNetworks(name="ansible-net", listall="true") == {}
    assert root.listSSHKeyPairs(keyword="ansible") == {}
    assert root.listSecurityGroups(securitygroupname="ansible-web") == {}
    assert root.listDomains(name="ansible", listall="true") == {}
    assert root.listAccounts(name="team", listall="true") == {}
    (zone,) = root.listZones(name=ZONE)["zone"]
    asked = {"ipaddress": address, "zoneid": zone["id"], "allocatedonly": "false"}
    (shown,) = root.listPublicIpAddresses(**asked)["publicipaddress"]
    assert shown["state"] == "Free"


def test_a_vpc_with_its_list_and_its_vpn(playbooks, root):
    assert len(playbooks.play("vpc.yml")) == 9
    (vpc,) = root.listVPCs(name="ansible-vpc", listall="true")["vpc"]
    assert (vpc["cidr"], vpc["networkdomain"], vpc["state"]) == ("10.50.0.0/16", "ansible.example", "Enabled")
    assert [(tag["key"], tag["value"]) for tag in vpc["tags"]] == [("by", "ansible")]
    (acl,) = root.listNetworkACLLists(name="ansible-acl", listall="true")["networkacllist"]
    (tier,) = root.listNetworks(vpcid=vpc["id"], listall="true")["network"]
    assert (tier["name"], tier["aclid"], tier["cidr"]) == ("ansible-tier", acl["id"], "10.50.1.0/24")
    items = root.listNetworkACLs(aclid=acl["id"], listall="true")["networkacl"]
    assert [(one["number"], one["protocol"], one["traffictype"], one["action"]) for one in items] == [
        (1, "tcp", "Ingress", "Allow"), (2, "icmp", "Egress", "Deny"),
    ]  # fmt: skip
    assert items[0]["cidrlist"] == "198.51.100.0/24,203.0.113.0/24"
    (connection,) = root.listVpnConnections(vpcid=vpc["id"], listall="true")["vpnconnection"]
    assert (connection["gateway"], connection["passive"]) == ("203.0.113.80", True)
    assert len(playbooks.play("vpc.yml", action="allow")) == 1
    items = root.listNetworkACLs(aclid=acl["id"], listall="true")["networkacl"]
    assert [one["action"] for one in items] == ["Allow", "Allow"]
    assert len(playbooks.play("vpc_gone.yml")) == 8
    assert root.listVPCs(name="ansible-vpc", listall="true") == {}
    assert root.listVpnCustomerGateways(listall="true", keyword="ansible") == {}
    assert root.listVPCOfferings(name="ansible-vpcs") == {}
