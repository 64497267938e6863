"""`./dev bench rule_change`: from a rule at the API to the last host's switch, by the number of hosts it concerns.

Simulated hosts, PostgreSQL and Redis; one shared network with security groups, and a guest on each host. The time ends
with the job, that is when the agent of every host has told that its flows are changed. `--others` networks of others
stand in the database meanwhile, with a guest and a router on two hosts each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from manager import db
from manager.config import settings
from manager.models import Account, Host, Network, Nic, Vm, new_id
from tests.bench.filling import FIRST_NUMBER, copy
from tests.bench.measure import pace
from tests.bench.site import UNLIMITED, Site
from tests.bench.wire import Client

OFFERING = "DefaultSharedNetworkOfferingWithSGService"
ROUNDS = 5
AT_ONCE = 50


class Spread:
    """A network with one guest on each of the hosts, in one security group."""

    def __init__(self, site: Site) -> None:
        self.root = site.root
        for name in UNLIMITED:
            self.root("updateConfiguration", name=f"max.account.{name}", value=-1)
        self.place = site.place()
        offering = self.root("listNetworkOfferings", name=OFFERING)["networkoffering"][0]["id"]
        self.network = self.root(
            "createNetwork", name="wide", displaytext="wide", zoneid=self.place["zoneid"], networkofferingid=offering,
            gateway="10.64.0.1", netmask="255.255.240.0", startip="10.64.0.10", endip="10.64.15.250", acltype="Domain",
        )["network"]["id"]  # fmt: skip
        self.group = self.root("createSecurityGroup", name="wide")["securitygroup"]["id"]
        self.free: list[str] = []
        while page := self.root("listHosts", type="Routing", pagesize=500, page=len(self.free) // 500 + 1).get("host"):
            self.free += [host["id"] for host in page]
        self.there = 0

    def grow(self, hosts: int) -> None:
        """Have a guest on so many hosts."""
        while self.there < hosts:
            portion = self.free[self.there : min(hosts, self.there + AT_ONCE)]
            jobs = [self.asking(host)(self.root)["jobid"] for host in portion]
            for job in jobs:
                self.root.result(job)
            self.there += len(portion)

    def asking(self, host: str) -> Callable[[Client], Any]:
        """What has a client deploy a guest on the host."""
        wanted = {"networkids": self.network, "securitygroupids": self.group, "hostid": host, **self.place}
        return lambda client: client("deployVirtualMachine", **wanted)

    def deploy(self, host: str) -> None:
        self.root.result(self.asking(host)(self.root)["jobid"])

    def change(self, port: int) -> tuple[float, float]:
        """Seconds to allow a port on all hosts, and to deny it again."""
        started = time.monotonic()
        made = self.root.wait("authorizeSecurityGroupIngress", securitygroupid=self.group, protocol="tcp",
                              startport=port, endport=port, cidrlist="0.0.0.0/0")  # fmt: skip
        allowed = time.monotonic() - started
        rule = made["securitygroup"]["ingressrule"][-1]["ruleid"]
        started = time.monotonic()
        self.root.wait("revokeSecurityGroupIngress", id=rule)
        return allowed, time.monotonic() - started


def fill(site: Site, networks: int) -> None:
    """Networks of others, each with a guest, in the database."""
    os.environ |= site.simulator.management.environment()
    settings.cache_clear()
    engine = db.engine()
    with db.transaction(engine) as session:
        like = session.query(Network).first()
        vm = session.query(Vm).first()
        hosts = [row.id for row in session.query(Host.id)]
        account = session.query(Account).filter_by(name="tenant1").first() or session.query(Account).first()
        if like is None or vm is None or account is None:
            raise SystemExit("The first network is not there.")
        shared = {name: getattr(like, name) for name in ("zone_id", "offering_id", "physical_network_id",
                                                         "network_domain")}  # fmt: skip
        alike = {name: getattr(vm, name) for name in ("zone_id", "template_id", "service_offering_id", "os_type_id",
                                                      "cpus", "cpu_mhz", "memory", "hypervisor")}  # fmt: skip
        owner = account.id
    ids = [(FIRST_NUMBER + number, new_id(), new_id()) for number in range(networks)]
    copy(engine, Network, ({**shared, "id": network, "name": f"n{number}", "display_text": f"n{number}", "key": number,
                            "account_id": owner, "state": "Implemented", "cidr": "10.1.1.0/24", "gateway": "10.1.1.1",
                            "netmask": "255.255.255.0"} for number, network, _ in ids))  # fmt: skip
    copy(engine, Vm, _vms(ids, alike, owner, hosts))
    copy(engine, Nic, ({"vm_id": vm_id, "network_id": network, "host_id": hosts[number % len(hosts)],
                        "mac": "06:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(5, "big")),
                        "address": "10.1.1.2"} for number, network, vm_id in ids))  # fmt: skip
    engine.dispose()


def _vms(ids: list[tuple[int, str, str]], alike: dict[str, Any], owner: str, hosts: list[str]) -> Iterator[Any]:
    for number, _, vm_id in ids:
        host = hosts[number % len(hosts)]
        yield {**alike, "id": vm_id, "number": number, "name": f"vm-{number}", "display_name": f"vm-{number}",
               "instance_name": f"i-9-{number}-VM", "account_id": owner, "host_id": host, "last_host_id": host,
               "state": "Running"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench rule_change", description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100], help="how many (default 10 and 100)")
    parser.add_argument("--others", type=int, default=0, help="networks of others in the database (default 0)")
    parser.add_argument("--port", type=int, default=18080, help="of the API (default 18080)")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/pileus/bench"), help="where its files lie")
    options = parser.parse_args()
    found = {}
    with Site(options.state, options.port, hosts=max(options.hosts)) as site:
        spread = Spread(site)
        for hosts in sorted(options.hosts):
            spread.grow(hosts)
            if options.others and hosts == min(options.hosts):
                fill(site, options.others)
            times = [spread.change(1000 + number) for number in range(ROUNDS)]
            allow, deny = (statistics.median(one) for one in zip(*times, strict=True))
            found[hosts] = {"allow": round(allow, 3), "deny": round(deny, 3), "pace": round(pace(), 3)}
            print(f"{hosts} hosts: allowed on all in {allow:.2f} s, denied in {deny:.2f} s", flush=True)
    print(json.dumps({"benchmark": "rule_change", "others": options.others, "by_hosts": found}))


if __name__ == "__main__":
    main()
