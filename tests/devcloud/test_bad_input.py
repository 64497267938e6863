"""Bad input through the public API: CloudStack's code, the reason, and nothing left behind."""

import re
import uuid

import pytest
from cs import CloudStack

from devcloud.tenant import NETWORK_OFFERING
from tests.devcloud.watch import refused

UNVERIFIED = "unable to verify user credentials and/or request signature"
MEMORY_MIB = 2**20


def unknown(command, name, value):
    """The sentence by which Terraform's provider learns that a thing is gone."""
    return (
        f"Unable to execute API command {command.lower()} due to invalid value. Invalid parameter {name} "
        f"value={value} due to incorrect long value format, or entity does not exist or due to incorrect parameter "
        "annotation for the field in api cmd class."
    )


@pytest.fixture(scope="module")
def one(proof):
    return proof.tenants["tenant1"].client


@pytest.fixture(scope="module")
def two(proof):
    return proof.tenants["tenant2"].client


@pytest.fixture(scope="module")
def place(proof):
    return proof.place()


@pytest.fixture(scope="module")
def network(proof):
    """Parameters of a new network in the zone."""
    found = proof.root.listNetworkOfferings(name=NETWORK_OFFERING)["networkoffering"]
    return {"zoneid": proof.place()["zoneid"], "networkofferingid": found[0]["id"]}


# --- things that are not there, or not the caller's ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["zoneid", "templateid", "serviceofferingid", "networkids"])
def test_deployment_with_an_unknown_id(one, proof, place, name):
    missing = str(uuid.uuid4())
    parameters = {**place, "networkids": proof.tenants["tenant1"].network["id"], name: missing}
    told = refused(one.deployVirtualMachine, **parameters)
    assert told == (431, unknown("deployVirtualMachine", name, missing))


@pytest.fixture(scope="module")
def private(proof, cloud):
    """Things of tenant1's that tenant2 must not touch, by kind."""
    account = proof.root.listAccounts(name="tenant1", listall="true")["account"][0]
    made = proof.root.registerTemplate(
        name="private", url=f"file://{cloud.site.cache}/none", format="QCOW2", hypervisor="KVM",
        zoneid=proof.place()["zoneid"], account="tenant1", domainid=account["domainid"],
    )  # fmt: skip
    tenant = proof.tenants["tenant1"]
    vm = tenant.guests["one-a"].vm
    yield {
        "vm": vm["id"],
        "nic": vm["nic"][0]["id"],
        "network": tenant.network["id"],
        "template": made["template"][0]["id"],
    }
    proof.root.deleteTemplate(id=made["template"][0]["id"], fetch_result=True)


FOREIGN = [
    ("deployVirtualMachine", "networkids", "network"),
    ("deployVirtualMachine", "templateid", "template"),
    ("startVirtualMachine", "id", "vm"),
    ("stopVirtualMachine", "id", "vm"),
    ("rebootVirtualMachine", "id", "vm"),
    ("destroyVirtualMachine", "id", "vm"),
    ("recoverVirtualMachine", "id", "vm"),
    ("updateVirtualMachine", "id", "vm"),
    ("getVMPassword", "id", "vm"),
    ("resetPasswordForVirtualMachine", "id", "vm"),
    ("getConsoleOutput", "id", "vm"),
    ("listVirtualMachines", "id", "vm"),
    ("listNics", "virtualmachineid", "vm"),
    ("explainPlacement", "virtualmachineid", "vm"),
    ("listNetworks", "id", "network"),
    ("restartNetwork", "id", "network"),
    ("deleteNetwork", "id", "network"),
    ("deleteTemplate", "id", "template"),
]


@pytest.mark.parametrize("call", FOREIGN, ids=" ".join)
def test_what_is_of_others_is_as_unknown(two, proof, place, private, call):
    command, name, kind = call
    parameters = {}
    if command == "deployVirtualMachine":
        parameters = {**place, "networkids": proof.tenants["tenant2"].network["id"]}
    for value in (private[kind], str(uuid.uuid4())):
        told = refused(getattr(two, command), **{**parameters, name: value})
        assert told == (431, unknown(command, name, value))


def test_tags_on_things_of_others(two, private):
    tag = [{"key": "k", "value": "v"}]
    told = refused(two.createTags, resourcetype="UserVm", resourceids=private["vm"], tags=tag)
    assert told == (431, unknown("createTags", "resourceids", private["vm"]))


def test_key_pair_of_others(one, two, proof, place):
    one.createSSHKeyPair(name="only-ones")
    mine = proof.tenants["tenant2"].network["id"]
    told = refused(two.deployVirtualMachine, **place, networkids=mine, keypair="only-ones")
    assert told == (431, "The account tenant2 has no SSH key pair only-ones.")
    one.deleteSSHKeyPair(name="only-ones")


# --- what cannot be had ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def huge(root, network):
    """A service offering of 1 TiB of memory, and a network of the administrator's."""
    offering = root.createServiceOffering(
        name="huge", displaytext="huge", cpunumber=1, cpuspeed=100, memory=MEMORY_MIB, storagetype="local"
    )["serviceoffering"]["id"]
    network_id = root.createNetwork(name="roots", **network)["network"]["id"]
    yield {"serviceofferingid": offering, "networkids": network_id}
    root.deleteNetwork(id=network_id, fetch_result=True)
    root.deleteServiceOffering(id=offering)


def test_no_host_has_room(root, huge, place):
    def used():
        return {host["name"]: host["memoryallocated"] for host in root.listHosts(type="Routing")["host"]}

    before = used()
    code, text = refused(root.deployVirtualMachine, **{**place, **huge}, name="huge")
    assert code == 533
    assert text.startswith("No host has room for huge: ")
    assert sum(int(count) for count in re.findall(r"(\d) of 2 hosts: ", text)) == len(before)
    assert f"MiB of memory are free, {MEMORY_MIB} are needed" in text
    assert not any(name in text for name in before)
    (vm,) = root.listVirtualMachines(name="huge")["virtualmachine"]
    assert (vm["state"], vm["reason"], vm["nic"]) == ("Error", text, [])
    assert used() == before
    assert root.listVolumes(virtualmachineid=vm["id"]) == {}
    root.destroyVirtualMachine(id=vm["id"], expunge="true", fetch_result=True)
    assert root.listVirtualMachines(name="huge") == {}


def test_account_may_not_hold_so_much(one, huge, place, proof):
    wanted = {**place, **huge, "networkids": proof.tenants["tenant1"].network["id"]}
    code, text = refused(one.deployVirtualMachine, **wanted, name="huge")
    assert code == 535
    assert text.startswith("Account tenant1 may hold ")
    assert one.listVirtualMachines(name="huge") == {}


def test_addresses_are_used_up(one, root, place, network):
    made = one.createNetwork(name="small", gateway="10.9.9.1", netmask="255.255.255.248", **network)["network"]
    wanted = {**place, "networkids": made["id"], "startvm": "false"}
    vms = [one.deployVirtualMachine(name=f"small-{number}", **wanted)["id"] for number in range(4)]
    (nic,) = one.listVirtualMachines(id=vms[0])["virtualmachine"][0]["nic"]
    told = refused(one.deployVirtualMachine, name="same", ipaddress=nic["ipaddress"], **wanted)
    assert told == (533, f"Address {nic['ipaddress']} of network small is taken.")
    vms.append(one.deployVirtualMachine(name="small-4", **wanted)["id"])
    addresses = {vm["nic"][0]["ipaddress"] for vm in one.listVirtualMachines(networkid=made["id"])["virtualmachine"]}
    assert addresses == {f"10.9.9.{last}" for last in range(2, 7)}
    told = refused(one.deployVirtualMachine, name="last", **wanted)
    assert told == (533, "Network small (10.9.9.0/29) has no free address: 6 are in use.")
    assert one.listVirtualMachines(name="last") == {}
    for vm in vms:
        root.destroyVirtualMachine(id=vm, expunge="true", fetch_result=True)
    one.deleteNetwork(id=made["id"], fetch_result=True)


# --- names that are taken --------------------------------------------------------------------------------------------

PERSON = {"email": "a@cloud.test", "firstname": "A", "lastname": "B", "password": "password", "accounttype": 0}
TAKEN = {
    "zone": ("createZone", {"name": "devcloud", "dns1": "192.0.2.1", "internaldns1": "192.0.2.1",
                            "networktype": "Advanced"}, "A zone named devcloud exists already."),
    "service offering": ("createServiceOffering", {"name": "tiny", "displaytext": "x", "cpunumber": 1, "cpuspeed": 100,
                                                   "memory": 64}, "A service offering named tiny exists already."),
    "account": ("createAccount", {"account": "tenant1", "username": "other", **PERSON},
                "The domain ROOT has an account tenant1 already."),
    "user": ("createAccount", {"account": "other", "username": "tenant1", **PERSON},
             "The account's domain has a user tenant1 already."),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAKEN)
def test_name_is_taken(root, kind):
    command, parameters, text = TAKEN[kind]
    assert refused(getattr(root, command), **parameters) == (431, text)


def test_name_of_a_key_pair_or_vm_is_taken(one, proof, place):
    told = refused(one.createSSHKeyPair, name="proof")
    assert told == (431, "The account tenant1 has an SSH key pair proof already.")
    mine = proof.tenants["tenant1"].network["id"]
    for name in ("one-a", "ONE-A"):
        told = refused(one.deployVirtualMachine, **place, networkids=mine, name=name)
        assert told == (431, f"The account tenant1 has a virtual machine {name} already.")


# --- requests that are not believed ----------------------------------------------------------------------------------

OLD = {"signatureVersion": "3", "expires": "2020-01-02T03:04:05+0000"}
UNBELIEVED = {
    "another secret": ({"secret": "wrong"}, {}),
    "an unknown key": ({"key": "unknown"}, {}),
    "an expiry in the past": ({}, OLD),
    "an expiry that is no time": ({}, {**OLD, "expires": "soon"}),
    "no signature": ({"key": None, "secret": None}, {}),
}


@pytest.mark.parametrize("how", UNBELIEVED)
@pytest.mark.parametrize("method", ["get", "post"])
def test_request_is_not_believed(one, how, method):
    keys, parameters = UNBELIEVED[how]
    client = CloudStack(one.endpoint, **{"key": one.key, "secret": one.secret, "method": method, **keys})
    assert refused(client.listZones, **parameters) == (401, UNVERIFIED)


def test_unknown_command_and_one_of_administrators(one):
    assert refused(one.makeCoffee) == (401, UNVERIFIED)
    told = refused(one.listHosts)
    assert told == (432, "The API [listHosts] does not exist or is not available for the account tenant1.")


# --- parameters that are missing or wrong ----------------------------------------------------------------------------

ZONE, NETWORKS, OFFERING = object(), object(), object()
WRONG = "Unable to execute API command {} due to invalid value of parameter {}: {}"
MISSING = "Unable to execute API command {} due to missing parameter {}"
NOT_PRIVATE = (
    "The range 8.8.8.0/24 is not a private one; it must lie in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, "
    "100.64.0.0/10."
)
PARAMETERS = [
    ("createNetwork", {"zoneid": ZONE}, 431, MISSING.format("createnetwork", "name")),
    ("deployVirtualMachine", {"zoneid": ZONE}, 431, MISSING.format("deployvirtualmachine", "serviceofferingid")),
    ("startVirtualMachine", {}, 431, MISSING.format("startvirtualmachine", "id")),
    ("createSSHKeyPair", {"name": "x" * 256}, 431,
     WRONG.format("createsshkeypair", "name", "it has 256 characters, and at most 255 are possible.")),
    ("createSSHKeyPair", {"name": "a\x01b"}, 431,
     WRONG.format("createsshkeypair", "name", "it holds control characters.")),
    ("listZones", {"page": "x", "pagesize": 1}, 431,
     WRONG.format("listzones", "page", "x is not a whole number.")),
    ("listZones", {"page": 1, "pagesize": 501}, 431, "Page size can't exceed max allowed page size value: 500"),
    ("listZones", {"pagesize": 5}, 431, '"page" parameter is required when "pagesize" is specified'),
    ("listVirtualMachines", {"tags[0][1].key": "a"}, 430,
     "The parameter tags[0][1].key cannot be read; a map is written name[0].field=value."),
    ("deployVirtualMachine", {"name": "-a-"}, 431,
     "The name -a- is not a host name: 1 to 63 letters, digits and hyphens, with no hyphen at either end."),
    ("deployVirtualMachine", {"ipaddress": "10.2.2.2"}, 431,
     "The address 10.2.2.2 is not a host address of 10.1.1.0/24, the range of net."),
    ("deployVirtualMachine", {"ipaddress": "10.1.1.1"}, 431, "The address 10.1.1.1 is the gateway of network net."),
    ("deployVirtualMachine", {"ipaddress": "10.1.1.12"}, 533, "Address 10.1.1.12 of network net is taken."),
    ("deployVirtualMachine", {"userdata": "***"}, 431, "The user data is not base64."),
    ("createNetwork", {"name": "x", "networkofferingid": OFFERING, "zoneid": ZONE, "gateway": "8.8.8.1",
                       "netmask": "255.255.255.0"}, 431,
     NOT_PRIVATE),
]  # fmt: skip


@pytest.mark.parametrize("call", PARAMETERS, ids=lambda call: f"{call[0]} {' '.join(call[1])}")
def test_parameter_is_missing_or_wrong(one, proof, place, network, call):
    command, given, code, text = call
    known = {ZONE: place["zoneid"], OFFERING: network["networkofferingid"]}
    parameters = {name: known.get(value, value) for name, value in given.items()}
    if command == "deployVirtualMachine" and "zoneid" not in given:
        parameters = {**place, "networkids": proof.tenants["tenant1"].network["id"], **parameters}
    assert refused(getattr(one, command), **parameters) == (code, text)


# --- after all of that -----------------------------------------------------------------------------------------------


def test_nothing_stays_behind(proof):
    proof.settle()
    proof.check_truth()
    vms = proof.root.listVirtualMachines(listall="true")["virtualmachine"]
    assert {vm["name"] for vm in vms} == {"one-a", "one-b", "two-a", "two-b"}
