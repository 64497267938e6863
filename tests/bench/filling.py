"""A cloud of many accounts, written straight into PostgreSQL: rows of the models, copied in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Engine

from devcloud.management import Keys
from manager.models import (
    Account,
    EventRow,
    Host,
    Network,
    Nic,
    PhysicalNetwork,
    ServiceOffering,
    Tag,
    Template,
    Vm,
    Zone,
    new_id,
)
from tests.client import Caller
from tests.factories import Factory

HOSTS = 100
VMS_EACH = 100
NETWORKS_EACH = 2
EVENTS_EACH = 300
TAGGED = 10
FIRST_NUMBER = 100_000
PORTION = 20_000


def copy(engine: Engine, model: type[Any], rows: Iterable[dict[str, Any]]) -> None:
    """Store rows of `model`; columns that they leave out have the model's defaults."""
    rest = iter(rows)
    while portion := list(islice(rest, PORTION)):
        _copy(engine, model.__table__, portion)


def _copy(engine: Engine, table: Any, rows: list[dict[str, Any]]) -> None:
    absent = [c for c in table.columns if c.name not in rows[0] and c.default is not None]
    names = [*rows[0], *(c.name for c in absent)]
    binders = [table.c[name].type.dialect_impl(engine.dialect).bind_processor(engine.dialect) for name in names]
    quoted = ", ".join(f'"{name}"' for name in names)
    raw: Any = engine.raw_connection()
    try:
        with raw.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({quoted}) FROM STDIN') as out:
            for row in rows:
                values = [*row.values(), *(c.default.arg(None) if callable(c.default.arg) else c.default.arg
                                           for c in absent)]  # fmt: skip
                out.write_row(
                    [bind(v) if bind and v is not None else v for v, bind in zip(values, binders, strict=True)]
                )
        raw.commit()
    finally:
        raw.close()


@dataclass
class Filling:
    """Fills the database of `engine` with accounts that hold VMS_EACH VMs each; `keys` are of the first."""

    engine: Engine

    def __post_init__(self) -> None:
        factory = self.factory = Factory(self.engine)
        self.tenant = Caller.of(self.engine, factory.user("tenant").username)
        self.zone, self.offering = factory(Zone), factory(ServiceOffering)
        self.template = factory(Template, state="Ready")
        self.physical = factory(PhysicalNetwork, zone_id=self.zone.id)
        self.first = factory(Network, zone_id=self.zone.id, physical_network_id=self.physical.id)
        self.hosts = [factory(Host, zone_id=self.zone.id).id for _ in range(HOSTS)]
        self.accounts: list[str] = []

    @property
    def keys(self) -> Keys:
        return Keys(self.tenant.key, self.tenant.secret)

    def grow(self, accounts: int) -> None:
        """Have so many accounts in all."""
        begin = len(self.accounts)
        new = [new_id() if number else self.tenant.account.id for number in range(begin, accounts)]
        numbers = range(FIRST_NUMBER + begin, FIRST_NUMBER + accounts)
        own = self.tenant.account
        made = [
            {"id": account, "number": number, "name": f"a{number}", "domain_id": own.domain_id, "type": 0,
             "role_id": own.role_id, "live": f"bench/a{number}"}
            for account, number in zip(new, numbers, strict=True) if account != own.id
        ]  # fmt: skip
        copy(self.engine, Account, made)
        networks = {account: [new_id() for _ in range(NETWORKS_EACH)] for account in new}
        copy(self.engine, Network, self._networks(networks, begin))
        vms = [(new_id(), number, account) for number, account in enumerate(
            (account for account in new for _ in range(VMS_EACH)), FIRST_NUMBER + begin * VMS_EACH)]  # fmt: skip
        copy(self.engine, Vm, (self._vm(*vm) for vm in vms))
        copy(self.engine, Nic, (self._nic(*vm, networks) for vm in vms))
        copy(self.engine, Tag, ({"resource_id": vm_id, "key": "k", "value": "v", "resource_type": "UserVm",
                                 "account_id": account} for vm_id, n, account in vms if n % TAGGED == 0))  # fmt: skip
        copy(self.engine, EventRow, (self._event(account, number) for number in range(EVENTS_EACH) for account in new))
        self.accounts += new

    def _networks(self, networks: dict[str, list[str]], begin: int) -> Iterator[dict[str, Any]]:
        shared = {name: getattr(self.first, name) for name in ("zone_id", "offering_id", "physical_network_id", "cidr",
                                                               "gateway", "netmask", "network_domain")}  # fmt: skip
        key = FIRST_NUMBER + begin * NETWORKS_EACH
        for account, ids in networks.items():
            for identifier in ids:
                key += 1
                yield {**shared, "id": identifier, "name": f"n{key}", "display_text": f"network {key}",
                       "account_id": account, "key": key, "state": "Implemented"}  # fmt: skip

    def _vm(self, vm_id: str, number: int, account: str) -> dict[str, Any]:
        host = self.hosts[number % HOSTS]
        return {
            "id": vm_id, "number": number, "name": f"vm-{number}", "display_name": f"VM {number}",
            "instance_name": f"i-2-{number}-VM", "account_id": account, "zone_id": self.zone.id, "host_id": host,
            "last_host_id": host, "template_id": self.template.id, "service_offering_id": self.offering.id,
            "os_type_id": self.template.os_type_id, "hypervisor": "Simulator", "state": "Running", "cpus": 1,
            "cpu_mhz": 500, "memory": 64 * 2**20,
        }  # fmt: skip

    def _nic(self, vm_id: str, number: int, account: str, networks: dict[str, list[str]]) -> dict[str, Any]:
        network, host = networks[account][number % NETWORKS_EACH], self.hosts[number % HOSTS]
        return {
            "vm_id": vm_id, "network_id": network, "host_id": host,
            "mac": "06:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(5, "big")),
            "address": f"10.1.{number % VMS_EACH // 50}.{number % 50 + 2}",
        }  # fmt: skip

    def _event(self, account: str, number: int) -> dict[str, Any]:
        return {
            "type": "VM.START", "description": f"startVirtualMachine: VirtualMachine {number}", "account_id": account,
            "user_id": self.tenant.user.id, "source": "192.0.2.1", "resource_type": "VirtualMachine",
            "resource_name": f"vm-{number}", "parameters": {"id": str(number)}, "announced": True,
        }  # fmt: skip
