"""The proof of DevCloud, check by check, and that its checks and the oracle see what is wrong."""

import json
import time

import pytest

from devcloud.proof import CHECKS
from devcloud.tenant import ProofError
from network.names import tap_name
from tests.devcloud.watch import until

LEAK = "priority=65535,in_port={port},ip,nw_dst={address}"
DOMAIN = """
<domain type='qemu'>
  <name>stranger</name><uuid>{uuid}</uuid><memory unit='MiB'>16</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
</domain>
"""
STRANGER = "5ca1ab1e-0000-4000-8000-000000000001"
STRAY_VOLUME = "5ca1ab1e-0000-4000-8000-000000000002"
STRAY_IMAGE = "5ca1ab1e-0000-4000-8000-000000000003"


@pytest.mark.parametrize("name", CHECKS)
def test_proof(proof, name):
    CHECKS[name](proof)


def test_up_again_changes_nothing(proof, cloud):
    def running():
        cells = [(cell.name, cell.pid, cell.states()) for cell in cloud.existing_cells]
        return cells, cloud.management.group.states()

    before = running()
    cloud.up()
    assert running() == before


def test_what_is_left_of_a_cloud_is_seen(traces, proof):
    kinds = {line.split()[0] for line in traces.found()}
    assert kinds == {"process", "namespace", "mount", "socket", "file"}


def test_same_addresses_have_different_keys(proof):
    one, two = proof.tenants.values()
    assert one.network["cidr"] == two.network["cidr"] == "10.1.1.0/24"
    assert proof.key_of(one) != proof.key_of(two)


def of_port(cell, name):
    return cell.exec(["ovs-vsctl", "get", "interface", name, "ofport"]).strip()


class Leak:
    """A flow that carries what one tenant's guest sends to an address of the other tenant's to that guest."""

    def __init__(self, proof):
        one, two = proof.tenants.values()
        self.proof, self.source, self.target = proof, one.guests["one-a"], two.guests["two-b"]
        self.cell = proof.cells[self.source.vm["hostname"]]
        self.match = LEAK.format(port=of_port(self.cell, self.tap(self.source)), address=self.target.address)
        self.one, self.key = one, proof.key_of(two)

    @staticmethod
    def tap(guest):
        return tap_name(guest.vm["nic"][0]["id"])

    def plant(self):
        mac = self.target.vm["nic"][0]["macaddress"]
        if self.source.vm["hostname"] == self.target.vm["hostname"]:
            way = f"output:{of_port(self.cell, self.tap(self.target))}"
        else:
            peer = self.proof.cells[self.target.vm["hostname"]].address
            find = ["ovs-vsctl", "--bare", "--columns=ofport", "find", "interface", "type=gre"]
            way = f"set_field:{self.key}->tun_id,output:{self.cell.exec([*find, f'options:remote_ip={peer}']).strip()}"
        self.flows("add-flow", f"{self.match},actions=set_field:{mac}->eth_dst,{way}")
        self.one.must(self.source.name, f"arp -s {self.target.address} {mac}")

    def remove(self):
        self.flows("--strict", "del-flows", self.match)
        self.one.must(self.source.name, f"arp -d {self.target.address}")

    def flows(self, *words):
        options = [word for word in words[:-1] if word.startswith("-")]
        verb = next(word for word in words if not word.startswith("-"))
        self.cell.exec(["ovs-ofctl", "-O", "OpenFlow15", *options, verb, "br-int", words[-1]])


@pytest.fixture(scope="module")
def planted(proof, cloud):
    """A leak, a domain, a volume and an image that nobody knows; each survey since then has seen them."""
    leak, cell = Leak(proof), proof.cells["host1"]
    xml = cell.directory / "primary" / "stranger.xml"
    xml.write_text(DOMAIN.format(uuid=STRANGER))
    volume = cell.directory / "primary" / "volumes" / STRAY_VOLUME
    image = cloud.site.secondary / STRAY_IMAGE
    leak.plant()
    cell.exec(["virsh", "create", str(xml)])
    volume.write_bytes(b"")
    image.mkdir()
    (image / "facts.json").write_text("{}")
    try:
        yield leak
    finally:
        leak.remove()
        cell.exec(["virsh", "destroy", "stranger"])
        for path in (xml, volume, image / "facts.json"):
            path.unlink()
        image.rmdir()


@pytest.fixture(scope="module")
def findings(planted, proof):
    """What the oracle says of the planted things, once all have been surveyed."""
    since = time.time()

    def surveyed():
        found = proof.findings(since)
        return None if any(finding["type"] == "unseen" for finding in found) else found

    return until("surveys", surveyed, 60)


def the(findings, kind):
    (found,) = [finding for finding in findings if finding["type"] == kind]
    return found


def test_leak_between_tenants_fails_the_proof(planted, proof):
    with pytest.raises(ProofError, match="two-b of tenant2 saw 3 pings of tenant1"):
        proof.check_silence()


def test_planted_flow_is_drift(findings, planted):
    finding = the(findings, "flow")
    assert finding["hostname"] == planted.cell.name
    assert f"nw_dst={planted.target.address}" in finding["found"]
    assert finding["expected"] == "absent"


def test_domain_of_others_is_told_and_left_alone(findings, proof):
    finding = the(findings, "domain.foreign")
    assert (finding["id"], finding["hostname"], finding["found"]) == (STRANGER, "host1", "running")
    assert "that Pileus did not define" in finding["detail"]
    assert "stranger" in proof.cells["host1"].exec(["virsh", "list", "--name"]).split()


def test_file_in_the_pool_is_an_orphan(findings):
    finding = the(findings, "volume.file")
    assert (finding["id"], finding["hostname"]) == (STRAY_VOLUME, "host1")


def test_image_in_the_store_is_an_orphan(findings):
    found = [finding for finding in findings if finding["type"] == "image"]
    assert {finding["id"] for finding in found} == {STRAY_IMAGE}
    assert "secondary" in {finding["hostname"] for finding in found}


def test_nothing_else_is_found(findings):
    kinds = {finding["type"] for finding in findings}
    assert kinds == {"flow", "domain.foreign", "volume.file", "image"}, json.dumps(findings, indent=1)
