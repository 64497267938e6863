"""`./dev simulator`: the management server over simulated hosts, for scale, speed and clients; needs no root."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cs import CloudStackException

from devcloud import enrolment, status
from devcloud.cloud import POD, PUBLIC, TEMPLATE, ZONE
from devcloud.management import Management, write_secret
from devcloud.processes import CommandError, NotReadyError
from devcloud.seed import Seed
from devcloud.setup import step

SIMULATED_DISK = 16 << 40
SYSTEM_STATE = Path("/var/lib/pileus/simulator")
USER_STATE = Path("~/.local/state/pileus/simulator")


@dataclass
class Simulator:
    """A management server of its own below `state`, one agent process for all of its simulated hosts.

    `pace` holds heartbeat_seconds and inventory_seconds, when they shall differ from the agents' own, which are longer
    the more hosts there are: one process reports for all. `latency` is the seconds that a simulated hypervisor takes
    for each change.
    """

    state: Path
    port: int
    hosts: int = 10
    database: str = ""
    pace: dict[str, float] = field(default_factory=dict)
    latency: float = 0.0

    @cached_property
    def management(self) -> Management:
        management = Management(self.state, self.port, self._kept_database())
        if self.settings.exists():
            management.extra = [enrolment.agent_process("agents", self.settings)]
        return management

    @property
    def settings(self) -> Path:
        return self.state / "agents" / "agent.json"

    @property
    def root_keys_file(self) -> Path:
        return self.state / "secrets" / "root.json"

    @property
    def tenants_file(self) -> Path:
        return self.state / "secrets" / "seeded.json"

    def up(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        management = self.management
        with step("database and Redis"):
            management.start_services()
        with step("database schema and root administrator"):
            management.migrate()
            keys = management.bootstrap()
            write_secret(self.root_keys_file, json.dumps(vars(keys)))
        with step("API and orchestrator"):
            management.start_servers()
        with step(f"zone with {self.hosts} simulated hosts"):
            self._seed(Seed(management.endpoint, keys, "Simulator"))

    def down(self) -> None:
        with step("processes"):
            self.management.group.stop()
        with step("files"):
            shutil.rmtree(self.state, ignore_errors=True)

    def exports(self) -> str:
        """:raises FileNotFoundError: the simulator has not been brought up."""
        root, tenants = (json.loads(path.read_text()) for path in (self.root_keys_file, self.tenants_file))
        return status.exports(self.management.endpoint, root, tenants)

    def _seed(self, seed: Seed) -> None:
        key = enrolment.public_key(self.settings.parent)
        zone = seed.zone(ZONE, PUBLIC.gateway)
        network = seed.physical_network(zone, "")
        seed.public_range(zone, network, PUBLIC)
        pod = seed.pod(zone, POD)
        place = {"zoneid": zone, "podid": pod, "clusterid": seed.cluster(zone, pod)}
        joined = {"secondary": seed.image_store(zone, f"simulator://{self.state}/simulated/secondary", key)}
        there = seed.ids("listHosts", "host", type="Routing", zoneid=zone)
        pools = seed.ids("listStoragePools", "storagepool", zoneid=zone)
        for number in range(1, self.hosts + 1):
            name, pool = f"sim{number}", f"sim{number}-local"
            joined[name] = there.get(name) or seed.add_host(name, place, key)
            if pool not in pools:
                url = f"simulator://{self.state}/simulated/{name}"
                seed.add_pool(pool, joined[name], place, url, SIMULATED_DISK)
        self._run_agents(joined)
        seed.wait_for_hosts(zone, self.hosts)
        seed.offerings()
        seed.tenants(self.tenants_file)
        seed.enable_zone(zone)
        seed.template(TEMPLATE, zone, "http://images.test/tiny.qcow2", "")
        seed.wait_for_template(TEMPLATE, zone)

    def _run_agents(self, joined: dict[str, str]) -> None:
        """Write the settings of the one process that is the agent of every host and of the image store.

        It reads many queues, so it has the manager's account on the broker.
        """

        def join(_: str) -> dict[str, Any]:
            documents = self.management.join_documents(list(joined.values()))
            agents = [self._agent(name, one) for name, one in zip(joined, documents, strict=True)]
            return {"role": "simulator", "agents": agents}

        directory = self.settings.parent
        pace = {"heartbeat_seconds": max(10.0, self.hosts / 50), "inventory_seconds": max(30.0, self.hosts / 10)}
        local = {"broker_url": self.management.redis.broker_url(), "state_dir": str(directory), **pace, **self.pace}
        enrolment.write_settings(self.settings, " ".join(joined.values()), join, local)
        self.management.extra = [enrolment.agent_process("agents", self.settings)]
        self.management.apply()

    def _agent(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        directory = self.settings.parent
        return {
            **document,
            "private_key_file": str(directory / enrolment.PRIVATE_KEY),
            "journal": str(directory / name / "journal.db"),
            "state_dir": str(directory / name),
            "hypervisor": "simulator",
            "hostname": name,
            "underlay_address": _underlay_address(name),
            "latency_seconds": self.latency,
        }

    def _kept_database(self) -> str:
        """The database that the first `up` was given, so that later commands need not name it."""
        kept = self.state / "database-url"
        if self.database:
            self.state.mkdir(parents=True, exist_ok=True)
            write_secret(kept, self.database)
        return kept.read_text() if kept.exists() else ""


def state_directory(port: int) -> Path:
    base = SYSTEM_STATE if os.geteuid() == 0 else USER_STATE.expanduser()
    return base / str(port)


def _underlay_address(name: str) -> str:
    """An address of its own for each simulated host, of the range for benchmarks (RFC 2544); nothing is sent there."""
    number = int(name.removeprefix("sim") or 0) if name.startswith("sim") else 0
    return str(ipaddress.IPv4Address("198.18.0.0") + number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev simulator", description=__doc__)
    parser.add_argument("action", choices=["up", "env", "down"])
    parser.add_argument("--hosts", type=int, default=10, help="how many simulated hosts (default 10)")
    parser.add_argument("--port", type=int, default=8090, help="of the API (default 8090)")
    parser.add_argument("--database", default="", help="SQLAlchemy URL (default: a PostgreSQL of its own)")
    chosen = parser.parse_args()
    simulator = Simulator(state_directory(chosen.port), chosen.port, chosen.hosts, chosen.database)
    try:
        if chosen.action == "up":
            simulator.up()
            print(f'API: {simulator.management.endpoint}    Keys: eval "$(./dev simulator env --port {chosen.port})"')
        elif chosen.action == "env":
            print(simulator.exports(), end="")
        else:
            simulator.down()
    except (CommandError, NotReadyError, CloudStackException) as error:
        print(f"\nsimulator: {error}", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        print(f"\nsimulator: {error.filename} is missing; is it up?", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
