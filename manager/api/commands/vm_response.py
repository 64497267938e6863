"""How virtual machines are shown: one joined statement for their own facts, a fixed number for what belongs to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Bundle

from manager import configuration
from manager.api.call import Call
from manager.api.commands.affinity_response import AffinityGroupResponse, affinity_groups_of
from manager.api.commands.nic import NicResponse, for_vms
from manager.api.commands.security_response import GroupOfVmResponse, security_groups_of
from manager.api.commands.tag import TagResponse
from manager.api.commands.vm_more import (
    SUMMED,
    MoreOfVmResponse,
    figure_columns,
    is_annotated,
    more_columns,
    shown_figures,
    shown_more,
    with_figures,
    with_more,
)
from manager.api.response import Bool, Int, Many, Map, Shown, Str, When
from manager.api.rows import owner_shown, tags_of
from manager.models import (
    Account,
    Domain,
    Host,
    InstanceGroup,
    OsType,
    Project,
    ServiceOffering,
    Template,
    UserData,
    Vm,
    WorkflowRow,
    Zone,
)

MIB = 2**20
PARTS = (
    "all", "min", "nics", "tmpl", "servoff", "affgrp", "stats", "group", "secgrp", "diskoff", "volume", "iso", "backoff"
)  # fmt: skip
_FIELDS = {
    "tmpl": ("templatename", "templatedisplaytext", "templateformat", "templatetype", "passwordenabled"),
    "servoff": ("serviceofferingname",),
    "group": ("group", "groupid"),
    "secgrp": ("securitygroup",),
    "diskoff": ("diskofferingid", "diskofferingname"),
    "volume": ("rootdeviceid", "rootdevicetype", "pooltype"),
}
"""By part: the fields that are shown where it is asked for."""


class VmResponse(MoreOfVmResponse):
    object_key = "virtualmachine"
    shows = Vm
    is_owned = True
    id = Str("the virtual machine's id")
    name = Str("its name, which is its host name")
    displayname = Str("the name shown to people")
    created = When("when it was made")
    state = Str("its state")
    reason = Str("why it is not in the state that was asked for last")
    haenable = Bool("whether it is started again elsewhere when its host fails")
    group = Str("the name of its group")
    groupid = Str("the id of its group")
    zoneid = Str("the id of its zone")
    zonename = Str("its zone")
    hostid = Str("the id of the host that it runs on", root_only=True)
    hostname = Str("the host that it runs on", root_only=True)
    instancename = Str("its name on the hypervisor", root_only=True)
    templateid = Str("the id of its template")
    templatename = Str("its template")
    templatedisplaytext = Str("the text of its template")
    templateformat = Str("the format of its template")
    passwordenabled = Bool("whether its template sets a password")
    serviceofferingid = Str("the id of its service offering")
    serviceofferingname = Str("its service offering")
    cpunumber = Int("the number of its CPUs")
    cpuspeed = Int("the speed of each CPU in MHz")
    memory = Int("its memory in MiB")
    guestosid = Str("the id of its operating system type")
    ostypeid = Str("the id of its operating system type")
    osdisplayname = Str("its operating system type")
    rootdeviceid = Int("the place of its root volume: 0")
    rootdevicetype = Str("the kind of its root volume: ROOT")
    hypervisor = Str("the kind of hypervisor that it runs on")
    ipaddress = Str("the address of its default NIC")
    keypairs = Str("the names of its SSH key pairs, with commas")
    userdata = Str("its user data in base64, where asked for")
    userdataid = Str("the id of the registered user data that it has")
    userdataname = Str("the name of that")
    userdatapolicy = Str("how its template's user data goes with its own")
    userdatadetails = Str("the values of its user data's parameters, as JSON")
    details = Map("its further details")
    displayvm = Bool("whether users see it")
    isdynamicallyscalable = Bool("whether CPU and memory can grow while it runs")
    nic = Many("its NICs", NicResponse)
    securitygroup = Many("its security groups", GroupOfVmResponse)
    affinitygroup = Many("its affinity groups", AffinityGroupResponse)
    tags = Many("its tags", TagResponse)
    jobid = Str("the id of the job that is at work on it")
    jobstatus = Int("0 while a job is at work on it")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        """`rows` are Vm entities or rows of `described`; a list's wanted parts are in `call.parameters["details"]`."""
        if isinstance(rows[0], Vm):
            found = call.session.scalars(described().where(Vm.id.in_([vm.id for vm in rows])))
            by_id = {row.id: row for row in found}
            rows = [by_id[vm.id] for vm in rows]
        parts = frozenset(call.parameters.get("details") or ("all",))
        nics = for_vms(call, [row.id for row in rows]) if parts & {"all", "nics"} else {}
        tags = tags_of(call, rows)
        groups = affinity_groups_of(call, [row.id for row in rows]) if parts & {"all", "affgrp"} else {}
        guards = security_groups_of(call, [row.id for row in rows]) if parts & {"all", "secgrp"} else {}
        both = [{"securitygroup": guards.get(row.id, []), "affinitygroup": groups.get(row.id, [])} for row in rows]
        shown = [_describe(row, nics.get(row.id, []), tags[row.id], held) for row, held in zip(rows, both, strict=True)]
        if "all" not in parts:
            _leave_out(shown, parts)
        summed = call.parameters.get("accumulate")
        summed = configuration.value(call.session, SUMMED) if summed is None else summed
        return [
            {**entry, "hasannotations": is_annotated(call, row), **shown_figures(row, summed=summed)}
            for entry, row in zip(shown, rows, strict=True)
        ]


class DeployedVmResponse(VmResponse):
    """With the generated password, which is told once: in the result of the job, to the owner."""

    password = Str("the password set in it, where its template has one set")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        shown = super().render(call, rows)
        if call.command == "queryAsyncJobResult":
            for entry, row in zip(shown, rows, strict=True):
                if isinstance(row, Vm) and (row.account_id == call.account.id or _deployed_in_project(call, entry)):
                    entry["password"] = row.password
        return shown


def _deployed_in_project(call: Call, entry: Shown) -> bool:
    """Whether the VM is a project's and the job its member's own, which is the only one that a user can ask for."""
    return entry.get("projectid") is not None and not call.is_root_admin and not call.is_domain_admin


@cache
def described(*, user_data: bool = False, figures: bool = False) -> Select[Any]:
    """All that is shown of VMs from one statement, as plain rows (not entities); to be narrowed by the caller.

    At most one job is open for a VM, so that its join adds no rows.
    """
    open_job = (
        (WorkflowRow.subject_id == Vm.id)
        & (WorkflowRow.subject_type == Vm.__tablename__)
        & (WorkflowRow.status == "running")
        & (WorkflowRow.command != "")
    )
    columns: list[Any] = [
        Vm.id, Vm.name, Vm.display_name, Vm.instance_name, Vm.account_id, Vm.zone_id, Vm.host_id, Vm.template_id,
        Vm.service_offering_id, Vm.os_type_id, Vm.hypervisor, Vm.state, Vm.cpus, Vm.cpu_mhz, Vm.memory, Vm.group_id,
        Vm.display, Vm.ha_enabled, Vm.key_pairs, Vm.details, Vm.reason, Vm.created, Zone.name.label("zone_name"),
        Host.name.label("host_name"), Template.name.label("template_name"), Template.display_text,
        Template.format.label("template_format"), Template.password_enabled, Template.dynamically_scalable,
        ServiceOffering.name.label("offering_name"), OsType.name.label("os_name"), Account.name.label("account_name"),
        Domain.id.label("domain_id"), Domain.name.label("domain_name"), Domain.path.label("domain_path"),
        Project.id.label("project_id"), Project.name.label("project_name"), InstanceGroup.name.label("group_name"),
        Vm.user_data_id, UserData.name.label("user_data_name"), Vm.user_data_details, Template.user_data_policy,
        WorkflowRow.id.label("job_id"), *more_columns(), *(figure_columns() if figures else ()),
    ]  # fmt: skip
    if user_data:
        columns.append(Vm.user_data)
    query: Select[Any] = (
        select(Bundle("vm", *columns, single_entity=True))
        .select_from(Vm)
        .join(Zone, Zone.id == Vm.zone_id)
        .join(Template, Template.id == Vm.template_id)
        .join(ServiceOffering, ServiceOffering.id == Vm.service_offering_id)
        .join(OsType, OsType.id == Vm.os_type_id)
        .join(Account, Account.id == Vm.account_id)
        .join(Domain, Domain.id == Account.domain_id)
        .outerjoin(Project, Project.account_id == Vm.account_id)
        .outerjoin(Host, Host.id == Vm.host_id)
        .outerjoin(InstanceGroup, InstanceGroup.id == Vm.group_id)
        .outerjoin(UserData, UserData.id == Vm.user_data_id)
        .outerjoin(WorkflowRow, open_job)
    )
    query = with_more(query)
    return with_figures(query) if figures else query


def _describe(row: Any, nics: list[Shown], tags: list[Shown], groups: Shown) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "displayname": row.display_name,
        **owner_shown(row.account_name, row.project_id, row.project_name),
        "domainid": row.domain_id,
        "domain": row.domain_name,
        "domainpath": ("ROOT" + row.domain_path).rstrip("/"),
        "created": row.created,
        "state": row.state,
        "reason": row.reason or None,
        "haenable": row.ha_enabled,
        "group": row.group_name,
        "groupid": row.group_id,
        "zoneid": row.zone_id,
        "zonename": row.zone_name,
        "hostid": row.host_id,
        "hostname": row.host_name,
        "instancename": row.instance_name,
        "templateid": row.template_id,
        "templatename": row.template_name,
        "templatedisplaytext": row.display_text,
        "templateformat": row.template_format,
        "passwordenabled": row.password_enabled,
        "serviceofferingid": row.service_offering_id,
        "serviceofferingname": row.offering_name,
        "cpunumber": row.cpus,
        "cpuspeed": row.cpu_mhz,
        "memory": row.memory // MIB,
        "guestosid": row.os_type_id,
        "ostypeid": row.os_type_id,
        "osdisplayname": row.os_name,
        "rootdeviceid": 0,
        "rootdevicetype": "ROOT",
        "hypervisor": row.hypervisor,
        "ipaddress": nics[0]["ipaddress"] if nics else None,
        "keypairs": ",".join(row.key_pairs) or None,
        "userdata": getattr(row, "user_data", None) or None,
        "userdataid": row.user_data_id,
        "userdataname": row.user_data_name,
        "userdatapolicy": row.user_data_policy,
        "userdatadetails": json.dumps(row.user_data_details) if row.user_data_details else None,
        "details": row.details or None,
        "displayvm": row.display,
        "isdynamicallyscalable": row.dynamically_scalable,
        "nic": nics,
        **groups,
        "tags": tags,
        "jobid": row.job_id,
        "jobstatus": 0 if row.job_id else None,
        **shown_more(row),
    }


def _leave_out(shown: list[Shown], parts: frozenset[str]) -> None:
    """Drop the parts that were not asked for; ids always stay."""
    dropped = [name for part, names in _FIELDS.items() if part not in parts for name in names]
    for entry in shown:
        for name in dropped:
            del entry[name]
