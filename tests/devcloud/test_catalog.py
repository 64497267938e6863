"""What the catalog offers, on gold (a virtual router) and on platinum (an SRX and a NetScaler), with real guests.

Both networks have the same addresses, and every test of a service runs on both.
"""

import json
import os
import signal
from dataclasses import replace

import pytest
from vici.exception import CommandException

from devcloud import hardware
from devcloud.processes import output
from devcloud.proof import Proof
from tests.devcloud.outside import ELSEWHERE, FETCH, GREETING, NEAR, at_home, greeting, server
from tests.devcloud.watch import until

KINDS = ("gold", "platinum")
GATEWAY, CIDR, NETMASK = "10.7.7.1", "10.7.7.0/24", "255.255.255.0"
ADDRESSES = {"a": "10.7.7.11", "b": "10.7.7.12"}
SSH, WEB_PORT = 22, 80
USER, PASSWORD = "ann", "ann-secret"


@pytest.fixture(scope="module")
def proof(cloud):
    """Without the guests of other tests."""
    return Proof(cloud)


@pytest.fixture(scope="module")
def networks(proof):
    """A tenant's network of each kind with two guests, `KIND-a` and `KIND-b`; the last tests take them away."""
    place, made = proof.place(), {}
    for kind in KINDS:
        own = replace(proof.tenants["tenant1"], guests={}, network={})
        own.ensure_key()
        offering = own.root.listNetworkOfferings(name=kind)["networkoffering"][0]["id"]
        own.network = own.client.createNetwork(
            name=kind, zoneid=place["zoneid"], networkofferingid=offering, gateway=GATEWAY, netmask=NETMASK
        )["network"]
        for name, address in ADDRESSES.items():
            own.ensure_guest(f"{kind}-{name}", address, place)
        made[kind] = own
    for own in made.values():
        own.wait()
    return made


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def tenant(networks, kind):
    return networks[kind]


@pytest.fixture
def vms(tenant, kind):
    return {name: tenant.guests[f"{kind}-{name}"].vm["id"] for name in ADDRESSES}


@pytest.fixture
def opened(tenant):
    """A function: id and address of a new public address that lets machines near it in at `port`, and no others."""
    ids = []

    def give(port):
        client = tenant.client
        made = client.associateIpAddress(networkid=tenant.network["id"], fetch_result=True)["ipaddress"]
        ids.append(made["id"])
        ports = {"protocol": "tcp", "startport": port, "endport": port, "cidrlist": f"{NEAR}/32"}
        client.createFirewallRule(ipaddressid=made["id"], fetch_result=True, **ports)
        return made["id"], made["ipaddress"]

    yield give
    for one in ids:
        tenant.client.disassociateIpAddress(id=one, fetch_result=True)


@pytest.fixture(scope="module")
def person(cloud, tmp_path_factory):
    with at_home(cloud.site, tmp_path_factory.mktemp("person") / "home") as one:
        yield one


def source_nat(tenant):
    shown = tenant.client.listPublicIpAddresses(associatednetworkid=tenant.network["id"], issourcenat="true")
    return shown["publicipaddress"][0]


def test_a_guest_leaves_by_its_networks_address_but_for_what_an_egress_rule_denies(tenant, kind):
    client, guest, web = tenant.client, f"{kind}-a", FETCH.format(ELSEWHERE)
    tenant.must(guest, "ip route", f"default via {GATEWAY}")
    tenant.must(guest, "cat /root/user-data", "proved")
    tenant.must(guest, web, source_nat(tenant)["ipaddress"])
    denied = {"protocol": "tcp", "startport": WEB_PORT, "endport": WEB_PORT}
    rule = client.createEgressFirewallRule(networkid=tenant.network["id"], fetch_result=True, **denied)
    assert tenant.run(guest, web)[0] != 0
    tenant.must(guest, f"ping -c 3 -W 3 {ELSEWHERE}", " 0% packet loss")
    client.deleteEgressFirewallRule(id=rule["firewallrule"]["id"], fetch_result=True)
    until("the web again", lambda: tenant.run(guest, web)[0] == 0, 20)


def test_a_forwarded_port_leads_to_its_guest_from_where_the_firewall_lets_in(cloud, tenant, vms, opened):
    address_id, address = opened(2222)
    ports = {"publicport": 2222, "privateport": SSH, "protocol": "tcp", "openfirewall": "false"}
    made = tenant.client.createPortForwardingRule(
        ipaddressid=address_id, virtualmachineid=vms["a"], fetch_result=True, **ports
    )
    until("the forwarded port", lambda: GREETING in greeting(cloud.site, address, 2222), 20)
    assert greeting(cloud.site, address, 2222, ELSEWHERE) == ""
    assert greeting(cloud.site, address, SSH) == ""
    tenant.client.deletePortForwardingRule(id=made["portforwardingrule"]["id"], fetch_result=True)
    assert greeting(cloud.site, address, 2222) == ""


def test_static_nat_gives_a_guest_an_address_of_its_own_both_ways(cloud, tenant, kind, vms, opened):
    address_id, address = opened(SSH)
    tenant.client.enableStaticNat(ipaddressid=address_id, virtualmachineid=vms["b"])
    until("the static NAT", lambda: GREETING in greeting(cloud.site, address, SSH), 20)
    assert greeting(cloud.site, address, SSH, ELSEWHERE) == ""
    assert server(cloud.site.outside, address) == "", "its firewall lets ssh in alone"
    web = FETCH.format(ELSEWHERE)
    tenant.must(f"{kind}-b", web, address)
    tenant.must(f"{kind}-a", web, source_nat(tenant)["ipaddress"])
    tenant.client.disableStaticNat(ipaddressid=address_id, fetch_result=True)
    assert greeting(cloud.site, address, SSH) == ""


def test_a_balancer_shares_among_its_guests_alone(cloud, tenant, kind, vms, opened):
    client = tenant.client
    address_id, address = opened(8080)
    rule = {"name": "web", "algorithm": "roundrobin", "openfirewall": "false"}
    made = client.createLoadBalancerRule(
        publicipid=address_id, publicport=8080, privateport=WEB_PORT, fetch_result=True, **rule
    )["loadbalancer"]
    members = {"id": made["id"], "fetch_result": True}
    client.assignToLoadBalancerRule(virtualmachineids=",".join(vms.values()), **members)

    def answers():
        return {server(cloud.site.outside, address, 8080) for _ in range(6)}

    until("both guests", lambda: answers() == {f"{kind}-a", f"{kind}-b"}, 30)
    assert server(cloud.site.outside, address, 8080, ELSEWHERE) == ""
    client.removeFromLoadBalancerRule(virtualmachineids=vms["a"], **members)
    until("the other guest alone", lambda: answers() == {f"{kind}-b"}, 30)
    client.deleteLoadBalancerRule(**members)
    assert server(cloud.site.outside, address, 8080) == ""


def test_people_reach_the_guests_of_their_network_by_vpn(tenant, kind, person):
    client, address = tenant.client, source_nat(tenant)
    client.addVpnUser(username=USER, password=PASSWORD, fetch_result=True)
    made = client.createRemoteAccessVpn(publicipid=address["id"], fetch_result=True)["remoteaccessvpn"]
    come = {"authority": made["certificate"], "end": made["publicip"], "inner": CIDR, "patience": 30.0}
    try:
        with pytest.raises(CommandException):
            person.connect(USER, "guessed", **come)
        given = person.connect(USER, PASSWORD, **come)
        until("a guest's web", lambda: server(person.ns, ADDRESSES["a"]) == f"{kind}-a", 30)
        assert server(person.ns, ADDRESSES["b"]) == f"{kind}-b", "and not that of the other network"
        until("the person, from a guest", lambda: tenant.run(f"{kind}-a", f"ping -c 1 -W 2 {given}")[0] == 0, 30)
    finally:
        client.removeVpnUser(username=USER, fetch_result=True)
    until("the person to be cut off", lambda: not person.is_connected(), 40)
    assert server(person.ns, ADDRESSES["a"]) == ""
    client.deleteRemoteAccessVpn(publicipid=address["id"], fetch_result=True)


def test_devices_that_were_killed_come_back_as_they_were(cloud, networks):
    def ended():
        return {one.name: one.ended for one in cloud.management.group.states() if one.pid}

    before = ended()
    for one in hardware.APPLIANCES:
        links = json.loads(output(["ip", "-n", cloud.site.device(one.name), "-json", "link"]))
        assert one.mac in {link["address"] for link in links}
        (pid,) = [state.pid for state in cloud.management.group.states() if state.name == one.name]
        os.kill(pid, signal.SIGKILL)
    names = [one.name for one in hardware.APPLIANCES]
    until("both devices", lambda: all(ended().get(name, 0) > before[name] for name in names), 20)
    web = FETCH.format(ELSEWHERE)
    until("the guest's way out", lambda: networks["platinum"].run("platinum-a", web)[0] == 0, 30)


def test_networks_that_are_deleted_leave_devices_and_hosts(cloud, proof, networks):
    host = cloud.existing_cells[0]
    cabled = {line for line in host.exec(["ovs-vsctl", "list-br"]).split() if line.startswith("pc-")}
    assert len(cabled) == len(hardware.APPLIANCES)
    proof.settle()
    proof.check_truth()
    for tenant in networks.values():
        for guest in tenant.guests.values():
            tenant.root.destroyVirtualMachine(id=guest.vm["id"], expunge="true", fetch_result=True)
        tenant.client.deleteNetwork(id=tenant.network["id"], fetch_result=True)
    assert not cabled & set(host.exec(["ovs-vsctl", "list-br"]).split())
    for one in hardware.APPLIANCES:
        links = json.loads(output(["ip", "-n", cloud.site.device(one.name), "-json", "link"]))
        assert {link["ifname"] for link in links} == {"lo", one.management, one.public, one.guest}
    proof.settle()
    proof.check_truth()
