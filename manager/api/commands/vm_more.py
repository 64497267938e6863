"""What virtual machines show besides what they are: who deployed them, their root volume, lease, address and figures.

All of it comes with the statement that reads the machines themselves.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import aliased

from manager import configuration
from manager.api.call import Call
from manager.api.commands.storage_pool import TYPES
from manager.api.commands.vm_lease import shown_lease
from manager.api.response import Bool, Int, Long, Response, Shown, Str, When
from manager.models import (
    Annotation,
    DiskOffering,
    PublicAddress,
    StaticNatRule,
    StoragePool,
    User,
    Vm,
    VmFigures,
    Volume,
)

KIB = 1024
BY_DEFAULT, SUMMED = "list.vm.default.details.stats", "vm.stats.increment.metrics"
STATS = "stats"
_Root = aliased(Volume)
_static_nat = (
    select(func.min(StaticNatRule.address_id))
    .where(StaticNatRule.vm_id == Vm.id, StaticNatRule.removed.is_(None), StaticNatRule.state == "Active")
    .correlate(Vm)
    .scalar_subquery()
)


class MoreOfVmResponse(Response):
    userid = Str("the id of the user who deployed it")
    username = Str("the user who deployed it")
    lastupdated = When("when anything of it was changed last")
    deleteprotection = Bool("whether it cannot be destroyed")
    leaseduration = Int("days until its lease ends")
    leaseexpirydate = When("when its lease ends")
    leaseexpiryaction = Str("what is done to it then: STOP or DESTROY")
    publicip = Str("the public address that stands for it by static NAT")
    publicipid = Str("the id of that address")
    diskofferingid = Str("the id of its root volume's own disk offering, where it has one")
    diskofferingname = Str("that disk offering")
    pooltype = Str("the kind of storage pool that holds its root volume")
    vmtype = Str("User")
    templatetype = Str("always USER")
    cpuused = Str("how much of its CPUs it used between the last two reports of its host")
    networkkbsread = Long("KiB that it received")
    networkkbswrite = Long("KiB that it sent")
    diskkbsread = Long("KiB that it read from its disks")
    diskkbswrite = Long("KiB that it wrote to its disks")
    diskioread = Long("how often it read")
    diskiowrite = Long("how often it wrote")
    memorykbs = Long("KiB of memory that it has now")
    memorytargetkbs = Long("KiB of memory that it may have")
    memoryintfreekbs = Long("KiB of memory that are free, as its guest tells")
    receivedbytes = Long("bytes that it has received since it was made")
    sentbytes = Long("bytes that it has sent since it was made")


def with_more(query: Select[Any]) -> Select[Any]:
    """Joined with what the columns of `more_columns` are read from; at most one row of each for a machine."""
    root = (_Root.vm_id == Vm.id) & (_Root.type == "ROOT") & _Root.removed.is_(None)
    return (
        query.outerjoin(User, User.id == Vm.user_id)
        .outerjoin(_Root, root)
        .outerjoin(DiskOffering, DiskOffering.id == _Root.disk_offering_id)
        .outerjoin(StoragePool, StoragePool.id == _Root.pool_id)
    )


def more_columns() -> list[Any]:
    public = select(PublicAddress.address).where(PublicAddress.id == _static_nat)
    on_it = (Annotation.entity_type == "VM", Annotation.entity_id == Vm.id, Annotation.removed.is_(None))
    kept = select(func.min(case((Annotation.admins_only, 1), else_=0))).where(*on_it).correlate(Vm)
    return [
        Vm.user_id, User.username, Vm.updated, Vm.delete_protection, Vm.lease_ends, Vm.lease_action,
        DiskOffering.id.label("disk_offering_id"), DiskOffering.name.label("disk_offering_name"),
        StoragePool.driver.label("pool_driver"), _static_nat.label("public_id"),
        public.correlate(Vm).scalar_subquery().label("public_address"), kept.scalar_subquery().label("annotated"),
    ]  # fmt: skip


def is_annotated(call: Call, row: Any) -> bool:
    """Whether there is an annotation that the caller could read; `annotated` is 1 where administrators alone can."""
    return row.annotated is not None and (call.is_root_admin or row.annotated == 0)


def with_figures(query: Select[Any]) -> Select[Any]:
    return query.outerjoin(VmFigures, VmFigures.vm_id == Vm.id)


def figure_columns() -> list[Any]:
    return [VmFigures.recent, VmFigures.totals]


def wants_figures(call: Call, details: list[str] | None) -> bool:
    """Whether what guests do is to be shown with machines whose parts were asked for, or were not."""
    if not details:
        return bool(configuration.value(call.session, BY_DEFAULT))
    return bool({STATS, "all"} & set(details))


def shown_more(row: Any) -> Shown:
    return {
        "userid": row.user_id,
        "username": row.username,
        "lastupdated": row.updated,
        "deleteprotection": row.delete_protection,
        **shown_lease(row),
        "publicip": row.public_address,
        "publicipid": row.public_id,
        "diskofferingid": row.disk_offering_id,
        "diskofferingname": row.disk_offering_name,
        "pooltype": TYPES.get(row.pool_driver, row.pool_driver),
        "vmtype": "User",
        "templatetype": "USER",
    }


def shown_figures(row: Any, *, summed: bool) -> Shown:
    """Of a row with the columns of figures; nothing before the host's first report, or without those columns.

    `summed`: since the machine was made, else between the last two reports.
    """
    recent = getattr(row, "recent", None)
    if not recent:
        return {}
    counted = row.totals if summed else recent
    seconds = recent.get("seconds")
    used = 100 * recent["cpu_ns"] / 1e9 / seconds / row.cpus if seconds and seconds > 0 else None
    return {
        "cpuused": f"{used:.2f}%" if used is not None else None,
        "networkkbsread": counted["received"] // KIB,
        "networkkbswrite": counted["sent"] // KIB,
        "diskkbsread": counted["read"] // KIB,
        "diskkbswrite": counted["written"] // KIB,
        "diskioread": counted["reads"],
        "diskiowrite": counted["writes"],
        "memorykbs": recent["memory"],
        "memorytargetkbs": recent["memory_target"],
        "memoryintfreekbs": recent["memory_free"],
        "receivedbytes": row.totals["received"],
        "sentbytes": row.totals["sent"],
    }
