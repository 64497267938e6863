"""What the steps of a VM's workflows read, tell hosts and give back in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import Executable, bindparam, delete, exists, select
from sqlalchemy.orm import defer

from agents.contract import ApplyNetwork, command_from, to_plain
from manager.db import write
from manager.models import (
    AffinityMember,
    DiskOffering,
    Host,
    ImageStore,
    Network,
    Nic,
    ServiceOffering,
    StoragePool,
    Template,
    Vm,
    Volume,
    utcnow,
)
from manager.placement import affinity, limits
from manager.placement import host as placement
from manager.workflows.carriers import or_owe
from manager.workflows.crowds import leave_to_carrier
from manager.workflows.engine import Ask, Run
from manager.workflows.rules import retire_rules_of_vm
from manager.workflows.views import picture
from manager.workflows.vpc_view import lock_networks


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume of the VM with what is made of it: its pool once it has one, its template and that one's store.

    `offering` is its own; one without has the traits of its VM's.
    """

    volume: Volume
    pool: StoragePool | None
    template: Template | None
    store: ImageStore | None
    offering: DiskOffering | None = None


def vm_of(run: Run) -> Vm:
    vm: Vm = _read(run)[0]
    return vm


def offering_of(run: Run) -> ServiceOffering:
    offering: ServiceOffering = _read(run)[1]
    return offering


def affinity_groups_of(run: Run) -> tuple[str, ...]:
    """The ids of the VM's affinity groups, which stay locked until the visit ends."""
    return affinity.locked_groups(run.session, run.row.subject_id) if _read(run)[3] else ()


def plugs_of(run: Run) -> list[tuple[Nic, Network]]:
    """The VM's NICs, each with its network."""
    plugs: list[tuple[Nic, Network]] = _read(run)[2]
    return plugs


def _read(run: Run) -> Any:
    """The VM, its offering, its plugs, and whether it is in affinity groups: in one statement and once a visit."""
    if "vm" not in run.cache:
        rows = run.session.execute(_vm_query(), {"vm_id": run.row.subject_id}).all()
        plugs = [(row[2], row[3]) for row in rows if row[2] is not None]
        run.cache["vm"] = (rows[0][0], rows[0][1], plugs, rows[0][4])
    return run.cache["vm"]


@cache
def _vm_query() -> Executable:
    return (
        select(Vm, ServiceOffering, Nic, Network, exists().where(AffinityMember.vm_id == Vm.id))
        .join(ServiceOffering, ServiceOffering.id == Vm.service_offering_id)
        .outerjoin(Nic, Nic.vm_id == Vm.id)
        .outerjoin(Network, Network.id == Nic.network_id)
        .where(Vm.id == bindparam("vm_id"))
        .order_by(Nic.device)
        .options(defer(Vm.user_data), defer(Vm.public_keys))
    )


def disks_of(run: Run) -> list[Disk]:
    if "disks" not in run.cache:
        with run.session.no_autoflush:  # what a step has changed by now is written with what it changes next
            rows = run.session.execute(_disk_query(), {"vm_id": run.row.subject_id})
            run.cache["disks"] = [Disk(*row) for row in rows]
    return cast("list[Disk]", run.cache["disks"])


@cache
def _disk_query() -> Executable:
    return (
        select(Volume, StoragePool, Template, ImageStore, DiskOffering)
        .outerjoin(StoragePool, StoragePool.id == Volume.pool_id)
        .outerjoin(Template, Template.id == Volume.template_id)
        .outerjoin(ImageStore, ImageStore.id == Template.image_store_id)
        .outerjoin(DiskOffering, DiskOffering.id == Volume.disk_offering_id)
        .where(Volume.vm_id == bindparam("vm_id"), Volume.removed.is_(None))
        .order_by(Volume.device)
    )


def volumes_of(run: Run) -> list[Volume]:
    return [disk.volume for disk in disks_of(run)]


def nics_of(run: Run) -> list[Nic]:
    return [nic for nic, _ in plugs_of(run)]


def networks_of(run: Run) -> list[str]:
    """The ids of the VM's networks, in the one order in which everybody locks them.

    Several with a tier of a VPC among them are locked at once: the VPC is locked after all of them.
    """
    found = sorted({nic.network_id for nic in nics_of(run)})
    if len(found) > 1 and any(network.vpc_id for _, network in plugs_of(run)):
        lock_networks(run.session, found)
    return found


def place_nics(run: Run, host_id: str | None) -> None:
    for nic in nics_of(run):
        nic.host_id = host_id


def agent_of(run: Run, host_id: str) -> str:
    agent_id = run.session.scalar(select(Host.agent_id).where(Host.id == host_id))
    return str(agent_id)


def tell(run: Run, host_id: str, *, leaving: bool = False) -> tuple[list[Ask], tuple[ApplyNetwork, ...]]:
    """Commands to the other hosts of the VM's networks, and those for its own host, to go with another command.

    Of networks of a crowd there are those of its own host only; a later step waits until the others were told.
    """
    own = []
    asks: list[Ask] = []
    for network_id in networks_of(run):
        shown = picture(run.session, network_id, leaving=[host_id] if leaving else (), own=host_id)
        leave_to_carrier(run, network_id, shown)
        asks += or_owe(run, shown.asks(but=host_id), shown.down)
        if host_id in shown.commands:
            own.append(shown.commands[host_id])
    return asks, tuple(own)


def part(ask: Ask) -> list[object]:
    return [ask.agent_id, ask.command.name, to_plain(ask.command), ask.generation]


def ask_of(part: Any) -> Ask:
    """The ask that `_part` took apart to be noted."""
    agent_id, name, plain, generation = part
    return Ask(agent_id, command_from(name, plain), generation)


def leave_host(run: Run) -> None:
    """Give back the host's CPU and memory; nothing runs there any more."""
    vm = vm_of(run)
    if vm.host_id is not None:
        placement.release(run.session, vm.host_id, vm.cpus * vm.cpu_mhz, vm.memory)
        place_nics(run, None)
        vm.host_id = None


def forget_holdings(run: Run, vm: Vm, *, counted: bool = False) -> None:
    """Free addresses and volumes in the database. `counted`: the VM itself is off the account's count already."""
    volumes = volumes_of(run)
    for volume in volumes:
        if volume.pool_id is not None:
            placement.release_pool(run.session, volume.pool_id, volume.size)
        volume.state, volume.removed, volume.live = "Expunged", utcnow(), None
    if any(network.rules_wanted for _, network in plugs_of(run)):
        retire_rules_of_vm(run.session, vm.id)
    write(run.session, delete(Nic).where(Nic.vm_id == vm.id))
    held = {"volumes": len(volumes), "primary_storage": sum(volume.size for volume in volumes)}
    if not counted:
        held |= {"vms": 1, "cpus": vm.cpus, "memory": vm.memory}
    limits.release(run.session, vm.account_id, **held)
