"""A fresh simulator with a PostgreSQL that counts, for benchmarks of the management server."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from devcloud.management import DATABASE, Keys
from devcloud.simulator import Simulator
from tests.bench.measure import MeasuredPostgreSQL, Meter
from tests.bench.wire import Client

ACCOUNTS = 10
OFFERING = "tiny"
NETWORK_OFFERING = "DefaultIsolatedNetworkOfferingWithSourceNatService"
UNLIMITED = ("user.vms", "cpus", "memory", "volumes", "primary.storage", "networks", "public.ips")


@dataclass
class Tenant:
    """An account with its keys and its one network."""

    keys: Keys
    network_id: str


class Site:
    """The simulator with a PostgreSQL that counts, filled with tenants."""

    def __init__(self, state: Path, port: int, hosts: int) -> None:
        self.state, self.port = state, port
        state.mkdir(parents=True, exist_ok=True)
        self.postgresql = MeasuredPostgreSQL(state / "counted")
        self.simulator = Simulator(state / "sim", port, hosts, self.postgresql.url(DATABASE))

    def __enter__(self) -> Self:
        self.postgresql.start()
        try:
            self.postgresql.create(DATABASE)
            self.simulator.up()
        except BaseException:
            self.__exit__()
            raise
        keys = json.loads(self.simulator.root_keys_file.read_text())
        self.root = Client(self.port, Keys(**keys))
        self.meter = Meter(self.simulator.management.group, self.postgresql, DATABASE)
        return self

    def __exit__(self, *_: object) -> None:
        self.simulator.down()
        self.postgresql.stop()
        shutil.rmtree(self.state, ignore_errors=True)

    def place(self) -> dict[str, str]:
        offering = self.root("listServiceOfferings", name=OFFERING)["serviceoffering"][0]["id"]
        template = self.root("listTemplates", templatefilter="all", name="tiny")["template"][0]["id"]
        return {"zoneid": self._zone(), "serviceofferingid": offering, "templateid": template}

    def tenants(self, networks: int) -> list[Tenant]:
        """`networks` networks of ten accounts without limits."""
        for name in UNLIMITED:
            self.root("updateConfiguration", name=f"max.account.{name}", value=-1)
        keys = [self._account(f"bench{number}") for number in range(ACCOUNTS)]
        return [self._network(keys[number % ACCOUNTS], f"net{number}") for number in range(networks)]

    def _zone(self) -> str:
        return str(self.root("listZones")["zone"][0]["id"])

    def _account(self, name: str) -> Keys:
        person = {"firstname": name, "lastname": "Bench", "email": f"{name}@bench.test", "password": "bench-password"}
        account = self.root("createAccount", username=name, account=name, accounttype=0, **person)["account"]
        keys = self.root("registerUserKeys", id=account["user"][0]["id"])["userkeys"]
        return Keys(keys["apikey"], keys["secretkey"])

    def _network(self, keys: Keys, name: str) -> Tenant:
        offering = self.root("listNetworkOfferings", name=NETWORK_OFFERING)["networkoffering"][0]["id"]
        place = {"zoneid": self._zone(), "networkofferingid": offering}
        network = Client(self.port, keys)("createNetwork", name=name, displaytext=name, **place)["network"]
        return Tenant(keys, network["id"])
