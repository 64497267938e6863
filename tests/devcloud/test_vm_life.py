"""The life of virtual machines with real guests: what they keep, what they give back, what they are told."""

import base64
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from devcloud import underlay
from devcloud.tenant import Guest, Tenant
from network.names import tap_name
from tests.devcloud.watch import job_result, refused, until

KEY = "life"
ADDRESSES = {"life-a": "10.1.1.21", "life-b": "10.1.1.22"}
MIB = 2**20
MEMORY = 128 * MIB
TELL_SHUTDOWN = "grep -q asked /etc/rc.shutdown || sed -i '1a echo asked >/root/asked' /etc/rc.shutdown"
"""Has the guest leave a file when it shuts down in good order."""


@dataclass
class Life:
    """A network of tenant1's with two guests; `passwords` are those that their deployments told."""

    tenant: Tenant
    passwords: dict[str, str]

    def vm(self, name):
        """The virtual machine as the administrator sees it now."""
        vm_id = self.tenant.guests[name].vm["id"]
        return self.tenant.root.listVirtualMachines(id=vm_id, listall="true")["virtualmachine"][0]

    def id(self, name):
        return self.tenant.guests[name].vm["id"]

    def client(self):
        return self.tenant.client

    def do(self, command, name, **parameters):
        """The VM in the result of a job of the tenant's."""
        result = getattr(self.tenant.client, command)(id=self.id(name), fetch_result=True, **parameters)
        return result["virtualmachine"]

    def run(self, name, command):
        return self.tenant.must(name, command).strip()

    def boot_id(self, name):
        return self.run(name, "cat /proc/sys/kernel/random/boot_id")

    def answers(self, name, seconds=60):
        """Wait until one can log in to the guest and it is ready; gives the id of its boot."""
        until(f"ssh to {name}", lambda: self.tenant.run(name, "test -e /run/ready")[0] == 0, seconds)
        return self.boot_id(name)

    def cell(self, name):
        return self.tenant.cells[self.tenant.guests[name].vm["hostname"]]

    def is_on_its_host(self, name):
        """Whether the host has the domain, and whether it has the port, of the guest."""
        vm = self.tenant.guests[name].vm
        domains = self.cell(name).exec(["virsh", "list", "--all", "--name"]).split()
        ports = self.cell(name).exec(["ovs-vsctl", "list-ports", "br-int"]).split()
        return vm["instancename"] in domains, tap_name(vm["nic"][0]["id"]) in ports

    def memory_used(self, name):
        (host,) = self.tenant.root.listHosts(name=self.cell(name).name)["host"]
        return host["memoryallocated"]


def ssh_with_password(life, name, password):
    """Exit code and output of `id -un` in the guest, logged in by password."""
    script = life.tenant.key_file.with_suffix(".askpass")
    script.write_text(f"#!/bin/sh\necho '{password}'\n")
    script.chmod(0o700)
    options = ("-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1")
    return life.tenant.ssh(name, "id -un", *options, env={"SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force"})


@pytest.fixture(scope="module")
def deployed(proof):
    client = proof.tenants["tenant1"].client
    key_file = proof.cloud.site.secrets / "life.pem"
    key_file.touch(0o600)
    key_file.write_text(client.createSSHKeyPair(name=KEY)["keypair"]["privatekey"])
    tenant = Tenant("life", client, proof.root, proof.cells, key_file, KEY)
    place = proof.place()
    tenant.ensure_network(place["zoneid"], "life")
    wanted = {"networkids": tenant.network["id"], "keypair": KEY, **place}
    started = {
        name: client.deployVirtualMachine(name=name, ipaddress=address, **wanted) for name, address in ADDRESSES.items()
    }
    results = {name: job_result(client, answer)["virtualmachine"] for name, answer in started.items()}
    for name, vm in results.items():
        tenant.guests[name] = Guest(vm, ADDRESSES[name], tenant.network["id"])
    life = Life(tenant, {name: vm["password"] for name, vm in results.items()})
    for name in ADDRESSES:
        tenant.guests[name].vm = life.vm(name)
        life.answers(name)
    return life


@pytest.fixture
def life(deployed):
    """Both guests, running and ready whatever a test did to them."""
    stopped = [name for name in ADDRESSES if deployed.vm(name)["state"] == "Stopped"]
    for name in stopped:
        deployed.do("startVirtualMachine", name)
    for name in ADDRESSES:
        deployed.answers(name)
    return deployed


# --- what is told and shown ------------------------------------------------------------------------------------------


def test_console_tells_the_boot(life):
    text = life.client().getConsoleOutput(id=life.id("life-a"), fetch_result=True)["consoleoutput"]["output"]
    for line in ("dhcp request eth0", "address 10.1.1.21", "hostname life-a", "ssh key installed", "password set"):
        assert f"pileus: {line}" in text
    assert "pileus: ready" in text


def test_password_of_the_deployment_logs_in(life):
    assert ssh_with_password(life, "life-a", life.passwords["life-a"]) == (0, "root\n")
    code, text = ssh_with_password(life, "life-a", life.passwords["life-b"])
    assert code == 255
    assert "Permission denied" in text


def test_password_is_sealed_for_the_holder_of_the_key(life):
    sealed = life.client().getVMPassword(id=life.id("life-a"))["password"]["encryptedpassword"]
    key = load_pem_private_key(life.tenant.key_file.read_bytes(), None)
    assert key.decrypt(base64.b64decode(sealed), padding.PKCS1v15()).decode() == life.passwords["life-a"]


def test_nics_are_those_that_the_guest_has(life):
    (nic,) = life.client().listNics(virtualmachineid=life.id("life-a"))["nic"]
    assert (nic["ipaddress"], nic["networkid"], nic["isdefault"]) == ("10.1.1.21", life.tenant.network["id"], True)
    link = life.run("life-a", "ip link show dev eth0")
    assert nic["macaddress"] in link
    assert f"mtu {nic['mtu']} " in link
    assert life.client().listNics(virtualmachineid=life.id("life-a"), keyword="10.1.1.99") == {}


def test_tags_find_the_vm(life):
    client, vm_id = life.client(), life.id("life-a")
    tag = {"key": "role", "value": "web"}
    client.createTags(resourcetype="UserVm", resourceids=vm_id, tags=[tag], fetch_result=True)
    try:
        found = client.listVirtualMachines(tags=[tag])["virtualmachine"]
        assert [vm["id"] for vm in found] == [vm_id]
        assert [(one["key"], one["value"]) for one in found[0]["tags"]] == [("role", "web")]
        assert client.listVirtualMachines(tags=[{"key": "role", "value": "database"}]) == {}
        told = refused(client.createTags, resourcetype="UserVm", resourceids=vm_id, tags=[tag])
        assert told == (431, "One of the things has a tag of the key role already.")
    finally:
        client.deleteTags(resourcetype="UserVm", resourceids=vm_id, tags=[tag], fetch_result=True)
    assert client.listTags(resourceid=vm_id) == {}


def test_placement_of_a_new_vm_is_explained(life, root, proof):
    verdicts = root.explainPlacement(**proof.place())["placement"]
    assert {verdict["host"] for verdict in verdicts} == {"host1", "host2"}
    assert [verdict["rank"] for verdict in verdicts] == [1, 2]
    assert [verdict["chosen"] for verdict in verdicts] == [True, False]
    shown = life.client().explainPlacement(**proof.place())["placement"]
    assert [verdict["host"] for verdict in shown] == ["host 1", "host 2"]
    assert not any("hostid" in verdict for verdict in shown)


# --- stop, start, reboot ---------------------------------------------------------------------------------------------


def test_stopped_vm_keeps_disk_and_address_and_gives_back_the_rest(life, root):
    life.run("life-a", f"echo kept > /root/kept; {TELL_SHUTDOWN}; rm -f /root/asked; sync")
    before, boot, used = life.vm("life-a"), life.boot_id("life-a"), life.memory_used("life-a")

    stopped = life.do("stopVirtualMachine", "life-a")
    assert stopped["state"] == "Stopped"
    assert "hostname" not in life.vm("life-a")
    assert life.is_on_its_host("life-a") == (False, False)
    assert life.memory_used("life-a") == used - MEMORY
    (nic,) = life.client().listNics(virtualmachineid=life.id("life-a"))["nic"]
    assert (nic["ipaddress"], nic["macaddress"]) == ("10.1.1.21", before["nic"][0]["macaddress"])

    elsewhere = {verdict["host"]: verdict for verdict in explained(root, life, "life-a")}
    (other,) = elsewhere.keys() - {before["hostname"]}
    assert elsewhere[before["hostname"]]["fits"]
    assert not elsewhere[other]["fits"]
    code, text = refused(root.startVirtualMachine, id=life.id("life-a"), hostid=host_id(root, other))
    assert code == 533
    assert "1 of 2 hosts: it does not reach the pool that holds the volumes" in text
    assert elsewhere[other]["reason"] in text
    assert life.vm("life-a")["state"] == "Stopped"

    started = life.do("startVirtualMachine", "life-a")
    assert started["state"] == "Running"
    assert life.vm("life-a")["hostname"] == before["hostname"]
    assert life.answers("life-a") != boot
    assert life.run("life-a", "cat /root/kept /root/asked") == "kept\nasked"
    assert f"inet {before['nic'][0]['ipaddress']}/24" in life.run("life-a", "ip -4 addr show dev eth0")
    assert life.memory_used("life-a") == used


def explained(root, life, name):
    return root.explainPlacement(virtualmachineid=life.id(name))["placement"]


def host_id(root, name):
    return root.listHosts(name=name)["host"][0]["id"]


def test_forced_stop_does_not_ask_and_the_next_boot_has_new_name_and_password(life):
    client, vm_id = life.client(), life.id("life-a")
    assert refused(client.updateVirtualMachine, id=vm_id, name="renamed") == (
        431,
        f"The virtual machine {vm_id} is Running; to be renamed it must be Stopped.",
    )
    boot = life.boot_id("life-a")
    life.run("life-a", f"{TELL_SHUTDOWN}; rm -f /root/asked; sync")
    assert life.do("stopVirtualMachine", "life-a", forced="true")["state"] == "Stopped"
    old = life.passwords["life-a"]
    life.passwords["life-a"] = life.do("resetPasswordForVirtualMachine", "life-a")["password"]
    renamed = client.updateVirtualMachine(id=vm_id, name="renamed", displayname="Renamed")["virtualmachine"]
    assert (renamed["name"], renamed["displayname"]) == ("renamed", "Renamed")

    life.do("startVirtualMachine", "life-a")
    assert life.answers("life-a") != boot
    assert life.tenant.run("life-a", "cat /root/asked")[0] != 0, "the guest was asked"
    assert life.run("life-a", "hostname") == "renamed"
    until("the name", lambda: "10.1.1.21" in life.tenant.run("life-b", "nslookup renamed")[1], 10)
    assert ssh_with_password(life, "life-a", life.passwords["life-a"]) == (0, "root\n")
    assert ssh_with_password(life, "life-a", old)[0] == 255


def test_what_is_shown_changes_while_it_runs(life):
    told = life.client().updateVirtualMachine(id=life.id("life-b"), displayname="Shown", group="web")["virtualmachine"]
    assert (told["displayname"], told["group"], told["name"]) == ("Shown", "web", "life-b")


def test_reboot_is_a_new_boot_in_place(life):
    before, boot = life.vm("life-a"), life.boot_id("life-a")
    assert life.do("rebootVirtualMachine", "life-a")["state"] == "Running"
    until("the new boot", lambda: life.tenant.run("life-a", "cat /proc/sys/kernel/random/boot_id")[1].strip() != boot)
    assert life.answers("life-a") != boot
    assert life.vm("life-a")["hostname"] == before["hostname"]


def test_guest_that_powers_itself_off_is_stopped(life):
    used = life.memory_used("life-b")
    life.tenant.run("life-b", "poweroff")
    vm = until("Stopped", lambda: (vm := life.vm("life-b"))["state"] == "Stopped" and vm)
    assert vm["reason"] == "The guest shut itself down."
    assert "hostname" not in vm
    assert life.is_on_its_host("life-b") == (False, False)
    assert life.memory_used("life-b") == used - MEMORY
    code, text = life.tenant.run("life-a", "ping -c 1 -W 1 10.1.1.22")
    assert (code, "100% packet loss" in text) == (1, True)


def test_router_made_anew_serves_guests_that_run(life, root):
    boots = {name: life.boot_id(name) for name in ADDRESSES}
    network = {"networkid": life.tenant.network["id"], "listall": "true"}
    router = root.listRouters(**network)["router"][0]
    client = life.client()
    assert client.restartNetwork(id=life.tenant.network["id"], cleanup="true", fetch_result=True) == {"success": True}
    after = root.listRouters(**network)["router"][0]
    assert after["state"] == "Running"
    assert (after["guestipaddress"], after["publicip"]) == ("10.1.1.1", router["publicip"])
    for name in ADDRESSES:
        assert life.answers(name) == boots[name]
    life.tenant.must("life-a", "ping -c 3 -i 0.3 -W 3 10.1.1.22", " 0% packet loss")
    life.tenant.must("life-a", f"wget -q -O - http://{underlay.INTERNET_HOST}/", after["publicip"])
    life.tenant.must("life-b", f"nslookup {underlay.INTERNET_NAME}", underlay.INTERNET_HOST)
    life.tenant.must("life-b", "wget -q -O - http://169.254.169.254/latest/meta-data/local-ipv4", "10.1.1.22")


# --- the end ---------------------------------------------------------------------------------------------------------


def test_destroyed_vm_can_be_recovered_with_its_disk(life, root):
    client, vm_id = life.client(), life.id("life-b")
    life.run("life-b", "echo spared > /root/spared; sync")
    assert life.do("destroyVirtualMachine", "life-b")["state"] == "Destroyed"
    assert client.listVirtualMachines(id=vm_id) == {}
    assert life.vm("life-b")["state"] == "Destroyed"
    assert life.is_on_its_host("life-b") == (False, False)
    code, text = refused(client.recoverVirtualMachine, id=vm_id)
    assert (code, "allow.user.expunge.recover.vm" in text) == (531, True)
    assert refused(client.startVirtualMachine, id=vm_id)[0] == 431
    assert root.recoverVirtualMachine(id=vm_id)["virtualmachine"]["state"] == "Stopped"
    assert life.do("startVirtualMachine", "life-b")["state"] == "Running"
    life.answers("life-b")
    assert life.run("life-b", "cat /root/spared") == "spared"


def test_expunged_vm_leaves_nothing_and_its_network_can_go(life, root):
    client, network_id = life.client(), life.tenant.network["id"]
    code, text = refused(client.deleteNetwork, id=network_id)
    assert (code, text) == (
        431,
        "The network life still has 2 NICs of virtual machines; expunge those first.",
    )
    code, text = refused(client.destroyVirtualMachine, id=life.id("life-a"), expunge="true")
    assert (code, "allow.user.expunge.recover.vm" in text) == (531, True)
    volumes = [root.listVolumes(virtualmachineid=life.id(name), listall="true")["volume"][0] for name in ADDRESSES]
    files = [life.cell(n).directory / "primary/volumes" / v["id"] for n, v in zip(ADDRESSES, volumes, strict=True)]
    assert all(file.exists() for file in files)

    jobs = [root.destroyVirtualMachine(id=life.id(name), expunge="true") for name in ADDRESSES]
    for job in jobs:
        job_result(root, job)
    assert not any(file.exists() for file in files)
    for name in ADDRESSES:
        assert root.listVirtualMachines(id=life.id(name), listall="true") == {}
        assert life.is_on_its_host(name) == (False, False)
    router = root.listRouters(networkid=network_id, listall="true")["router"][0]
    assert client.deleteNetwork(id=network_id, fetch_result=True) == {"success": True}
    assert client.listNetworks(id=network_id) == {}
    assert root.listRouters(id=router["id"], listall="true") == {}
    namespaces = [cell.exec(["ip", "netns", "list"]) for cell in life.tenant.cells.values()]
    assert not any(router["id"].replace("-", "")[:12] in text for text in namespaces)
    client.deleteSSHKeyPair(name=KEY)
