"""`./dev bench scale`: a rule of a security group in a large cloud, from the API to the last host's switch.

So many simulated hosts in one process, so many networks of others in the database, each with a guest; and one network
with security groups that grows over more and more hosts. The time ends when the agent of every host has told that its
flows are changed; processor time is that of all server processes and agents meanwhile, without what they take when
idle. A view is what one host must hold of that network; all of them are computed and told at a change.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import msgspec

from agents.contract import to_plain
from manager import db
from manager.workflows.views import present
from tests.bench.crowd import spread
from tests.bench.measure import Cost, pace
from tests.bench.rule_change import ROUNDS, Spread, fill
from tests.bench.site import Site

IDLE_SECONDS = 30.0
PATIENCE_SECONDS = 3600


def of_views(network_id: str) -> dict[str, Any]:
    """Processor time to compute all views of the network, and how long they are as they are told."""
    times = []
    for _ in range(ROUNDS):
        with db.transaction() as session:
            before = time.process_time()
            shown = present(session, network_id)
            times.append(time.process_time() - before)
    lengths = [len(msgspec.json.encode(to_plain(command))) for command in shown.commands.values()]
    return {
        "views": len(lengths),
        "views_cpu_seconds": round(statistics.median(times), 4),
        "kib_a_view": round(statistics.median(lengths) / 1024, 1),
    }


def of_changes(site: Site, network: Spread, idle: Cost) -> dict[str, Any]:
    """Seconds until a rule is allowed on all hosts, and denied again; processor time of one change."""
    begun = site.meter.read()
    times = [network.change(1000 + number) for number in range(ROUNDS)]
    cost = site.meter.read().since(begun)
    allow, deny = (statistics.median(one) for one in zip(*times, strict=True))
    cpu = (cost.total_cpu - idle.total_cpu / idle.at * cost.at) / (2 * ROUNDS)
    return {"allow": round(allow, 3), "deny": round(deny, 3), "cpu_seconds": round(cpu, 3)}


def measure(site: Site, options: argparse.Namespace, up_seconds: float) -> dict[str, Any]:
    site.root("updateConfiguration", name="host.down.seconds", value=PATIENCE_SECONDS)
    network = Spread(site)
    network.grow(1)
    before = time.monotonic()
    fill(site, options.networks)
    print(f"{options.networks} networks in {time.monotonic() - before:.0f} s", flush=True)
    begun = site.meter.read()
    time.sleep(IDLE_SECONDS)
    idle = site.meter.read().since(begun)
    rows = []
    for hosts in sorted(options.on):
        spread(site, network, hosts)
        row = {"on": hosts, **of_changes(site, network, idle), **of_views(network.network), "pace": round(pace(), 3)}
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        rows.append(row)
    db.engine().dispose()
    idle_cpus = {name: round(seconds / idle.at, 3) for name, seconds in idle.cpu.items()}
    return {"up_seconds": round(up_seconds), "idle_cpus": idle_cpus, "networks_on": rows}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench scale", description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000, help="simulated hosts (default 1000)")
    parser.add_argument("--networks", type=int, default=10_000, help="of others in the database (default 10000)")
    parser.add_argument("--on", type=int, nargs="+", default=[10, 50, 100, 200],
                        help="hosts that the network is on, in turn (default 10 50 100 200)")  # fmt: skip
    parser.add_argument("--port", type=int, default=18080, help="of the API (default 18080)")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/pileus/bench"), help="where its files lie")
    options = parser.parse_args()
    before = time.monotonic()
    with Site(options.state, options.port, options.hosts) as site:
        found = measure(site, options, time.monotonic() - before)
    asked = {"hosts": options.hosts, "networks": options.networks}
    print(json.dumps({"benchmark": "scale", **asked, **found}))


if __name__ == "__main__":
    main()
