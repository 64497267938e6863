"""`./dev bench switch_faults`: how long guests are cut off when the daemons of a host's switch are killed.

Two hosts, two tenants with the same addresses, real guests. One guest pings its neighbour on the other host five times
a second, while ovs-vswitchd, ovsdb-server or both of one host are killed with SIGKILL and a firewall rule is changed
through the API. In the second part the agents and all servers of the management are killed too: what is on the hosts'
disks alone must bring the flows back. The other tenant's guests, which nobody pings, count the pings that reach them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import statistics
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from devcloud.cells import Cell
from devcloud.cloud import DevCloud
from devcloud.paths import Site
from devcloud.proof import Proof
from tests.bench.devcloud import running
from tests.devcloud.watch import job_result
from tests.faults import victims

INTERVAL = 0.2
PINGS = 75
KINDS = (("ovs-vswitchd",), ("ovsdb-server",), ("ovs-vswitchd", "ovsdb-server"))
SEQUENCE = re.compile(r"seq=(\d+)")


class Traffic:
    """Pings of one tenant's guest to its neighbour; the other tenant's guests listen."""

    def __init__(self, proof: Proof) -> None:
        self.own, self.other = proof.tenants.values()
        self.proof = proof
        self.pool = ThreadPoolExecutor(1)
        self.before = self._strayed()

    def start(self) -> Future[tuple[int, str]]:
        address = self.own.guests["one-b"].address
        return self.pool.submit(self.own.run, "one-a", f"ping -i {INTERVAL} -c {PINGS} -W 1 {address}")

    def gap(self, started: Future[tuple[int, str]]) -> float:
        """The longest time without an answer, in seconds. :raises SystemExit: nothing was answered at the end"""
        _, text = started.result()
        answered = [-1, *map(int, SEQUENCE.findall(text))]
        if answered[-1] < PINGS - 5:
            raise SystemExit(f"The neighbour is not back: {text[-300:]}")
        return max(late - early - 1 for early, late in itertools.pairwise(answered)) * INTERVAL

    def strayed(self) -> int:
        """Pings that have come to guests of the other tenant."""
        return self._strayed() - self.before

    def _strayed(self) -> int:
        return sum(self.proof.pings_seen(self.other, name) for name in self.other.guests)


def strike(cell: Cell, daemons: tuple[str, ...]) -> None:
    victims.kill([victims.in_cell(cell, daemon) for daemon in daemons])


def change_rule(proof: Proof, port: int) -> None:
    """Allow what guests send to a port, and no more: both change flows or routers while the switch is away."""
    tenant = proof.tenants["tenant1"]
    made = tenant.client.createEgressFirewallRule(networkid=tenant.network["id"], protocol="tcp", startport=port,
                                                  endport=port)  # fmt: skip
    job_result(tenant.client, made)
    job_result(tenant.client, tenant.client.deleteEgressFirewallRule(id=made["id"]))


def part_one(cloud: DevCloud, proof: Proof, traffic: Traffic, rounds: int) -> list[float]:
    gaps = []
    for number in range(rounds):
        cell, daemons = cloud.cells[number % len(cloud.cells)], KINDS[number % len(KINDS)]
        pinging = traffic.start()
        time.sleep(1.5)
        strike(cell, daemons)
        change_rule(proof, 1000 + number)
        gaps.append(traffic.gap(pinging))
        print(f"  {' and '.join(daemons)} of {cell.name}: {gaps[-1]:.1f} s; strayed {traffic.strayed()}", flush=True)
    return gaps


def part_two(cloud: DevCloud, traffic: Traffic, rounds: int) -> list[float]:
    """No management server, no broker and no database; the agents are started again by the hosts alone."""
    gaps = []
    for number in range(rounds):
        cell = cloud.cells[number % len(cloud.cells)]
        pinging = traffic.start()
        time.sleep(1.5)
        supervisor = cloud.management.group.pid
        victims.kill([supervisor, *victims.family(supervisor)[1:]])
        strike(cell, ("agent", "ovs-vswitchd"))
        gaps.append(traffic.gap(pinging))
        print(f"  all but {cell.name}'s disk: {gaps[-1]:.1f} s", flush=True)
        cloud.up()
        print(f"    management is back; strayed {traffic.strayed()}", flush=True)
    return gaps


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench switch_faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of each part (default 20)")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/pileus/bench-sf"), help="where its files lie")
    parser.add_argument("--prefix", default="plsf", help="of its network namespaces (default plsf)")
    parser.add_argument("--port", type=int, default=18091, help="of the API (default 18091)")
    options = parser.parse_args()
    with running(Site(options.state, options.prefix, options.port), Site().cache, hosts=2) as cloud:
        proof = Proof(cloud)
        proof.deploy()
        for tenant in proof.tenants.values():
            tenant.wait()
        traffic = Traffic(proof)
        first = part_one(cloud, proof, traffic, options.rounds)
        second = part_two(cloud, traffic, options.rounds)
        proof.settle()
        proof.check_truth()
        strayed = traffic.strayed()
    for what, gaps in (("daemons of the switch", first), ("with agents and management", second)):
        print(f"{what}: median {statistics.median(gaps):.1f} s, longest {max(gaps):.1f} s")
    print(json.dumps({"benchmark": "switch_faults", "gaps": first, "alone": second, "strayed": strayed}))


if __name__ == "__main__":
    main()
