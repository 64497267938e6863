"""Deployment of virtual machines: what is asked for is checked, counted and stored in one transaction."""

from __future__ import annotations

import ipaddress
import re
import secrets
import string
from dataclasses import dataclass

from sqlalchemy import select

from manager import access, configuration
from manager.api.call import Call
from manager.api.command import EVERYONE, Given, command
from manager.api.commands import security_member as security
from manager.api.commands.affinity_group import group_ids_field, group_names_field, join_groups, named_groups
from manager.api.commands.instance_group import group_of
from manager.api.commands.nic_change import checked_mac
from manager.api.commands.vm_lease import take_lease
from manager.api.commands.vm_options import (
    VmOptions,
    chosen_password,
    custom_id,
    options_in_details,
    overridden_size,
    place_of,
)
from manager.api.commands.vm_response import DeployedVmResponse
from manager.api.commands.vm_user_data import details_field, id_field, take_user_data, text_field
from manager.api.errors import Denied, Invalid, missing
from manager.api.fields import Flag, ListOf, MapList, MapOf, Ref, Size, Text
from manager.api.offered import demand_offered
from manager.models import (
    Account,
    DiskOffering,
    Host,
    Network,
    ServiceOffering,
    SshKeyPair,
    Template,
    Vm,
    Volume,
    WorkflowRow,
    Zone,
    new_id,
)
from manager.models.network import SHARED
from manager.models.states import VM_MOVES
from manager.network_access import may_use
from manager.placement import limits
from manager.placement.address import add_nic, guests_of
from manager.workflows.numbers import next_number
from manager.workflows.vm import deploy_vm

MIB = 2**20
TIB = 2**40
MAX_DISK = 64 * TIB
USABLE_NETWORK = ("Allocated", "Implementing", "Implemented")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII)
_CUSTOM = {"cpunumber": ("cpus", 1024), "cpuspeed": ("cpu_mhz", 100_000), "memory": ("memory", 2**24)}
_PASSWORD_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Shape:
    """What the VM takes of a host: `cpu_mhz` of each CPU, `memory` in bytes; `details` are the other details given."""

    cpus: int
    cpu_mhz: int
    memory: int
    details: dict[str, str]


class DeployVm(VmOptions):
    zoneid = Ref(Zone, "the zone to deploy in", required=True)
    serviceofferingid = Ref(ServiceOffering, "its CPUs and memory", required=True)
    templateid = Ref(Template, "what its root volume is made of")
    networkids = ListOf(Ref(Network, ""), "its networks; the first one is the default", most=16)
    iptonetworklist = MapList("its networks with addresses: iptonetworklist[0].networkid=..&iptonetworklist[0].ip=..")
    ipaddress = Text("its address in the default network")
    name = Text("its name, which is its host name: a label of at most 63 letters, digits and hyphens")
    displayname = Text("the name shown to people")
    group = Text("the name of its group")
    keypair = Text("the name of an SSH key pair to log in with")
    keypairs = ListOf(Text(""), "names of SSH key pairs to log in with", most=16)
    userdata = text_field("user data in base64; at most 4 KiB of it by GET")
    userdataid = id_field()
    userdatadetails = details_field()
    affinitygroupids = group_ids_field()
    affinitygroupnames = group_names_field()
    securitygroupids = security.group_ids_field()
    securitygroupnames = security.group_names_field()
    startvm = Flag("false to leave it Stopped", default=True)
    hostid = Ref(Host, "the host to start it on", roles=("Admin",))
    rootdisksize = Size("the least size of its root volume in GiB")
    hypervisor = Text("the hypervisor, which must be the template's")
    displayvm = Flag("whether users see it", default=True, roles=("Admin",))
    details = MapOf("cpuNumber, cpuSpeed (MHz) and memory (MiB) for a custom offering, and free details")


@command(
    "deployVirtualMachine",
    DeployVm,
    DeployedVmResponse,
    is_async=True,
    creates=True,
    roles=EVERYONE,
    event="VM.CREATE",
)
def deploy_virtual_machine(call: Call, given: Given) -> WorkflowRow:
    """Deploy a virtual machine of a template and start it."""
    template = usable_template(call, given.templateid, given.zoneid)
    _check_place(call, given, template)
    demand_offered(call, given.serviceofferingid, call.owner, given.zoneid)
    shape = shape_of(given.serviceofferingid, given.details)
    place = place_of(given.zoneid, given)
    networks = wanted_networks(call, given)
    mac = {"mac": checked_mac(call, given.macaddress)} if given.macaddress else {}
    keys = public_keys(call, call.owner, given.keypair, given.keypairs)
    groups = named_groups(call, call.owner, given)
    guards = security.groups_for(call, call.owner, given, [network for network, _ in networks])
    disk = root_size(template, given.serviceofferingid, given.rootdisksize)
    disk = overridden_size(call, given, template, disk)
    held = {"vms": 1, "cpus": shape.cpus, "memory": shape.memory, "volumes": 1, "primary_storage": disk}
    limits.claim(call.session, call.owner, **held)
    vm = _store(call, given, template, shape)
    take_user_data(call, vm, template, given)
    take_lease(call, vm, given, given.serviceofferingid)
    vm.key_pairs, vm.public_keys = list(keys), "\n".join(keys.values())
    call.add(vm, taken=_taken(call, vm, given.customid))
    call.session.add(_root_volume(vm, disk, given.overridediskofferingid))
    join_groups(call, vm, groups)
    security.join_groups(call, vm, guards)
    for device, (network, address) in enumerate(networks):
        more = mac if device == 0 else {}
        add_nic(call.session, network, wanted=address, vm_id=vm.id, device=device, is_default=device == 0, **more)
    call.subject = vm
    if not given.startvm:
        return call.job_done(vm)
    return deploy_vm.start(call.session, vm, call=call, **place)


def usable_template(call: Call, template: Template | None, zone: Zone) -> Template:
    """The template, if VMs can be made of it in the zone.

    :raises ApiError: 431, with the reason
    """
    if template is None:
        raise missing(call.command, "templateid")
    if template.state != "Ready":
        raise Invalid(f"The template {template.name} ({template.id}) is {template.state}, not Ready.")
    if template.zone_id not in (None, zone.id):
        raise Invalid(f"The template {template.name} ({template.id}) is not in zone {zone.name}.")
    return template


def _check_place(call: Call, given: Given, template: Template) -> None:
    zone = given.zoneid
    if zone.allocation_state != "Enabled" and not call.is_root_admin:
        raise Denied(f"The zone {zone.name} is {zone.allocation_state}; only root administrators deploy in it.")
    if given.hypervisor and given.hypervisor.lower() != template.hypervisor.lower():
        raise Invalid(f"The template {template.name} is for {template.hypervisor}, not for {given.hypervisor}.")


def shape_of(offering: ServiceOffering, details: dict[str, str] | None) -> Shape:
    """CPUs and memory by the offering; what it leaves open comes from the details.

    :raises ApiError: 431, a number that is missing, not possible, or not the user's to choose
    """
    if offering.system_vm_type is not None:
        raise Invalid(f"The service offering {offering.name} ({offering.id}) is for virtual routers.")
    if offering.state != "Active":
        raise Invalid(f"The service offering {offering.name} ({offering.id}) is {offering.state}, not Active.")
    numbers = {"cpus": offering.cpus, "cpu_mhz": offering.cpu_mhz, "memory": offering.memory}
    free: dict[str, str] = {}
    for key, text in (details or {}).items():
        if key.lower() not in _CUSTOM:
            free[key] = text
            continue
        name, most = _CUSTOM[key.lower()]
        if numbers[name]:
            raise Invalid(f"The service offering {offering.name} fixes {key}; it cannot be chosen.")
        numbers[name] = _number(key, text, most) * (MIB if name == "memory" else 1)
        _check_bounds(offering, key, int(text))
    for key, (name, _) in _CUSTOM.items():
        if not numbers[name]:
            raise Invalid(f"The service offering {offering.name} is custom: details[0].{key} must say how much.")
    return Shape(**numbers, details=free)


def _check_bounds(offering: ServiceOffering, key: str, number: int) -> None:
    least, most = (offering.bounds.get(f"{end}{key.lower()}") for end in ("min", "max"))
    if least is not None and number < least:
        raise Invalid(f"The service offering {offering.name} wants {key} to be at least {least}, not {number}.")
    if most is not None and number > most:
        raise Invalid(f"The service offering {offering.name} wants {key} to be at most {most}, not {number}.")


def _number(key: str, text: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise Invalid(f"The detail {key} is a whole number from 1 to {most}, not {text}.")
    return int(text)


def root_size(template: Template, offering: ServiceOffering, wanted: int | None) -> int:
    """Bytes of the root volume: the largest that template, offering and user ask for."""
    size = max(template.size, offering.root_disk_size, wanted or 0)
    if size > MAX_DISK:
        raise Invalid(f"A root volume has at most {MAX_DISK // 2**30} GiB; {size // 2**30} were asked for.")
    return size


def wanted_networks(call: Call, given: Given) -> list[tuple[Network, str | None]]:
    """The networks in the order of devices, each with the address asked for."""
    if given.iptonetworklist:
        if given.networkids or given.ipaddress:
            raise Invalid("The parameter iptonetworklist excludes networkids and ipaddress.")
        wanted = _listed(call, given.iptonetworklist)
    else:
        if given.networkids and given.zoneid.is_flat:
            raise Invalid(f"The zone {given.zoneid.name} is Basic: networkids are not for it, as it has one network.")
        networks = given.networkids or [_only_network(call, given.zoneid)]
        wanted = [(network, given.ipaddress or None if i == 0 else None) for i, network in enumerate(networks)]
    seen: set[str] = set()
    for network, address in wanted:
        _check_network(call, network, given.zoneid)
        if address is not None:
            _check_address(network, address)
        if network.id in seen:
            raise Invalid(f"The network {network.name} ({network.id}) is named twice.")
        seen.add(network.id)
    return wanted


def _listed(call: Call, entries: list[dict[str, str]]) -> list[tuple[Network, str | None]]:
    for entry in entries:
        if "networkid" not in entry or not set(entry) <= {"networkid", "ip"}:
            raise Invalid("Each entry of iptonetworklist has networkid, and ip if an address is wanted; nothing else.")
    ids = [entry["networkid"].lower() for entry in entries]
    networks = access.entities(call, Network, "iptonetworklist", ids, access.USE)
    return [(network, entry.get("ip") or None) for network, entry in zip(networks, entries, strict=True)]


def _only_network(call: Call, zone: Zone) -> Network:
    """The account's one network; in zones with security groups else the one shared network that is open to it."""
    there = select(Network).where(Network.zone_id == zone.id, Network.removed.is_(None))
    found = call.session.scalars(there.where(Network.account_id == call.owner.id).limit(2)).all()
    if zone.security_groups and not found:
        shared = call.session.scalars(there.where(Network.guest_type == SHARED).order_by(Network.created, Network.id))
        found = [network for network in shared if may_use(call.session, network, call.owner)]
    if len(found) != 1:
        held = "several networks" if found else "no network"
        raise Invalid(
            f"The account {call.owner.name} has {held} in zone {zone.name}; networkids must say which to use."
        )
    return found[0]


def _check_network(call: Call, network: Network, zone: Zone) -> None:
    if not may_use(call.session, network, call.owner):
        raise Denied(f"The network {network.name} ({network.id}) is not the account {call.owner.name}'s, and not open "
                     "to it.")  # fmt: skip
    if network.zone_id != zone.id:
        raise Invalid(f"The network {network.name} ({network.id}) is not in zone {zone.name}.")
    if network.state not in USABLE_NETWORK:
        raise Invalid(f"The network {network.name} ({network.id}) is {network.state}.")


def _check_address(network: Network, text: str) -> None:
    if not network.cidr:
        raise Invalid(f"The network {network.name} is of layer 2 alone: virtual machines have no address of it.")
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise Invalid(f"{text} is not an IPv4 address.") from None
    pool = ipaddress.IPv4Network(network.cidr)
    if address not in pool or address in (pool.network_address, pool.broadcast_address):
        raise Invalid(f"The address {text} is not a host address of {network.cidr}, the range of {network.name}.")
    if text == network.gateway:
        raise Invalid(f"The address {text} is the gateway of network {network.name}.")
    span = guests_of(network.cidr, network.first_address, network.last_address)
    if not span.first <= address <= span.last:
        raise Invalid(f"The address {text} of network {network.name} is not for virtual machines; those have addresses "
                      f"from {span.first} to {span.last}.")  # fmt: skip


def public_keys(call: Call, owner: Account, one: str | None, several: list[str] | None) -> dict[str, str]:
    """By name: the public keys of the owner's key pairs that were named.

    :raises Invalid: the owner has none of such a name
    """
    names = list(dict.fromkeys([*([one] if one else []), *(several or [])]))
    if not names:
        return {}
    query = select(SshKeyPair.name, SshKeyPair.public_key).where(
        SshKeyPair.account_id == owner.id, SshKeyPair.removed.is_(None), SshKeyPair.name.in_(names)
    )
    found = {row.name: row.public_key for row in call.session.execute(query)}
    for name in names:
        if name not in found:
            raise Invalid(f"The account {owner.name} has no SSH key pair {name}.")
    return {name: found[name] for name in names}


def checked_name(name: str) -> str:
    """:raises ApiError: 431, the name is no label of RFC 1123"""
    if not _LABEL.fullmatch(name):
        raise Invalid(
            f"The name {name} is not a host name: 1 to 63 letters, digits and hyphens, with no hyphen at either end."
        )
    return name


def _store(call: Call, given: Given, template: Template, shape: Shape) -> Vm:
    vm_id = custom_id(given.customid) or new_id()
    name = checked_name(given.name) if given.name else f"VM-{vm_id}"
    number = next_number(call.session, "vm")
    vm = Vm(
        id=vm_id,
        number=number,
        name=name,
        display_name=given.displayname or name,
        instance_name=f"i-{call.owner.number}-{number}-VM",
        account_id=call.owner.id,
        zone_id=given.zoneid.id,
        template_id=template.id,
        service_offering_id=given.serviceofferingid.id,
        os_type_id=template.os_type_id,
        hypervisor=template.hypervisor,
        cpus=shape.cpus,
        cpu_mhz=shape.cpu_mhz,
        memory=shape.memory,
        display=given.displayvm,
        password=chosen_password(template, given.password) or _made_password(call, template),
        details=options_in_details(given, shape.details),
        user_id=call.user.id,
        state="Stopped",
        live=f"{call.owner.id}/{name.lower()}",
    )
    if given.group:
        vm.group_id = group_of(call, call.owner, given.group).id
    if given.startvm:
        VM_MOVES.move(vm, "start")
    return vm


def _taken(call: Call, vm: Vm, custom: str | None) -> str:
    named = f"The account {call.owner.name} has a virtual machine {vm.name} already"
    return f"{named}, or the uuid {custom} is taken." if custom else f"{named}."


def _made_password(call: Call, template: Template) -> str | None:
    return new_password(call) if template.password_enabled else None


def new_password(call: Call) -> str:
    length = configuration.value(call.session, "vm.password.length")
    return "".join(secrets.choice(_PASSWORD_LETTERS) for _ in range(length))


def _root_volume(vm: Vm, size: int, offering: DiskOffering | None) -> Volume:
    return Volume(
        disk_offering_id=offering.id if offering is not None else None,
        name=f"ROOT-{vm.number}",
        account_id=vm.account_id,
        zone_id=vm.zone_id,
        vm_id=vm.id,
        template_id=vm.template_id,
        size=size,
    )
