"""`./dev bench devcloud`: from the request for a VM to its first DHCP packet, as a ratio to a bare `virsh create`.

One host, one tenant, real guests. In turn, some rounds: a VM is deployed through the API (its network is there and the
host holds the template), and the same domain, taken from the first such VM, is created by virsh in the same cell with a
disk and a tap that are made before. Both times end at the first DHCP packet that the guest sends, as one tcpdump of the
whole host stamps it; each guest is removed before the next one begins.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from defusedxml import ElementTree

from devcloud.cells import Cell
from devcloud.cloud import DevCloud
from devcloud.management import Keys
from devcloud.paths import Site
from devcloud.processes import output
from tests.bench.measure import pace
from tests.bench.wire import Client

NETWORK_OFFERING = "DefaultIsolatedNetworkOfferingWithSourceNatService"
TAP = "ptap0"
NAME = "bare"
MAC = "02:00:00:ba:5e:01"
PATIENCE = 90.0


class Dhcp:
    """Times of the first DHCP packet from each MAC that any interface of a cell has seen."""

    def __init__(self, cell: Cell, log: Path) -> None:
        argv = ["tcpdump", "-i", "any", "-nn", "-l", "-tt", "-e", "--immediate-mode", "udp dst port 67"]
        self.log = log
        with log.open("wb") as stream, Path("/dev/null").open("wb") as nothing:
            self.process = subprocess.Popen(cell.enter(argv), stdout=stream, stderr=nothing)

    def first(self, mac: str, since: float) -> float:
        """Seconds since 1970. :raises TimeoutError: the guest has sent none in time"""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                stamp = line.partition(" ")[0]
                if mac in line and float(stamp) >= since:
                    return float(stamp)
            time.sleep(0.05)
        raise TimeoutError(f"No DHCP packet of {mac} within {PATIENCE} seconds.")


class Tenant:
    """An account's client, its network, and what its VMs are made of."""

    def __init__(self, cloud: DevCloud) -> None:
        root = Keys(**json.loads(cloud.root_keys_file.read_text()))
        keys = Keys(**json.loads(cloud.site.seeded.read_text())["tenant1"])
        self.root, self.client = Client(cloud.site.api_port, root), Client(cloud.site.api_port, keys)
        zone = self.root("listZones")["zone"][0]["id"]
        offering = self.root("listNetworkOfferings", name=NETWORK_OFFERING)["networkoffering"][0]["id"]
        made = self.client("createNetwork", name="bench", displaytext="bench", zoneid=zone, networkofferingid=offering)
        self.place = {
            "zoneid": zone,
            "networkids": made["network"]["id"],
            "serviceofferingid": self.root("listServiceOfferings", name="tiny")["serviceoffering"][0]["id"],
            "templateid": self.root("listTemplates", templatefilter="all", name="tiny")["template"][0]["id"],
        }

    def deploy(self, dhcp: Dhcp) -> tuple[float, dict[str, Any]]:
        """Seconds from the request to the first DHCP packet, and the VM as the administrator sees it."""
        began = time.time()
        vm_id = self.client("deployVirtualMachine", **self.place)["id"]
        vm = self.root("listVirtualMachines", id=vm_id, listall="true")["virtualmachine"][0]
        seconds = dhcp.first(vm["nic"][0]["macaddress"], began) - began
        return seconds, vm

    def destroy(self, vm_id: str) -> None:
        while self.root("listVirtualMachines", id=vm_id, listall="true")["virtualmachine"][0]["state"] != "Running":
            time.sleep(0.1)
        self.root.wait("stopVirtualMachine", id=vm_id, forced="true")  # a guest that still boots would not hear ACPI
        self.root.wait("destroyVirtualMachine", id=vm_id, expunge="true")


class Bare:
    """The domain of a running VM under another name, with a disk and a tap of its own."""

    def __init__(self, cell: Cell, instance: str) -> None:
        self.cell = cell
        self.xml = cell.directory / "bare.xml"
        self.disk = cell.directory / "primary" / "bare.qcow2"
        domain = ElementTree.fromstring(cell.exec(["virsh", "dumpxml", "--inactive", instance]))
        domain.find("name").text = NAME
        for tag in ("uuid", "metadata", "sysinfo"):
            for element in domain.findall(tag):
                domain.remove(element)
        devices, system = domain.find("devices"), domain.find("os")
        for smbios in system.findall("smbios"):
            system.remove(smbios)
        disk = next(one for one in devices.findall("disk") if one.get("device") == "disk")
        info = ["qemu-img", "info", "--force-share", "--output=json", disk.find("source").get("file")]
        facts = json.loads(output(info))
        kind = facts.get("backing-filename-format", "qcow2")
        self.shape = ["-f", "qcow2", "-F", kind, "-b", facts["full-backing-filename"]]
        self.size = str(facts["virtual-size"])
        disk.find("source").set("file", str(self.disk))
        for backing in disk.findall("backingStore"):
            disk.remove(backing)
        nic = devices.find("interface")
        nic.find("mac").set("address", MAC)
        nic.find("target").set("dev", TAP)
        for kind in ("serial", "console", "channel"):
            for element in devices.findall(kind):
                for part in ("log", "source"):
                    for one in element.findall(part):
                        if one.get("mode") is None or "path" in one.attrib:
                            _rename(one)
        self.xml.write_text(ElementTree.tostring(domain, encoding="unicode"))

    def create(self, dhcp: Dhcp) -> float:
        """Seconds from `virsh create` to the first DHCP packet."""
        output(["qemu-img", "create", "-q", *self.shape, str(self.disk), self.size])
        self.cell.exec(["ip", "tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr"])
        self.cell.exec(["ip", "link", "set", TAP, "up"])
        began = time.time()
        self.cell.exec(["virsh", "create", str(self.xml)])
        try:
            return dhcp.first(MAC, began) - began
        finally:
            self.cell.exec(["virsh", "destroy", NAME])
            self.cell.exec(["ip", "link", "delete", TAP])
            self.disk.unlink()


def _rename(element: Any) -> None:
    """A file or socket of its own in place of the other domain's."""
    for attribute in ("file", "path"):
        if attribute in element.attrib:
            element.set(attribute, str(Path(element.get(attribute)).with_name(f"{NAME}-{element.tag}")))


@contextmanager
def running(site: Site, cache: Path, hosts: int = 1) -> Iterator[DevCloud]:
    """A DevCloud with the guest image of `cache` if that has one."""
    if cache.exists() and not site.cache.exists():
        site.state.mkdir(parents=True, exist_ok=True)
        shutil.copytree(cache, site.cache)
    cloud = DevCloud(site, hosts=hosts)
    try:
        cloud.up()
        yield cloud
    finally:
        cloud.down()
        shutil.rmtree(site.state, ignore_errors=True)


def measure(cloud: DevCloud, rounds: int) -> dict[str, Any]:
    (cell,) = cloud.existing_cells
    tenant, dhcp = Tenant(cloud), Dhcp(cell, cloud.site.state / "dhcp.log")
    try:
        first, vm = tenant.deploy(dhcp)
        bare = Bare(cell, vm["instancename"])
        tenant.destroy(vm["id"])
        deployed, created = [], []
        for _ in range(rounds):
            seconds, vm = tenant.deploy(dhcp)
            tenant.destroy(vm["id"])
            deployed.append(seconds)
            created.append(bare.create(dhcp))
            print(
                f"  deployed {deployed[-1]:.2f} s, created by virsh {created[-1]:.2f} s, pace {pace():.3f}", flush=True
            )
    finally:
        dhcp.process.terminate()
        dhcp.process.wait()
    ratios = [one / other for one, other in zip(deployed, created, strict=True)]
    return {
        "rounds": rounds,
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "deploy_seconds": round(statistics.median(deployed), 3),
        "virsh_seconds": round(statistics.median(created), 3),
        "first_deploy_seconds": round(first, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench devcloud", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of one guest each way (default 7)")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/pileus/bench-dc"), help="where its files lie")
    parser.add_argument("--prefix", default="plbench", help="of its network namespaces (default plbench)")
    parser.add_argument("--port", type=int, default=18090, help="of the API (default 18090)")
    options = parser.parse_args()
    with running(Site(options.state, options.prefix, options.port), Site().cache) as cloud:
        found = measure(cloud, options.rounds)
    print(f"\nrequest to first DHCP packet: {found['deploy_seconds']} s, by virsh {found['virsh_seconds']} s")
    print(f"median ratio: {found['ratio']}")
    print(json.dumps({"benchmark": "devcloud", **found}))


if __name__ == "__main__":
    main()
