"""A network of the offering platinum on DevCloud: a real guest behind the emulated SRX and NetScaler."""

import json
import os
import signal
import sys
from dataclasses import replace

import pytest

from devcloud import hardware, underlay
from devcloud.processes import CommandError, output
from devcloud.proof import Proof
from tests.devcloud.watch import until

ADDRESS, SSH, GREETING = "10.7.7.11", 22, "SSH-2.0-"
WEB = f"wget -q -O - http://{underlay.INTERNET_HOST}/"


@pytest.fixture(scope="module")
def proof(cloud):
    """Without the guests of other tests."""
    return Proof(cloud)


@pytest.fixture(scope="module")
def tenant(proof):
    """One of the tenants with another network and a guest in it, until the last test."""
    own = replace(proof.tenants["tenant1"], guests={}, network={})
    own.ensure_key()
    offering = own.root.listNetworkOfferings(name="platinum")["networkoffering"][0]["id"]
    place, cidr = proof.place(), {"gateway": "10.7.7.1", "netmask": "255.255.255.0"}
    made = own.client.createNetwork(name="platinum", zoneid=place["zoneid"], networkofferingid=offering, **cidr)
    own.network = made["network"]
    own.ensure_guest("plat", ADDRESS, place)
    own.wait()
    return own


def greeting(cloud, address: str, port: int) -> str:
    """What a machine outside is greeted with there; '' when it is not."""
    code = f"import socket; s = socket.create_connection(('{address}', {port}), 5); s.settimeout(5); print(s.recv(40))"
    try:
        return output(underlay.enter(cloud.site.outside, [sys.executable, "-c", code]))
    except CommandError:
        return ""


def opened(tenant, port: int) -> tuple[str, str]:
    """Id and address of a new public address that lets everybody in at `port`."""
    client = tenant.client
    made = client.associateIpAddress(networkid=tenant.network["id"], fetch_result=True)["ipaddress"]
    ports = {"protocol": "tcp", "startport": port, "endport": port, "cidrlist": "0.0.0.0/0"}
    client.createFirewallRule(ipaddressid=made["id"], fetch_result=True, **ports)
    return made["id"], made["ipaddress"]


def test_the_guest_leaves_by_the_firewall(tenant):
    tenant.must("plat", "ip route", "default via 10.7.7.1")
    tenant.must("plat", "cat /root/user-data", "proved")
    shown = tenant.client.listPublicIpAddresses(associatednetworkid=tenant.network["id"], issourcenat="true")
    tenant.must("plat", WEB, shown["publicipaddress"][0]["ipaddress"])


def test_forwarded_static_and_balanced_addresses_lead_to_the_guest(cloud, tenant):
    client, vm = tenant.client, tenant.guests["plat"].vm["id"]
    forwarded, at_forwarded = opened(tenant, 2222)
    ports = {"publicport": 2222, "privateport": SSH, "protocol": "tcp", "openfirewall": "false"}
    client.createPortForwardingRule(ipaddressid=forwarded, virtualmachineid=vm, fetch_result=True, **ports)
    assert GREETING in until("the forwarded port", lambda: greeting(cloud, at_forwarded, 2222), 20)
    static, at_static = opened(tenant, SSH)
    client.enableStaticNat(ipaddressid=static, virtualmachineid=vm)
    assert GREETING in until("the static NAT", lambda: greeting(cloud, at_static, SSH), 20)
    balanced, at_balanced = opened(tenant, 2200)
    rule = {"name": "ssh", "algorithm": "roundrobin", "openfirewall": "false"}
    made = client.createLoadBalancerRule(
        publicipid=balanced, publicport=2200, privateport=SSH, fetch_result=True, **rule
    )
    client.assignToLoadBalancerRule(id=made["loadbalancer"]["id"], virtualmachineids=vm, fetch_result=True)
    assert GREETING in until("the balanced port", lambda: greeting(cloud, at_balanced, 2200), 20)


def test_devices_that_were_killed_come_back_as_they_were(cloud, tenant):
    def ended() -> dict[str, int]:
        return {one.name: one.ended for one in cloud.management.group.states() if one.pid}

    before = ended()
    for one in hardware.APPLIANCES:
        links = json.loads(output(["ip", "-n", cloud.site.device(one.name), "-json", "link"]))
        assert one.mac in {link["address"] for link in links}
        (pid,) = [state.pid for state in cloud.management.group.states() if state.name == one.name]
        os.kill(pid, signal.SIGKILL)
    names = [one.name for one in hardware.APPLIANCES]
    until("both devices", lambda: all(ended().get(name, 0) > before[name] for name in names), 20)
    until("the guest's way out", lambda: tenant.run("plat", WEB)[0] == 0, 30)


def test_a_network_that_is_deleted_leaves_devices_and_host(cloud, proof, tenant):
    host = cloud.existing_cells[0]
    cabled = {line for line in host.exec(["ovs-vsctl", "list-br"]).split() if line.startswith("pc-")}
    assert len(cabled) == len(hardware.APPLIANCES)
    proof.settle()
    proof.check_truth()
    tenant.root.destroyVirtualMachine(id=tenant.guests["plat"].vm["id"], expunge="true", fetch_result=True)
    tenant.client.deleteNetwork(id=tenant.network["id"], fetch_result=True)
    assert not cabled & set(host.exec(["ovs-vsctl", "list-br"]).split())
    for one in hardware.APPLIANCES:
        links = json.loads(output(["ip", "-n", cloud.site.device(one.name), "-json", "link"]))
        assert {link["ifname"] for link in links} == {"lo", one.management, one.public, one.guest}
    proof.settle()
    proof.check_truth()
