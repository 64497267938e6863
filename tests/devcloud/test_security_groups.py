"""Security groups with real guests and packets: denied, allowed, by group, revoked, changed while they run."""

import re
import threading

import pytest

from devcloud.tenant import Guest, Tenant
from tests.devcloud.watch import job_result, until

ADDRESSES = {"sg-server": "10.1.1.31", "sg-client": "10.1.1.32"}
SERVICES = "Dhcp,Dns,SourceNat,UserData,SecurityGroup"
ROUTER = "10.1.1.1/32"
KEY = "groups"


class Groups:
    """A tenant's network with security groups, and a server and a client in it, on different hosts.

    Both are in the group `ssh`, which lets the router in, from where the tests reach them.
    """

    def __init__(self, tenant, ids):
        self.tenant, self.client, self.ids = tenant, tenant.client, ids

    def authorize(self, group, way="Ingress", **given):
        """The id of the rule that is made."""
        call = getattr(self.client, f"authorizeSecurityGroup{way}")
        made = call(securitygroupid=self.ids[group], fetch_result=True, **given)["securitygroup"]
        (rule,) = made[f"{way.lower()}rule"]
        return rule["ruleid"]

    def revoke(self, rule, way="Ingress"):
        getattr(self.client, f"revokeSecurityGroup{way}")(id=rule, fetch_result=True)

    def put(self, guest, *groups):
        wanted = ",".join(self.ids[group] for group in groups)
        self.client.updateVirtualMachine(id=self.tenant.guests[guest].vm["id"], securitygroupids=wanted)

    def pings(self, count=3, source="sg-client", target="sg-server"):
        """How many of so many pings are answered."""
        told = self.tenant.run(source, f"ping -c {count} -i 0.3 -W 1 {ADDRESSES[target]}")[1]
        return int(re.search(r"(\d+) packets received", told)[1])

    def banner(self):
        """What the server's port 22 says to the client."""
        return self.tenant.run("sg-client", f"nc -w 3 {ADDRESSES['sg-server']} 22 </dev/null | head -c 3")[1]


@pytest.fixture(scope="module")
def groups(proof):
    client = proof.tenants["tenant1"].client
    key_file = proof.cloud.site.secrets / "groups.pem"
    key_file.touch(0o600)
    key_file.write_text(client.createSSHKeyPair(name=KEY)["keypair"]["privatekey"])
    tenant = Tenant("groups", client, proof.root, proof.cells, key_file, KEY)
    kind = {"guestiptype": "Isolated", "traffictype": "Guest", "enable": "true", "displaytext": "d"}
    offering = proof.root.createNetworkOffering(name="guarded", supportedservices=SERVICES, **kind)["networkoffering"]
    place = proof.place()
    made = client.createNetwork(name="guarded", zoneid=place["zoneid"], networkofferingid=offering["id"])
    tenant.network = made["network"]
    names = ("ssh", "servers", "clients")
    ids = {name: client.createSecurityGroup(name=name)["securitygroup"]["id"] for name in names}
    found = Groups(tenant, ids)
    found.authorize("ssh", protocol="tcp", startport=22, endport=22, cidrlist=ROUTER)
    wanted = {"networkids": tenant.network["id"], "keypair": KEY, **place}
    of = {"sg-server": "ssh,servers", "sg-client": "ssh,clients"}
    started = {
        name: client.deployVirtualMachine(name=name, ipaddress=address, securitygroupnames=of[name], **wanted)
        for name, address in ADDRESSES.items()
    }
    for name, answer in started.items():
        vm = job_result(client, answer)["virtualmachine"]
        tenant.guests[name] = Guest(vm, ADDRESSES[name], tenant.network["id"])
    tenant.wait()
    assert len({guest.vm["hostname"] for guest in tenant.guests.values()}) == 2
    return found


@pytest.fixture
def untouched(groups):
    """The guests are in their groups and nothing but ssh from the router is allowed, before and after."""
    yield groups
    groups.put("sg-client", "ssh", "clients")
    for group in ("servers", "clients"):
        (shown,) = groups.client.listSecurityGroups(id=groups.ids[group])["securitygroup"]
        for way in ("Ingress", "Egress"):
            for rule in shown[f"{way.lower()}rule"]:
                groups.revoke(rule["ruleid"], way)


def test_nothing_comes_in_that_no_rule_allows(untouched):
    assert untouched.pings() == 0
    assert "SSH" not in untouched.banner()
    rule = untouched.authorize("servers", protocol="icmp", cidrlist="10.1.1.0/24")
    assert untouched.pings() == 3
    assert "SSH" not in untouched.banner()
    untouched.revoke(rule)
    assert untouched.pings() == 0
    untouched.authorize("servers", protocol="tcp", startport=20, endport=25, cidrlist="10.1.1.32/32")
    assert "SSH" in untouched.banner()
    assert untouched.pings() == 0


def test_what_leaves_is_allowed_until_the_first_egress_rule(untouched):
    untouched.authorize("servers", cidrlist="0.0.0.0/0")
    assert untouched.pings() == 3
    rule = untouched.authorize("clients", "Egress", protocol="tcp", startport=22, endport=22, cidrlist="10.1.1.31/32")
    assert untouched.pings() == 0
    assert "SSH" in untouched.banner()
    untouched.revoke(rule, "Egress")
    assert untouched.pings() == 3


def test_a_group_lets_in_who_is_in_another_while_it_is_in_it(untouched):
    own = {"usersecuritygrouplist[0].account": "tenant1", "usersecuritygrouplist[0].group": "clients"}
    untouched.authorize("servers", protocol="icmp", **own)
    assert untouched.pings() == 3
    untouched.put("sg-client", "ssh")
    until("the hosts to be told", lambda: untouched.pings(1) == 0, 30)
    untouched.put("sg-client", "ssh", "clients")
    until("the hosts to be told", lambda: untouched.pings(1) == 1, 30)


def test_a_revoked_rule_cuts_what_it_had_allowed(untouched):
    """Every ping of one run is the same connection."""
    rule = untouched.authorize("servers", protocol="icmp", cidrlist="0.0.0.0/0")
    answered = []
    run = threading.Thread(target=lambda: answered.append(untouched.pings(40)))
    run.start()
    run.join(4)
    untouched.revoke(rule)
    run.join()
    assert 3 <= answered[0] < 35


def test_a_guest_that_was_stopped_and_started_has_its_rules(untouched):
    untouched.authorize("servers", protocol="icmp", cidrlist="10.1.1.32/32")
    vm_id = untouched.tenant.guests["sg-server"].vm["id"]
    untouched.client.stopVirtualMachine(id=vm_id, forced="true", fetch_result=True)
    untouched.client.startVirtualMachine(id=vm_id, fetch_result=True)
    until("the server to answer", lambda: untouched.pings(1) == 1, 90)
    assert "SSH" not in untouched.banner()
