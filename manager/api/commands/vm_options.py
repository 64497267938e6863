"""What else can be said when a virtual machine is deployed: its place, its own identifier, its disks, its password."""

from __future__ import annotations

import uuid
from typing import Any

from manager.api.call import Call
from manager.api.command import Given, OwnedRequest
from manager.api.commands.deployment_planner import planner_field
from manager.api.commands.vm_lease import NO_LEASE, action_field, days_field
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, Ref, Text
from manager.api.offered import demand_offered
from manager.models import Cluster, DiskOffering, Host, Pod, Template, Zone
from manager.workflows.specs import IO_POLICIES, IO_THREADS
from manager.workflows.specs import IO_POLICY as IO_POLICY_DETAIL

ROOT_ADMIN = ("Admin",)
LONGEST_PASSWORD = 64


def pod_field() -> Ref:
    return Ref(Pod, "the pod to start it in", roles=ROOT_ADMIN)


def cluster_field() -> Ref:
    return Ref(Cluster, "the cluster to start it in", roles=ROOT_ADMIN)


def planner_of_start() -> Choice:
    return planner_field("in which order hosts are taken; its service offering's when absent", roles=ROOT_ADMIN)


class VmOptions(OwnedRequest):
    customid = Text("the uuid that it shall have", roles=ROOT_ADMIN)
    podid = pod_field()
    clusterid = cluster_field()
    deploymentplanner = planner_of_start()
    macaddress = Text("the MAC address of its default NIC; a new one when absent")
    password = Text("its password, where its template has one set; else one is made", max_length=LONGEST_PASSWORD)
    overridediskofferingid = Ref(DiskOffering, "the disk offering of its root volume, in place of its service offering")
    iothreadsenabled = Flag("whether a thread of its own serves its disks", default=False)
    iodriverpolicy = Choice("how the host reads and writes its disks; native goes past the page cache", IO_POLICIES)
    leaseduration = days_field("the days that it is kept; -1 for no lease, whatever its offering says", least=NO_LEASE)
    leaseexpiryaction = action_field()


def custom_id(text: str | None) -> str | None:
    """:raises Invalid: it is no uuid"""
    if not text:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Invalid(f"The customid {text} is not a uuid.") from None


def chosen_password(template: Template, text: str | None) -> str | None:
    """:raises Invalid: the template sets no password, or its service cannot tell this one"""
    if not text:
        return None
    if not template.password_enabled:
        raise Invalid(f"The template {template.name} ({template.id}) sets no password; none can be chosen.")
    if not text.isprintable() or text != text.strip():
        raise Invalid("A password has printable characters only, and no blank at either end.")
    return text


def place_of(zone: Zone, given: Given) -> dict[str, str | None]:
    """Arguments of the workflow: to which host, cluster or pod it is bound, and the planner.

    :raises Invalid: the place is not in the zone
    """
    found: dict[str, str | None] = {}
    for name, argument in (("hostid", "host_id"), ("clusterid", "cluster_id"), ("podid", "pod_id")):
        place: Host | Cluster | Pod | None = getattr(given, name)
        if place is not None and place.zone_id != zone.id:
            raise Invalid(f"The {name[:-2]} {place.name} ({place.id}) is not in zone {zone.name}.")
        found[argument] = place.id if place is not None else None
    return {**found, "planner": given.deploymentplanner}


def options_in_details(given: Given, details: dict[str, str]) -> dict[str, Any]:
    """The VM's details, with those that the parameters stand for.

    :raises Invalid: a detail has a value that it cannot have
    """
    told = dict(details)
    if given.iothreadsenabled:
        told[IO_THREADS] = "true"
    if given.iodriverpolicy is not None:
        told[IO_POLICY_DETAIL] = given.iodriverpolicy
    check_details(told)
    return told


def check_details(details: dict[str, str]) -> None:
    """:raises Invalid: a detail that the host reads has a value that it cannot have"""
    for name, values in ((IO_THREADS, ("true", "false")), (IO_POLICY_DETAIL, IO_POLICIES)):
        if details.get(name, values[0]) not in values:
            raise Invalid(f"The detail {name} is one of {', '.join(values)}, not {details[name]}.")


def overridden_size(call: Call, given: Given, template: Template, own: int) -> int:
    """Bytes of the root volume: `own`, or what the disk offering says that takes the place of the service offering.

    :raises Invalid: the disk offering is not for new volumes, or leaves open a size that nobody chose
    """
    offering: DiskOffering | None = given.overridediskofferingid
    if offering is None:
        return own
    if offering.state != "Active":
        raise Invalid(f"The disk offering {offering.name} ({offering.id}) is {offering.state}, not Active.")
    demand_offered(call, offering, call.owner, given.zoneid)
    if offering.customized:
        if given.rootdisksize is None:
            raise Invalid(f"The disk offering {offering.name} is customized: rootdisksize must say how large.")
        return max(template.size, int(given.rootdisksize))
    if given.rootdisksize is not None:
        raise Invalid(f"The disk offering {offering.name} fixes the size; rootdisksize cannot be chosen.")
    if offering.size < template.size:
        raise Invalid(f"The disk offering {offering.name} has {offering.size} bytes; the template has {template.size}.")
    return offering.size
