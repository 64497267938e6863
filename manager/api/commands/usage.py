"""Usage records: what accounts used in each period, and the counting of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import IntegrityError

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, Given, ListRequest, Page, Request, SuccessResponse, command
from manager.api.commands.place import with_keyword
from manager.api.commands.tag import TagResponse
from manager.api.errors import CONFLICT, ApiError, Invalid
from manager.api.fields import Date, Flag, Integer, Long, Ref, Text
from manager.api.response import Bool, Int, Many, Response, Shown, Str, When
from manager.api.response import Long as LongField
from manager.api.rows import by_id, owners_of, tags_of
from manager.db import epoch
from manager.models import Account, Domain, LeaseRow, OsCategory, OsType, Project, UsageJob, UsageRecord, meters
from manager.workflows import usage

SECOND = dt.timedelta(seconds=1)

TYPES: dict[int, tuple[str, str, str]] = {
    meters.RUNNING_VM: ("RUNNING_VM", "Running Vm Usage", "running time"),
    meters.ALLOCATED_VM: ("ALLOCATED_VM", "Allocated Vm Usage", "allocated time"),
    meters.IP_ADDRESS: ("IP_ADDRESS", "IP Address Usage", "address held"),
    meters.BYTES_SENT: ("NETWORK_BYTES_SENT", "Network Usage (Bytes Sent)", "bytes sent"),
    meters.BYTES_RECEIVED: ("NETWORK_BYTES_RECEIVED", "Network Usage (Bytes Received)", "bytes received"),
    meters.VOLUME: ("VOLUME", "Volume Usage", "volume kept"),
    meters.TEMPLATE: ("TEMPLATE", "Template Usage", "template kept"),
    meters.NETWORK_OFFERING: ("NETWORK_OFFERING", "Network Offering Usage", "network offering used"),
    meters.NETWORK: ("NETWORK", "Network Usage", "network kept"),
}
"""By type: CloudStack's name, its description, and how a record is described."""
BYTES = (meters.BYTES_SENT, meters.BYTES_RECEIVED)


class UsageRecordResponse(Response):
    object_key = "usagerecord"
    account = Str("the account that used it")
    projectid = Str("the id of the project that used it, in place of the account")
    project = Str("the project that used it")
    accountid = Str("that account's id")
    domainid = Str("the id of that account's domain")
    domain = Str("that account's domain")
    domainpath = Str("the path of that account's domain")
    zoneid = Str("the id of the zone")
    description = Str("what was used")
    usage = Str("how much, with its unit")
    usagetype = Int("the type of usage, as listUsageTypes tells it")
    rawusage = Str("how much: hours, or bytes of traffic")
    virtualmachineid = Str("the id of the virtual machine")
    name = Str("the name of what was used")
    offeringid = Str("the id of its offering")
    templateid = Str("the id of its template")
    ostypeid = Str("the id of its operating system type")
    osdisplayname = Str("the name of that")
    oscategoryid = Str("the id of that one's category")
    oscategoryname = Str("the name of that")
    usageid = Str("the id of what was used; of traffic, the network's")
    type = Str("the hypervisor of a virtual machine")
    size = LongField("its size in bytes")
    virtualsize = LongField("the virtual size of a template in bytes")
    cpunumber = LongField("its CPUs")
    cpuspeed = LongField("MHz of each CPU")
    memory = LongField("its memory in MiB")
    startdate = When("when the period began")
    enddate = When("the last second of the period")
    issourcenat = Bool("whether an address is for source NAT")
    networkid = Str("the id of the network")
    isdefault = Bool("whether a NIC is the default one")
    issystem = Bool("always false: what the cloud itself uses is not counted")
    tags = Many("the tags of what was used", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[UsageRecord]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        types = by_id(call, OsType, (row.facts.get("os_type_id") for row in rows))
        categories = by_id(call, OsCategory, (kind.category_id for kind in types.values()))
        tags = tags_of(call, [_Tagged(row.resource_id) for row in rows]) if call.parameters.get("tags") else {}
        shown = []
        for row in rows:
            os_type = types.get(row.facts.get("os_type_id"))
            category = categories.get(os_type.category_id) if os_type else None
            system = {
                "osdisplayname": os_type.name if os_type else None,
                "oscategoryid": category.id if category else None,
                "oscategoryname": category.name if category else None,
            }
            shown.append({**owners[row.account_id], **_described(row), **system, "tags": tags.get(row.resource_id)})
        return shown


class _Tagged(NamedTuple):
    id: str


def _described(row: UsageRecord) -> Shown:
    facts = row.facts
    amount = f"{row.raw:.6f}".rstrip("0").rstrip(".")
    return {
        "accountid": row.account_id,
        "zoneid": row.zone_id,
        "description": f"{facts.get('name') or row.resource_id} {TYPES[row.type][2]}",
        "usage": f"{amount} {'bytes' if row.type in BYTES else 'Hrs'}",
        "usagetype": row.type,
        "rawusage": amount,
        "virtualmachineid": facts.get("vm_id"),
        "name": facts.get("name"),
        "offeringid": facts.get("offering_id"),
        "templateid": facts.get("template_id"),
        "ostypeid": facts.get("os_type_id"),
        "usageid": row.resource_id,
        "type": facts.get("kind"),
        "size": facts.get("size"),
        "virtualsize": facts.get("virtual_size"),
        "cpunumber": facts.get("cpus"),
        "cpuspeed": facts.get("mhz"),
        "memory": facts.get("memory"),
        "startdate": row.started,
        "enddate": row.ended - SECOND,
        "issourcenat": facts.get("is_source_nat"),
        "networkid": facts.get("network_id"),
        "isdefault": facts.get("is_default"),
        "issystem": False,
    }


class ListUsageRecords(ListRequest):
    startdate = Date("only records of periods that begin then or later", required=True)
    enddate = Date("only records of periods that end then or before", end_of_day=True, required=True)
    account = Text("only records of this account; needs domainid")
    domainid = Ref(Domain, "only records of accounts of this domain", right="use")
    accountid = Ref(Account, "only records of this account")
    projectid = Ref(Project, "only records of this project", right="read")
    isrecursive = Flag("with domainid: also those of the domains below it", default=False)
    type = Long("only records of this type")
    usageid = Text("only records of the thing with this id")
    includetags = Flag("show the tags of what was used", default=False)


@command("listUsageRecords", ListUsageRecords, UsageRecordResponse, roles=EVERYONE)
def list_usage_records(call: Call, given: Given) -> Page:
    """List the usage records of periods that lie within two times; users see those of their own account."""
    if given.startdate > given.enddate:
        raise Invalid(f"The startdate {given.startdate} is after the enddate {given.enddate}.")
    query = select(UsageRecord).where(
        access.reach(call, UsageRecord, access.READ),
        UsageRecord.hidden.is_(False),
        UsageRecord.started >= given.startdate,
        UsageRecord.ended <= given.enddate + SECOND,
        *_narrowed(call, given),
    )
    call.parameters["tags"] = given.includetags
    query = with_keyword(query, given.keyword, UsageRecord.facts["name"].as_string())
    return call.paged(query.order_by(UsageRecord.number))


def _narrowed(call: Call, given: Given) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if given.account is not None:
        found.append(UsageRecord.account_id == access.owner(call, given.account, given.domainid).id)
    elif given.domainid is not None:
        inside = access.below(given.domainid) if given.isrecursive else Domain.id == given.domainid.id
        accounts = select(Account.id).join(Domain, Domain.id == Account.domain_id).where(inside)
        found.append(UsageRecord.account_id.in_(accounts))
    if given.projectid is not None:
        found.append(UsageRecord.account_id == given.projectid.account_id)
    if given.accountid is not None:
        found.append(UsageRecord.account_id == given.accountid.id)
    if given.type is not None:
        if given.type not in TYPES:
            raise Invalid(f"There is no usage type {given.type}; it is one of {', '.join(map(str, TYPES))}.")
        found.append(UsageRecord.type == given.type)
    if given.usageid is not None:
        found.append(UsageRecord.resource_id == given.usageid)
    return found


@command("generateUsageRecords", Request, SuccessResponse, event="USAGE.GENERATE")
def generate_usage_records(call: Call) -> bool:
    """Make records of all use until now that is in none; the period that is running is cut there."""
    now = float(call.session.scalar(select(epoch())) or 0.0)
    try:
        usage.count(call.session, float(int(now)))
    except IntegrityError as error:
        raise ApiError(CONFLICT, "Usage records are being made at this moment; try again.") from error
    return True


class RemoveRawUsageRecords(Request):
    interval = Integer("remove records of periods that ended more than so many days ago", required=True, most=36500)


@command("removeRawUsageRecords", RemoveRawUsageRecords, SuccessResponse, event="USAGE.REMOVE.USAGE.RECORDS")
def remove_raw_usage_records(call: Call, interval: int) -> str:
    """Remove old usage records."""
    return f"{usage.remove_records(call.session, interval)} records were removed."


class UsageTypeResponse(Response):
    object_key = "usagetype"
    id = Int("the type's number")
    name = Str("its name")
    description = Str("what it measures")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[int]) -> list[Shown]:
        return [{"id": row, "name": TYPES[row][0], "description": TYPES[row][1]} for row in rows]


@command("listUsageTypes", Request, UsageTypeResponse, roles=EVERYONE)
def list_usage_types(_call: Call) -> Page:
    """List the types of usage that there are records of."""
    return Page(list(TYPES), len(TYPES))


class UsageServerMetricsResponse(Response):
    object_key = "usageMetrics"
    collectiontime = When("the present time")
    hostname = Str("the machine that counts usage")
    state = Str("Up or Down")
    lastheartbeat = When("when it last took up that duty")
    lastsuccessfuljob = When("when it last made records")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Shown]) -> list[Shown]:
        return list(rows)


@command("listUsageServerMetrics", Request, UsageServerMetricsResponse, shape="object")
def list_usage_server_metrics(call: Call) -> dict[str, Any]:
    """Tell who counts usage, whether it does, and when it last has."""
    lease = call.session.get(LeaseRow, usage.DUTY)
    now = float(call.session.scalar(select(epoch())) or 0.0)
    beat = lease.until - usage.DUTY_SECONDS if lease else None
    shown = {
        "collectiontime": dt.datetime.fromtimestamp(int(now), dt.UTC),
        "hostname": lease.holder.partition(":")[0] if lease else None,
        "state": "Up" if lease and lease.until > now else "Down",
        "lastheartbeat": dt.datetime.fromtimestamp(int(beat), dt.UTC) if beat is not None else None,
        "lastsuccessfuljob": call.session.scalar(select(func.max(UsageJob.created))),
    }
    return {UsageServerMetricsResponse.object_key: UsageServerMetricsResponse.shown(call, [shown])[0]}
