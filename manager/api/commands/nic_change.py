"""Changes of a virtual machine's NICs: add, remove, choose the default one, change and add addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import ColumnElement, select

from manager.api.call import Call
from manager.api.command import EVERYONE, Request, command
from manager.api.commands import ipv4
from manager.api.commands.network_response import USABLE
from manager.api.commands.security_member import join_default
from manager.api.commands.vm_response import VmResponse
from manager.api.errors import CAPACITY, PARAMETER, ApiError, Invalid
from manager.api.fields import Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id
from manager.models import Account, Network, NetworkRule, Nic, NicAddress, Vm, WorkflowRow
from manager.network_access import may_use
from manager.placement.address import NoAddress, add_nic, free_address
from manager.workflows.rule_rows import next_revision
from manager.workflows.vm_nic import (
    add_nic_address,
    add_nic_to_vm,
    remove_nic_address,
    remove_nic_from_vm,
    update_default_nic,
    update_nic_address,
)

MOST_NICS = 16
MOST_ADDRESSES = 256
AT_REST = ("Running", "Stopped")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class AddNic(Request):
    virtualmachineid = Ref(Vm, "the virtual machine, which is Running or Stopped", right="manage", required=True)
    networkid = Ref(Network, "the network, which the virtual machine is not in", required=True)
    ipaddress = Text("its address; any free one when absent")
    macaddress = Text("its MAC address; a new one when absent")


@command("addNicToVirtualMachine", AddNic, VmResponse, is_async=True, roles=EVERYONE,
         event="NIC.CREATE", rehearses=True)  # fmt: skip
def add_nic_to_virtual_machine(
    call: Call, virtualmachineid: Vm, networkid: Network, ipaddress: str | None, macaddress: str | None
) -> WorkflowRow:
    """Give a virtual machine a NIC in a further network; a Running one has it at once."""
    vm, network = virtualmachineid, networkid
    call.subject = vm
    _check_place(call, vm, network)
    held = call.session.scalars(select(Nic).where(Nic.vm_id == vm.id).order_by(Nic.device)).all()
    if any(nic.network_id == network.id for nic in held):
        raise Invalid(f"The virtual machine {vm.name} has a NIC in network {network.name} already.")
    if len(held) >= MOST_NICS:
        raise Invalid(f"The virtual machine {vm.name} has {len(held)} NICs; at most {MOST_NICS} are possible.")
    wanted = ipv4.optional_address("ipaddress", ipaddress)
    more = {"mac": checked_mac(call, macaddress)} if macaddress else {}
    join_default(call, vm, network)
    device = next(number for number in range(MOST_NICS) if number not in {nic.device for nic in held})
    try:
        nic_id = add_nic(call.session, network, wanted=wanted, vm_id=vm.id, device=device, is_default=not held, **more)
    except NoAddress as error:
        raise ApiError(PARAMETER if wanted else CAPACITY, str(error)) from error
    return add_nic_to_vm.start(call.session, vm, call=call, nic_id=nic_id)


def _check_place(call: Call, vm: Vm, network: Network) -> None:
    if vm.state not in AT_REST:
        raise Invalid(f"The virtual machine {vm.name} is {vm.state}; it gets NICs while it is Running or Stopped.")
    owner = call.session.get_one(Account, vm.account_id)
    if network.zone_id != vm.zone_id or not may_use(call.session, network, owner):
        raise Invalid(f"The network {network.name} is of another account or zone than the virtual machine {vm.name}.")
    if network.state not in USABLE:
        raise Invalid(f"The network {network.name} is {network.state}.")


def checked_mac(call: Call, text: str) -> str:
    """:raises Invalid: it is none, one of a group, or taken"""
    mac = text.lower()
    if not MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
        raise Invalid(f"The MAC address {text} is not one of a single NIC, such as 02:00:4c:00:00:01.")
    if call.session.scalar(select(Nic.id).where(Nic.mac == mac)) is not None:
        raise Invalid(f"The MAC address {text} is taken.")
    return mac


class OneNic(Request):
    virtualmachineid = Ref(Vm, "the virtual machine", right="manage", required=True)
    nicid = Ref(Nic, "its NIC", right="manage", required=True)


@command("removeNicFromVirtualMachine", OneNic, VmResponse, is_async=True, roles=EVERYONE,
         event="NIC.DELETE", rehearses=True)  # fmt: skip
def remove_nic_from_virtual_machine(call: Call, virtualmachineid: Vm, nicid: Nic) -> WorkflowRow:
    """Take a NIC from a virtual machine. A Running one must let go of it: its guest must know PCI hot-plug."""
    vm, nic = virtualmachineid, nicid
    call.subject = vm
    _check_owner(vm, nic)
    if vm.state not in AT_REST:
        raise Invalid(f"The virtual machine {vm.name} is {vm.state}; it loses NICs while it is Running or Stopped.")
    if nic.is_default:
        raise Invalid(f"The NIC {nic.id} is the default one of {vm.name}; choose another one first.")
    _refuse_led(call, nic, NetworkRule.guest_address.in_(_addresses(call, nic)))
    return remove_nic_from_vm.start(call.session, vm, call=call, nic_id=nic.id)


def _check_owner(vm: Vm, nic: Nic) -> None:
    if nic.vm_id != vm.id:
        raise Invalid(f"The NIC {nic.id} is not one of the virtual machine {vm.name}.")


def _addresses(call: Call, nic: Nic) -> list[str]:
    own = [] if nic.address is None else [nic.address]
    return own + list(call.session.scalars(select(NicAddress.address).where(NicAddress.nic_id == nic.id)))


def _refuse_led(call: Call, nic: Nic, which: ColumnElement[bool]) -> None:
    """:raises Invalid: a rule leads to an address of the NIC"""
    led = select(NetworkRule.id, NetworkRule.purpose, NetworkRule.guest_address).where(
        NetworkRule.network_id == nic.network_id, NetworkRule.removed.is_(None), which
    )
    row = call.session.execute(led.order_by(NetworkRule.id).limit(1)).first()
    if row is not None:
        raise Invalid(f"The {row.purpose} rule {row.id} leads to {row.guest_address}; take it away first.")


@command("updateDefaultNicForVirtualMachine", OneNic, VmResponse, is_async=True, roles=EVERYONE,
         event="NIC.UPDATE", rehearses=True)  # fmt: skip
def update_default_nic_for_virtual_machine(call: Call, virtualmachineid: Vm, nicid: Nic) -> WorkflowRow:
    """Choose the NIC that leads out; the guest learns it when it asks for its addresses anew."""
    vm, nic = virtualmachineid, nicid
    call.subject = vm
    _check_owner(vm, nic)
    if nic.is_default:
        raise Invalid(f"The NIC {nic.id} is the default one of {vm.name} already.")
    former = call.session.scalar(select(Nic.id).where(Nic.vm_id == vm.id, Nic.is_default))
    return update_default_nic.start(call.session, vm, call=call, nic_id=nic.id, former_id=former)


class UpdateNicAddress(Request):
    nicid = Ref(Nic, "the NIC of a Stopped virtual machine", right="manage", required=True)
    ipaddress = Text("its new address; any free one when absent")


@command("updateVmNicIp", UpdateNicAddress, VmResponse, is_async=True, roles=EVERYONE, event="NIC.UPDATE")
def update_vm_nic_ip(call: Call, nicid: Nic, ipaddress: str | None) -> WorkflowRow:
    """Change the address of a NIC of a Stopped virtual machine."""
    vm = _vm_of(call, nicid)
    call.subject = vm
    if vm.state != "Stopped":
        raise Invalid(f"The virtual machine {vm.name} is {vm.state}; its addresses can change while it is Stopped.")
    network = call.session.get_one(Network, nicid.network_id)
    _refuse_led(call, nicid, NetworkRule.guest_address == nicid.address)
    wanted = ipv4.optional_address("ipaddress", ipaddress)
    if wanted == nicid.address:
        raise Invalid(f"The NIC {nicid.id} has the address {wanted} already.")
    address = _free(call, network, wanted)
    return update_nic_address.start(call.session, vm, call=call, nic_id=nicid.id, address=address)


def _free(call: Call, network: Network, wanted: str | None) -> str:
    try:
        return free_address(call.session, network, wanted)
    except NoAddress as error:
        raise ApiError(PARAMETER if wanted else CAPACITY, str(error)) from error


def _vm_of(call: Call, nic: Nic) -> Vm:
    """:raises Invalid: the NIC is a router's"""
    if nic.vm_id is None:
        raise Invalid(f"The NIC {nic.id} is that of a router.")
    return call.session.get_one(Vm, nic.vm_id)


class NicAddressResponse(Response):
    object_key = "nicsecondaryip"
    shows = NicAddress
    id = Str("the further address's id")
    ipaddress = Str("the IPv4 address")
    nicid = Str("the id of the NIC that has it")
    networkid = Str("the id of the NIC's network")
    virtualmachineid = Str("the id of the NIC's virtual machine")

    @classmethod
    def render(cls, call: Call, rows: Sequence[NicAddress]) -> list[Shown]:
        nics = by_id(call, Nic, (row.nic_id for row in rows))
        return [
            {
                "id": row.id,
                "ipaddress": row.address,
                "nicid": row.nic_id,
                "networkid": row.network_id,
                "virtualmachineid": nics[row.nic_id].vm_id,
            }
            for row in rows
        ]


class AddNicAddress(Request):
    nicid = Ref(Nic, "the NIC", right="manage", required=True)
    ipaddress = Text("the address; any free one when absent")


@command("addIpToNic", AddNicAddress, NicAddressResponse, is_async=True, creates=True, roles=EVERYONE,
         event="NIC.SECONDARY.IP.ASSIGN", rehearses=True)  # fmt: skip
def add_ip_to_nic(call: Call, nicid: Nic, ipaddress: str | None) -> WorkflowRow:
    """Let a NIC have a further address of its network, which its guest sets by itself."""
    vm = _vm_of(call, nicid)
    network = call.session.get_one(Network, nicid.network_id)
    wanted = ipv4.optional_address("ipaddress", ipaddress)
    next_revision(call.session, network.id)
    held = _addresses(call, nicid)
    if len(held) > MOST_ADDRESSES:
        raise Invalid(
            f"The NIC {nicid.id} has {len(held) - 1} further addresses; at most {MOST_ADDRESSES} are possible."
        )
    further = NicAddress(nic_id=nicid.id, network_id=network.id, address=_free(call, network, wanted))
    call.subject = call.add(further, taken=f"The address {further.address} of network {network.name} is taken.")
    job = add_nic_address.start(call.session, vm, call=call, network_id=network.id, address_id=further.id)
    job.memory = {**(job.memory or {}), "result_id": further.id}
    return job


class RemoveNicAddress(Request):
    id = Ref(NicAddress, "the further address", required=True)


@command("removeIpFromNic", RemoveNicAddress, SuccessResponse, is_async=True, roles=EVERYONE,
         event="NIC.SECONDARY.IP.UNASSIGN", rehearses=True)  # fmt: skip
def remove_ip_from_nic(call: Call, id: NicAddress) -> WorkflowRow:
    """Take a further address from a NIC."""
    nic = call.session.get_one(Nic, id.nic_id)
    vm = _vm_of(call, nic)
    next_revision(call.session, id.network_id)
    _refuse_led(call, nic, NetworkRule.guest_address == id.address)
    id.removing = True
    return remove_nic_address.start(call.session, vm, call=call, network_id=id.network_id, address_id=id.id)
