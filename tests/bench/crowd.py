"""`./dev bench crowd`: many deployments at once in one network that is on many hosts already, all of which must know.

Simulated hosts, PostgreSQL and Redis; one shared network with security groups. One guest is deployed; those of the
other hosts are rows, which the next deployment tells all hosts of. Then the crowd comes. A job ends when every host
of the network knows its guest and the guest runs.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from manager import db
from manager.config import settings
from manager.models import AgentCommandRow, Nic, Vm, new_id
from tests.bench.deploy import Ends, run_round
from tests.bench.filling import FIRST_NUMBER, copy
from tests.bench.measure import share
from tests.bench.rule_change import Spread
from tests.bench.site import Site, Tenant
from tests.bench.wire import Client

SPREAD_NUMBER = FIRST_NUMBER // 2
"""That of the first VM that is a row; what benchmarks fill the database with has higher ones."""
LAST_PLACE = 3900
"""More addresses of the network are not looked at."""


def spread(site: Site, network: Spread, hosts: int) -> None:
    """Guests of `network` on so many hosts: the first is deployed, others are rows like it, and the last tells all."""
    os.environ |= site.simulator.management.environment()
    settings.cache_clear()
    network.grow(1)
    engine = db.engine()
    with db.transaction(engine) as session:
        like = session.query(Vm).first()
        if like is None:
            raise SystemExit("The first guest is not there.")
        taken = set(session.scalars(select(Nic.address).where(Nic.network_id == network.network)))
        alike = {name: getattr(like, name) for name in (
            "account_id", "zone_id", "template_id", "service_offering_id", "os_type_id", "cpus", "cpu_mhz", "memory",
            "hypervisor")}  # fmt: skip
    ids = [(SPREAD_NUMBER + place, new_id(), network.free[place]) for place in range(network.there, hosts)]
    every = (f"10.64.{place // 250}.{place % 250 + 2}" for place in range(LAST_PLACE))
    free = (address for address in every if address not in taken)
    copy(engine, Vm, ({**alike, "id": vm_id, "number": number, "name": f"vm-{number}", "display_name": f"vm-{number}",
                       "instance_name": f"i-9-{number}-VM", "host_id": host, "last_host_id": host, "state": "Running"}
                      for number, vm_id, host in ids))  # fmt: skip
    copy(engine, Nic, ({"vm_id": vm_id, "network_id": network.network, "host_id": host,
                        "mac": "06:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(5, "big")),
                        "address": address}
                       for (number, vm_id, host), address in zip(ids, free, strict=False)))  # fmt: skip
    network.there = hosts
    network.deploy(network.free[0])


def told(sequence: int) -> tuple[int, int]:
    """How many commands there have been after `sequence` that tell a host of a network, and the last one's sequence."""
    with db.transaction() as session:
        row = AgentCommandRow
        later = select(func.count(), func.max(row.sequence)).where(row.sequence > sequence, row.name == "network.apply")
        count, last = session.execute(later).one()
    return int(count), int(last or sequence)


def measure(site: Site, options: argparse.Namespace) -> dict[str, Any]:
    network = Spread(site)
    spread(site, network, options.hosts)
    _, before = told(0)
    hosts = (network.free * options.at_once)[: options.at_once]
    with Ends(site.postgresql) as ends:
        alone: list[float] = []
        for number in range(3):
            begun = time.monotonic()
            network.deploy(network.free[number])
            alone.append(time.monotonic() - begun)
        lone, before = told(before)
        asks: list[Callable[[Client], Any]] = [network.asking(host) for host in hosts]
        done = run_round(site, ends, asks, [Tenant(site.root.keys, network.network)], options.at_once)
        count, _ = told(before)
    db.engine().dispose()
    return {
        "hosts": options.hosts,
        "at_once": options.at_once,
        "failed": done.failed,
        "commands_each": round(count / options.at_once, 1),
        "commands_alone": round(lone / 3, 1),
        "alone_seconds": round(share(alone, 0.5), 2),
        "p50_seconds": round(share(done.times, 0.5), 2),
        "last_seconds": round(max(done.times), 2),
        "per_second": round(options.at_once / max(done.times), 2),
        "cpu_seconds": round(done.cost.total_cpu / options.at_once, 3),
        "cpu_by_process": {name: round(seconds, 2) for name, seconds in done.cost.cpu.items()},
        "pace": round(done.pace, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench crowd", description=__doc__)
    parser.add_argument("--hosts", type=int, default=100, help="that the network is on (default 100)")
    parser.add_argument("--at-once", type=int, default=50, help="deployments at once (default 50)")
    parser.add_argument("--port", type=int, default=18080, help="of the API (default 18080)")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/pileus/bench"), help="where its files lie")
    options = parser.parse_args()
    with Site(options.state, options.port, options.hosts) as site:
        found = measure(site, options)
    print(json.dumps({"benchmark": "crowd", **found}))


if __name__ == "__main__":
    main()
