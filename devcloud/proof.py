"""Proves a DevCloud: through the public API, then inside its guests and on its underlay."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cs import CloudStack, CloudStackException

from devcloud import underlay
from devcloud.cloud import TEMPLATE, ZONE, DevCloud
from devcloud.paths import Site
from devcloud.processes import CommandError
from devcloud.setup import step
from devcloud.tenant import Entity, ProofError, Tenant

PLAN = {
    "tenant1": {"one-a": "10.1.1.11", "one-b": "10.1.1.12"},
    "tenant2": {"two-a": "10.1.1.11", "two-b": "10.1.1.13"},
}
OFFERING = "tiny"
PINGS = 5
JOB_SECONDS = 300
CAPTURE_SECONDS = 10.0
QUIET_SECONDS = 120.0
GRACE_SECONDS = 10.0
"""What changed within this time before a survey is left to the next one; see listDrift, surveyedafter."""


class Proof:
    """Two tenants with the same addresses, two guests each, on the hosts of one DevCloud."""

    def __init__(self, cloud: DevCloud) -> None:
        self.cloud = cloud
        keys = json.loads(cloud.root_keys_file.read_text())
        self.root = self._client(keys)
        self.cells = {cell.name: cell for cell in cloud.existing_cells}
        tenants = json.loads(cloud.site.seeded.read_text())
        self.tenants = {name: self._tenant(name, tenants[name]) for name in PLAN}
        self.settled = 0.0

    def _client(self, keys: dict[str, str]) -> CloudStack:
        endpoint = self.cloud.management.endpoint
        key, secret = keys["apikey"], keys["secretkey"]
        return CloudStack(endpoint, key, secret, timeout=30, poll_interval=0.2, job_timeout=JOB_SECONDS)

    def _tenant(self, name: str, keys: dict[str, str]) -> Tenant:
        return Tenant(name, self._client(keys), self.root, self.cells, self.cloud.site.secrets / f"{name}.ssh")

    def run(self) -> None:
        """All of it, in order. :raises ProofError: at the first thing that is not so."""
        with step("two networks, four guests deployed"):
            self.deploy()
        for tenant in self.tenants.values():
            with step(f"guests of {tenant.name} boot and are ready"):
                tenant.wait()
        self.settle()
        for name, check in CHECKS.items():
            with step(name):
                check(self)

    def place(self) -> dict[str, str]:
        """Zone, template and offering of every guest, as parameters of a deployment."""
        zone = self.root.listZones(name=ZONE)["zone"][0]["id"]
        template = self.root.listTemplates(templatefilter="all", name=TEMPLATE)["template"][0]["id"]
        offering = self.root.listServiceOfferings(name=OFFERING)["serviceoffering"][0]["id"]
        return {"zoneid": zone, "templateid": template, "serviceofferingid": offering}

    def deploy(self) -> None:
        place = self.place()
        for tenant in self.tenants.values():
            tenant.ensure_network(place["zoneid"])
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
                shown = tenant.must(name, "ip -4 addr show dev eth0", f"inet {guest.address}/24")
                mtu = guest.vm["nic"][0]["mtu"]
                if f" mtu {mtu} " not in shown:
                    raise ProofError(f"{name} of {tenant.name} has not the MTU {mtu} of its network: {shown}")
                tenant.must(name, "hostname", name)

    def check_tunnels(self) -> None:
        for tenant in self.tenants.values():
            first, second = tenant.guests.values()
            ping = f"ping -c {PINGS} -i 0.3 -W 3 {second.address}"
            if first.vm["hostname"] == second.vm["hostname"]:
                tenant.must(first.name, ping, " 0% packet loss")
                continue
            key = self.key_of(tenant)
            with self.capture() as capture:
                tenant.must(first.name, ping, " 0% packet loss")
                seen = capture.wait(f"{first.address} > {second.address}: ICMP echo request", PINGS)
            if len(seen) < PINGS or not all(f"key=0x{key:x}," in packet for packet in seen):
                raise ProofError(f"Not {PINGS} pings of {tenant.name} with key {key:#x} on the underlay: {seen}.")

    def key_of(self, tenant: Tenant) -> int:
        network = self.root.listNetworks(id=tenant.network["id"], listall="true")["network"][0]
        return int(network["broadcasturi"].removeprefix("gre://"))

    @contextmanager
    def capture(self) -> Iterator[Capture]:
        """The GRE packets that cross the underlay meanwhile."""
        argv = ["tcpdump", "-l", "-nn", "-v", "-i", underlay.UNDERLAY_BRIDGE, "--immediate-mode", "proto", "gre"]
        argv = underlay.enter(self.cloud.site.underlay, argv)
        with tempfile.NamedTemporaryFile() as file:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE, text=True)
            with process as tcpdump:
                try:
                    if not any("listening on" in line for line in tcpdump.stderr or ()):
                        raise ProofError("tcpdump does not listen on the underlay.")
                    yield Capture(Path(file.name))
                finally:
                    tcpdump.terminate()

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
        before = self.pings_seen(target, guest)
        code, text = source.run(name, f"ping -c 3 -W 1 {target.guests[guest].address}")
        if code == 0 or "100% packet loss" not in text:
            raise ProofError(f"{name} of {source.name} reached {guest} of {target.name}: {text}")
        after = self.pings_seen(target, guest)
        if after != before:
            raise ProofError(f"{guest} of {target.name} saw {after - before} pings of {source.name}.")

    def pings_seen(self, tenant: Tenant, name: str) -> int:
        """How many pings have reached the guest since it booted."""
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

    def settle(self) -> None:
        """All that was wanted has been done: surveys must show it, but for those that are too near to it to tell."""
        self.settled = time.time() + GRACE_SECONDS

    def check_truth(self) -> None:
        """Wait for surveys that are newer than all that was done, and want nothing in them that differs."""
        deadline = time.monotonic() + QUIET_SECONDS
        while found := self.findings(self.settled):
            if time.monotonic() > deadline:
                raise ProofError(f"The oracle says: {json.dumps(found, indent=1)}")
            time.sleep(1.0)

    def findings(self, since: float) -> list[Entity]:
        """Drift and orphans by surveys after `since` (seconds since 1970); while there are none yet, the refusal."""
        try:
            drift = self.root.listDrift(surveyedafter=str(since)).get("drift", [])
            orphans = self.root.listOrphans(surveyedafter=str(since)).get("orphan", [])
        except CloudStackException as error:
            return [{"type": "unseen", "detail": str(error)}]
        return [*drift, *orphans]


class Capture:
    """Packets that tcpdump writes to a file, each on one line."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def packets(self) -> list[str]:
        """All packets so far; in the file, continued lines begin with white space."""
        packets = re.split(r"\n(?=\S)", self._file.read_text())
        return [re.sub(r"\s+", " ", packet) for packet in packets if packet.strip()]

    def wait(self, wanted: str, count: int) -> list[str]:
        """The packets that hold `wanted`, as soon as there are `count` or they are late."""
        deadline = time.monotonic() + CAPTURE_SECONDS
        while True:
            found = [packet for packet in self.packets() if wanted in packet]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.1)


CHECKS: dict[str, Callable[[Proof], None]] = {
    "each tenant's guests are on different hosts": Proof.check_spread,
    "DHCP, host name, MTU": Proof.check_leases,
    "same tenant: ping across hosts, GRE key on the underlay": Proof.check_tunnels,
    "other tenant: silence in both directions": Proof.check_silence,
    "names: of neighbours and of the internet": Proof.check_names,
    "metadata and user data": Proof.check_metadata,
    "out by source NAT, one public address a tenant": Proof.check_nat,
    "no drift, no orphans": Proof.check_truth,
}


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
