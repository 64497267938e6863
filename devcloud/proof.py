"""Proves a DevCloud: through the public API, then inside its guests and on its underlay."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cs import CloudStack, CloudStackException

from devcloud import underlay
from devcloud.cloud import DevCloud
from devcloud.paths import Site
from devcloud.processes import CommandError
from devcloud.setup import step
from devcloud.tenant import ProofError, Tenant

PLAN = {
    "tenant1": {"one-a": "10.1.1.11", "one-b": "10.1.1.12"},
    "tenant2": {"two-a": "10.1.1.11", "two-b": "10.1.1.13"},
}
OFFERING = "tiny"
QUIET_SECONDS = 120.0


class Proof:
    """Two tenants with the same addresses, two guests each, on the hosts of one DevCloud."""

    def __init__(self, cloud: DevCloud) -> None:
        self.cloud = cloud
        keys = json.loads(cloud.root_keys_file.read_text())
        self.root = self._client(keys)
        self.cells = {cell.name: cell for cell in cloud.existing_cells}
        tenants = json.loads(cloud.site.seeded.read_text())
        self.tenants = {name: self._tenant(name, tenants[name]) for name in PLAN}

    def _client(self, keys: dict[str, str]) -> CloudStack:
        endpoint = self.cloud.management.endpoint
        return CloudStack(endpoint=endpoint, key=keys["apikey"], secret=keys["secretkey"], timeout=30)

    def _tenant(self, name: str, keys: dict[str, str]) -> Tenant:
        return Tenant(name, self._client(keys), self.root, self.cells, self.cloud.site.secrets / f"{name}.ssh")

    def run(self) -> None:
        """All of it, in order. :raises ProofError: at the first thing that is not so."""
        with step("two networks, four guests deployed"):
            self.deploy()
        for tenant in self.tenants.values():
            with step(f"guests of {tenant.name} boot and are ready"):
                tenant.wait()
        with step("each tenant's guests are on different hosts"):
            self.check_spread()
        with step("DHCP, host name, MTU"):
            self.check_leases()
        with step("same tenant: ping across hosts, GRE key on the underlay"):
            self.check_tunnels()
        with step("other tenant: silence in both directions"):
            self.check_silence()
        with step("names: of neighbours and of the internet"):
            self.check_names()
        with step("metadata and user data"):
            self.check_metadata()
        with step("out by source NAT, one public address a tenant"):
            self.check_nat()
        with step("no drift, no orphans"):
            self.check_truth()

    def deploy(self) -> None:
        zone = self.root.listZones()["zone"][0]["id"]
        template = self.root.listTemplates(templatefilter="all", name="tiny")["template"][0]["id"]
        offerings = self.root.listServiceOfferings(name=OFFERING)["serviceoffering"]
        place = {"zoneid": zone, "templateid": template, "serviceofferingid": offerings[0]["id"]}
        for tenant in self.tenants.values():
            tenant.ensure_network(zone)
            tenant.ensure_key()
            for name, address in PLAN[tenant.name].items():
                tenant.ensure_guest(name, address, place)

    def check_spread(self) -> None:
        for tenant in self.tenants.values():
            hosts = {guest.vm["hostname"] for guest in tenant.guests.values()}
            if len(hosts) < min(len(tenant.guests), len(self.cells)):
                raise ProofError(f"The guests of {tenant.name} are all on {', '.join(hosts)}.")

    def check_leases(self) -> None:
        for tenant in self.tenants.values():
            for name, guest in tenant.guests.items():
                tenant.must(name, "ip -4 addr show dev eth0", f"inet {guest.address}/24")
                tenant.must(name, "hostname", name)

    def check_tunnels(self) -> None:
        for tenant in self.tenants.values():
            first, second = tenant.guests.values()
            key = self.key_of(tenant)
            with self.capture() as seen:
                tenant.must(first.name, f"ping -c 5 -i 0.3 -W 3 {second.address}", " 0% packet loss")
            if first.vm["hostname"] == second.vm["hostname"]:
                continue
            pings = [line for line in seen if "ICMP echo" in line and f"{first.address} > {second.address}" in line]
            if not pings or not all(f"key=0x{key:x}," in line for line in pings):
                raise ProofError(f"No ping of {tenant.name} with key {key:#x} on the underlay; seen: {seen[:6]}")

    def key_of(self, tenant: Tenant) -> int:
        network = self.root.listNetworks(id=tenant.network["id"], listall="true")["network"][0]
        return int(network["broadcasturi"].removeprefix("gre://"))

    @contextmanager
    def capture(self) -> Iterator[list[str]]:
        """Lines of tcpdump for the GRE packets that cross the underlay meanwhile."""
        argv = ["tcpdump", "-l", "-nn", "-v", "-i", "any", "--immediate-mode", "proto", "gre"]
        argv = underlay.enter(self.cloud.site.underlay, argv)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            time.sleep(1.0)
            seen: list[str] = []
            try:
                yield seen
                time.sleep(0.5)
            finally:
                process.terminate()
                text, _ = process.communicate(timeout=10)
                seen += _packets(text)

    def check_silence(self) -> None:
        """Each tenant pings an address that only the other has; the other's counters of pings stay as they are."""
        one, two = self.tenants.values()
        self._check_silent(one, "one-a", two, "two-b")
        self._check_silent(two, "two-a", one, "one-b")
        for tenant, name, address, other in (
            (one, "one-b", "10.1.1.11", "one-a"),
            (two, "two-b", "10.1.1.11", "two-a"),
        ):
            tenant.must(name, f"wget -q -O - http://{address}/", other)

    def _check_silent(self, source: Tenant, name: str, target: Tenant, guest: str) -> None:
        before = self._pings_seen(target, guest)
        code, text = source.run(name, f"ping -c 3 -W 1 {target.guests[guest].address}")
        if code == 0 or "100% packet loss" not in text:
            raise ProofError(f"{name} of {source.name} reached {guest} of {target.name}: {text}")
        after = self._pings_seen(target, guest)
        if after != before:
            raise ProofError(f"{guest} of {target.name} saw {after - before} pings of {source.name}.")

    def _pings_seen(self, tenant: Tenant, name: str) -> int:
        lines = [line.split() for line in tenant.must(name, "cat /proc/net/snmp").splitlines() if "Icmp:" in line]
        return int(dict(zip(lines[0], lines[1], strict=True))["InEchos"])

    def check_names(self) -> None:
        for tenant in self.tenants.values():
            first, second = tenant.guests.values()
            tenant.must(first.name, f"nslookup {second.name}", second.address)
            tenant.must(first.name, f"nslookup {underlay.INTERNET_NAME}", underlay.INTERNET_HOST)

    def check_metadata(self) -> None:
        for tenant in self.tenants.values():
            for name, guest in tenant.guests.items():
                url = "http://169.254.169.254/latest"
                tenant.must(name, f"wget -q -O - {url}/meta-data/instance-id", guest.vm["id"])
                tenant.must(name, f"wget -q -O - {url}/meta-data/local-ipv4", guest.address)
                tenant.must(name, "cat /root/user-data", "proved")

    def check_nat(self) -> None:
        seen = {}
        for tenant in self.tenants.values():
            name = next(iter(tenant.guests))
            seen[tenant.name] = tenant.must(name, f"wget -q -O - http://{underlay.INTERNET_HOST}/").strip()
            addresses = tenant.client.listPublicIpAddresses(issourcenat="true").get("publicipaddress", [])
            if seen[tenant.name] not in {one["ipaddress"] for one in addresses}:
                raise ProofError(f"The internet saw {tenant.name} as {seen[tenant.name]}, not as {addresses}.")
        if len(set(seen.values())) != len(seen):
            raise ProofError(f"Two tenants share a public address: {seen}.")

    def check_truth(self) -> None:
        """Wait for surveys that are newer than all that was done, and want nothing in them that differs."""
        since = time.time()
        deadline = time.monotonic() + QUIET_SECONDS
        while True:
            try:
                drift = self.root.listDrift(surveyedafter=str(since)).get("drift", [])
                orphans = self.root.listOrphans(surveyedafter=str(since)).get("orphan", [])
            except CloudStackException as error:
                drift, orphans = [{"detail": str(error)}], []
            if not drift and not orphans:
                return
            if time.monotonic() > deadline:
                raise ProofError(f"The oracle says: {json.dumps([*drift, *orphans], indent=1)}")
            time.sleep(2.0)


def _packets(text: str) -> list[str]:
    """Packets of tcpdump's output, each on one line: continued lines begin with white space."""
    return [re.sub(r"\s+", " ", packet) for packet in re.split(r"\n(?=\S)", text) if packet.strip()]


def main() -> int:
    print("\nProof, through the public API and inside the guests:", flush=True)
    try:
        Proof(DevCloud(Site())).run()
    except (ProofError, CommandError, CloudStackException) as error:
        print(f"\nproof: {error}", file=sys.stderr)
        return 1
    print("  proved.\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
