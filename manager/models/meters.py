"""Usage is measured where states change: spans begin and end in the transaction that changes what they measure.

Every way in which a metered row can change passes here: the unit of work, and UPDATE, INSERT and DELETE statements.
What was used before and after a change is compared; what differs ends and begins. So no caller has to think of it,
and what is rolled back was never measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from sqlalchemy import case, insert, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.util import identity_key

from manager.db import epoch
from manager.models.catalog import Template
from manager.models.compute import Nic, Vm, Volume
from manager.models.network import Network
from manager.models.topology import PublicAddress
from manager.models.usage import UsageSpan

RUNNING_VM, ALLOCATED_VM, IP_ADDRESS, BYTES_SENT, BYTES_RECEIVED, VOLUME, TEMPLATE = 1, 2, 3, 4, 5, 6, 7
NETWORK_OFFERING, NETWORK = 13, 30
MIB = 2**20
RUNS = frozenset({"Running", "Migrating"})
GONE = frozenset({"Error", "Destroyed", "Expunging"})
LOST = frozenset({"Expunging", "Expunged"})

Facts = dict[str, Any]
Uses = dict[int, Facts]


def _of_vm(vm: Any) -> Uses:
    if vm.removed is not None or vm.state in GONE:
        return {}
    facts = {
        "name": vm.name,
        "vm_id": vm.id,
        "offering_id": vm.service_offering_id,
        "template_id": vm.template_id,
        "os_type_id": vm.os_type_id,
        "kind": vm.hypervisor,
        "cpus": vm.cpus,
        "mhz": vm.cpu_mhz,
        "memory": vm.memory // MIB,
    }
    return {ALLOCATED_VM: facts} | ({RUNNING_VM: facts} if vm.state in RUNS else {})


def _of_volume(volume: Any) -> Uses:
    if volume.removed is not None or volume.state in LOST:
        return {}
    facts = {"name": volume.name, "size": volume.size, "template_id": volume.template_id}
    return {VOLUME: {**facts, "offering_id": volume.disk_offering_id}}


def _of_template(template: Any) -> Uses:
    if template.removed is not None or template.state != "Ready":
        return {}
    facts = {"name": template.name, "size": template.physical_size, "virtual_size": template.size}
    return {TEMPLATE: {**facts, "template_id": template.id}}


def _of_network(network: Any) -> Uses:
    if network.removed is not None:
        return {}
    return {NETWORK: {"name": network.name, "network_id": network.id, "offering_id": network.offering_id}}


def _of_address(address: Any) -> Uses:
    if address.account_id is None:
        return {}
    facts = {"name": address.address, "network_id": address.network_id}
    return {IP_ADDRESS: {**facts, "is_source_nat": address.source_nat}}


def _of_nic(nic: Any) -> Uses:
    """A NIC of a VM uses its network's offering; routers' NICs belong to the cloud."""
    if nic.account_id is None:
        return {}
    facts = {"vm_id": nic.vm_id, "network_id": nic.network_id, "offering_id": nic.offering_id}
    return {NETWORK_OFFERING: {**facts, "name": nic.vm_name, "is_default": nic.is_default}}


@dataclass(frozen=True)
class Meter:
    """What rows of `model` use: `uses` reads `columns` of a row. A change of no `watched` column changes no use.

    `kinds` are all that `uses` can give, first that which every metered row has. `query` reads what is not in the row,
    and `inserted` gives that of a row of these values where the session has it at hand. Rows in two states of the same
    `sort` use the same.
    """

    model: type[Any]
    kinds: tuple[int, ...]
    uses: Callable[[Any], Uses]
    columns: tuple[str, ...]
    unwatched: frozenset[str] = frozenset({"id", "name"})
    query: Any = None
    sort: Callable[[str], Any] | None = None
    inserted: Callable[[Session, dict[str, Any]], Any] | None = None

    @property
    def watched(self) -> frozenset[str]:
        return frozenset(self.columns) - self.unwatched

    def keys(self, resource_id: str) -> list[str]:
        """Under what `open` spans of the resource can be found."""
        return [key_of(kind, resource_id) for kind in self.kinds]

    def reading(self) -> Any:
        """A select of what `uses` reads."""
        return self.query if self.query is not None else select(*(getattr(self.model, name) for name in self.columns))


_NICS = (
    select(Nic.id, Nic.vm_id, Nic.network_id, Nic.is_default, Vm.name.label("vm_name"), Vm.account_id, Vm.zone_id,
           Network.offering_id)
    .outerjoin(Vm, Vm.id == Nic.vm_id)
    .join(Network, Network.id == Nic.network_id)
)  # fmt: skip


def _inserted_nic(session: Session, values: dict[str, Any]) -> Any:
    """What _NICS reads of a new NIC of a VM; None where its VM or its network is not in the session."""
    if values.get("vm_id") is None:
        return None
    network: Any = session.identity_map.get(identity_key(Network, values["network_id"]))
    vm: Any = session.identity_map.get(identity_key(Vm, values["vm_id"]))
    if network is None or vm is None:
        return None
    owned = {"vm_name": vm.name, "account_id": vm.account_id, "zone_id": vm.zone_id}
    return SimpleNamespace(**values, **owned, offering_id=network.offering_id)


_OWNED = ("id", "account_id", "zone_id")
_SHAPE = ("service_offering_id", "template_id", "os_type_id", "hypervisor", "cpus", "cpu_mhz", "memory")
_IMAGE = ("name", "state", "removed", "size", "physical_size")
_DISK = ("name", "state", "removed", "size", "template_id", "disk_offering_id")

METERS: dict[type[Any], Meter] = {
    meter.model: meter
    for meter in (
        Meter(
            Vm,
            (ALLOCATED_VM, RUNNING_VM),
            _of_vm,
            (*_OWNED, "name", "state", "removed", *_SHAPE),
            sort=lambda state: (state in GONE, state in RUNS),
        ),
        Meter(Volume, (VOLUME,), _of_volume, (*_OWNED, *_DISK), sort=lambda state: state in LOST),
        Meter(Template, (TEMPLATE,), _of_template, (*_OWNED, *_IMAGE)),
        Meter(Network, (NETWORK,), _of_network, (*_OWNED, "name", "removed", "offering_id")),
        Meter(PublicAddress, (IP_ADDRESS,), _of_address, (*_OWNED, "address", "network_id", "source_nat")),
        Meter(
            Nic,
            (NETWORK_OFFERING,),
            _of_nic,
            ("id", "vm_id", "network_id", "is_default"),
            query=_NICS,
            inserted=_inserted_nic,
        ),
    )
}


class Differing:
    """A row with other values: as it was before a change, or is after it."""

    def __init__(self, row: Any, values: dict[str, Any]) -> None:
        self._row, self._values = row, values

    def __getattr__(self, name: str) -> Any:
        return self._values[name] if name in self._values else getattr(self._row, name)


def key_of(kind: int, resource_id: str) -> str:
    return f"{kind}:{resource_id}"


def record_change(session: Session, meter: Meter, pairs: Iterable[tuple[Any, Any]]) -> None:
    """End and begin what differs between the rows before and after a change; None where there was, or is, no row."""
    ended: list[str] = []
    begun: list[dict[str, Any]] = []
    for before, after in pairs:
        row = after if after is not None else before
        old = _owned(meter, before)
        new = _owned(meter, after)
        changed = [kind for kind in {**old, **new} if old.get(kind) != new.get(kind)]
        if before is not None:
            ended += [key_of(kind, row.id) for kind in changed]
        begun += [_span(row, kind, new[kind]) for kind in changed if kind in new]
    end_spans(session, ended)
    for span in begun:
        _pending(session).begun[span["open"]] = span


def _owned(meter: Meter, row: Any) -> dict[int, tuple[Any, ...]]:
    """What a row uses by kind, with who pays; nothing of no row."""
    uses = meter.uses(row) if row is not None else {}
    return {kind: (row.account_id, facts) for kind, facts in uses.items()}


def _span(row: Any, kind: int, owned: tuple[Any, ...]) -> dict[str, Any]:
    account_id, facts = owned
    return {
        "open": key_of(kind, row.id),
        "type": kind,
        "account_id": account_id,
        "zone_id": row.zone_id,
        "resource_id": row.id,
        "facts": facts,
    }


@dataclass
class Pending:
    """What a transaction has ended and begun, by the spans' `open`; it is written once, at its end."""

    ended: dict[str, None] = field(default_factory=dict)
    begun: dict[str, dict[str, Any]] = field(default_factory=dict)


def _pending(session: Session) -> Pending:
    found: Pending = session.info.setdefault("usage", Pending())
    return found


def end_spans(session: Session, keys: Sequence[str]) -> None:
    """End the open spans of these keys with the transaction. What began in it was never used."""
    pending = _pending(session)
    for key in keys:
        if pending.begun.pop(key, None) is None:
            pending.ended[key] = None


def settle(session: Session) -> None:
    """Write what has ended and begun; before a savepoint too, whose rollback must not take it along.

    A span ends now, or where it is counted to already, should that be later by a breath.
    """
    session.flush()
    pending = session.info.pop("usage", Pending())
    if pending.ended:
        now = case((UsageSpan.counted > epoch(), UsageSpan.counted), else_=epoch())
        statement = update(UsageSpan).where(UsageSpan.open.in_(list(pending.ended))).values(ended=now, open=None)
        session.execute(statement, execution_options={"synchronize_session": False})
    if pending.begun:
        begun = list(pending.begun.values())
        inserting = insert(UsageSpan.__table__).values(started=epoch())  # type: ignore[arg-type]  # a declared class has a table
        if session.get_bind().dialect.insert_executemany_returning and len(begun) > 1:
            inserting = inserting.returning(UsageSpan.number)  # all rows then go in one statement
        session.connection().execute(inserting, begun)
