"""Packet captures: the frames of a virtual machine's NIC, within bounds, as a pcap file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from manager import access, configuration
from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, Given, Page, Request, command
from manager.api.commands import ipv4
from manager.api.commands.rule import LARGEST_PORT, protocol_of
from manager.api.errors import ApiError, Invalid
from manager.api.fields import Integer, Ref, Text
from manager.api.response import Int, Response, Shown, Str, SuccessResponse, When
from manager.api.rows import by_id, owners_of
from manager.capture_site import url_of
from manager.models import Nic, PacketCapture, Vm, WorkflowRow
from manager.workflows.captures import capture_packets, stop
from network.capture import LARGEST_FRAME, CaptureSpec
from network.reachability.values import TCP, UDP, number_of

ARP = "arp"
LEAST_SNAP, LEAST_FILE = 64, 4096
USUAL_SECONDS, USUAL_PACKETS, USUAL_BYTES = 30, 1000, 2**18
MOST = {
    "seconds": "packet.capture.max.seconds",
    "packets": "packet.capture.max.packets",
    "maxbytes": "packet.capture.max.bytes",
}
"""The settings that bound parameters."""
UNAVAILABLE = 533


class PacketCaptureResponse(Response):
    object_key = "packetcapture"
    shows = PacketCapture
    has_jobs = True
    is_owned = True
    id = Str("the capture's id")
    nicid = Str("the id of the NIC")
    virtualmachineid = Str("the id of the NIC's virtual machine")
    virtualmachinename = Str("the name of that virtual machine")
    networkid = Str("the id of the NIC's network")
    state = Str("Capturing, or Ready when its file is there")
    seconds = Int("for how many seconds it captures at most")
    packets = Int("how many packets it captures at most")
    maxbytes = Int("the largest file, in bytes")
    snaplength = Int("how many bytes of each packet are kept")
    protocol = Str("the protocol that is captured; all when absent")
    port = Int("the port that is captured, of either end")
    ipaddress = Str("the IPv4 address that is captured, of either end")
    packetcount = Int("how many packets are in the file")
    droppedcount = Int("how many packets the host lost while it captured")
    size = Int("the size of the file, in bytes")
    reason = Str("what ended it, as a sentence")
    url = Str("where the pcap file is, on the management server; for an hour")
    created = When("when it was asked for")
    ended = When("when it ended, or will at the latest")
    expires = When("when the file is deleted")

    @classmethod
    def render(cls, call: Call, rows: Sequence[PacketCapture]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        vms = by_id(call, Vm, (row.vm_id for row in rows))
        nics = by_id(call, Nic, (row.nic_id for row in rows))
        return [_describe(row, vms, nics) | owners[row.account_id] for row in rows]


def _describe(row: PacketCapture, vms: dict[str, Vm], nics: dict[str, Nic]) -> Shown:
    spec = msgspec.convert(row.wanted, CaptureSpec)
    shown: Shown = {
        "id": row.id,
        "nicid": row.nic_id,
        "virtualmachineid": row.vm_id,
        "virtualmachinename": vms[row.vm_id].display_name if row.vm_id in vms else None,
        "networkid": nics[row.nic_id].network_id if row.nic_id in nics else None,
        "state": row.state,
        "seconds": spec.seconds,
        "packets": spec.packets,
        "maxbytes": spec.size,
        "snaplength": spec.snap_length,
        "protocol": spec.protocol or None,
        "port": spec.port or None,
        "ipaddress": spec.address or None,
        "created": row.created,
        "ended": row.ends,
    }
    if row.state == "Ready":
        shown |= {"packetcount": row.packets, "droppedcount": row.dropped, "size": row.size, "reason": row.reason,
                  "url": url_of(row), "expires": row.expires}  # fmt: skip
    return shown


class CreatePacketCapture(Request):
    virtualmachineid = Ref(Vm, "the virtual machine whose default NIC it is; else nicid", right="manage")
    nicid = Ref(Nic, "the NIC; else virtualmachineid", right="manage")
    seconds = Integer("for how many seconds at most", least=1, default=USUAL_SECONDS)
    packets = Integer("how many packets at most", least=1, default=USUAL_PACKETS)
    maxbytes = Integer("the largest file, in bytes", least=LEAST_FILE, default=USUAL_BYTES)
    snaplength = Integer("how many bytes of each packet to keep", least=LEAST_SNAP, most=LARGEST_FRAME,
                         default=LARGEST_FRAME)  # fmt: skip
    protocol = Text("only packets of tcp, udp, icmp, arp or an IPv4 protocol number")
    port = Integer("only packets of tcp or udp with this port, of either end", least=1, most=LARGEST_PORT)
    ipaddress = Text("only packets with this IPv4 address, of either end")


@command("createPacketCapture", CreatePacketCapture, PacketCaptureResponse, is_async=True, creates=True,
         roles=EVERYONE, event="NIC.CAPTURE.CREATE")  # fmt: skip
def create_packet_capture(call: Call, given: Given) -> WorkflowRow:
    """Capture the packets of a running virtual machine's NIC into a pcap file; the job ends with the first bound."""
    nic, vm = _plug(call, given)
    if vm.state != "Running" or nic.host_id is None:
        raise Invalid(f"The virtual machine {vm.name} is {vm.state}; packets are captured while it is Running.")
    call.subject = vm
    spec = _spec(call, given)
    capture = PacketCapture(account_id=vm.account_id, nic_id=nic.id, vm_id=vm.id, host_id=nic.host_id,
                            wanted=msgspec.to_builtins(spec))  # fmt: skip
    _claim(call, capture)
    return capture_packets.start(call.session, capture, call=call)


def _plug(call: Call, given: Given) -> tuple[Nic, Vm]:
    """:raises Invalid: neither or both are given, the NIC is a router's, or the machine has none"""
    if (given.nicid is None) == (given.virtualmachineid is None):
        raise Invalid("Either nicid or virtualmachineid must be given: whose packets are captured.")
    if given.nicid is None:
        vm: Vm = given.virtualmachineid
        query = select(Nic).where(Nic.vm_id == vm.id).order_by(Nic.is_default.desc(), Nic.device, Nic.id)
        nic = call.session.scalars(query).first()
        if nic is None:
            raise Invalid(f"The virtual machine {vm.name} has no NIC.")
        return nic, vm
    plugged = call.session.get(Vm, given.nicid.vm_id) if given.nicid.vm_id else None
    if plugged is None:
        raise Invalid("The NIC is a router's; packets are captured at NICs of virtual machines.")
    return given.nicid, plugged


def _spec(call: Call, given: Given) -> CaptureSpec:
    """:raises Invalid: a bound is above its setting, or the filters do not fit together"""
    for name, setting in MOST.items():
        most = int(configuration.value(call.session, setting))
        if getattr(given, name) > most:
            raise Invalid(f"The {name} {getattr(given, name)} is more than the {most} of {setting}.")
    protocol = _protocol(given.protocol)
    if given.port is not None and protocol not in ("tcp", "udp"):
        raise Invalid("A port is for the protocols tcp and udp alone, one of which must be given with it.")
    address = ipv4.optional_address("ipaddress", given.ipaddress) or ""
    return CaptureSpec(
        given.seconds, given.packets, given.maxbytes, given.snaplength, protocol, given.port or 0, address
    )


def _protocol(text: str | None) -> str:
    """As network.capture.CaptureSpec has it."""
    if not text or text.lower() == ARP:
        return (text or "").lower()
    name = protocol_of(text)
    if name == "all":
        return ""
    return {TCP: "tcp", UDP: "udp"}.get(number_of(name), str(number_of(name)))


def _claim(call: Call, capture: PacketCapture) -> None:
    """Store it with a place of its account and one of its host; unique keys decide between calls of one moment.

    :raises Invalid: the account has as many as it may have
    :raises ApiError: the host captures as much as it may, or another call took the place
    """
    own = int(configuration.value(call.session, "packet.capture.max.per.account"))
    most = int(configuration.value(call.session, "packet.capture.max.per.host"))
    place = _free(call, PacketCapture.place, capture.account_id, own)
    if place is None:
        reason = f"the {own} packet captures of packet.capture.max.per.account"
        raise Invalid(f"The account has {reason}; delete one with deletePacketCapture.")
    running = _free(call, PacketCapture.running, capture.host_id, most)
    if running is None:
        raise ApiError(UNAVAILABLE, f"The host is capturing for {most} others now; try again in a minute.")
    capture.place, capture.running = place, running
    call.session.add(capture)
    try:
        call.session.flush()
    except IntegrityError as error:
        raise ApiError(UNAVAILABLE, "Another capture was begun at the same moment; try again.") from error


def _free(call: Call, column: Any, holder: str, most: int) -> str | None:
    places = [f"{holder}/{number}" for number in range(most)]
    taken = set(call.session.scalars(select(column).where(column.in_(places))))
    return next((place for place in places if place not in taken), None)


class ListPacketCaptures(AccountListRequest):
    id = Ref(PacketCapture, "only this capture")
    virtualmachineid = Ref(Vm, "only those of this virtual machine")
    nicid = Ref(Nic, "only those of this NIC")


@command("listPacketCaptures", ListPacketCaptures, PacketCaptureResponse, roles=EVERYONE)
def list_packet_captures(call: Call, **filters: Any) -> Page:
    """List packet captures, with links to their files."""
    query = select(PacketCapture).where(access.visible(call, PacketCapture))
    columns = {"id": PacketCapture.id, "virtualmachineid": PacketCapture.vm_id, "nicid": PacketCapture.nic_id}
    for name, column in columns.items():
        if filters[name] is not None:
            query = query.where(column == filters[name].id)
    if filters["keyword"]:
        vms = select(Vm.id).where(Vm.name.contains(filters["keyword"], autoescape=True))
        query = query.where(PacketCapture.vm_id.in_(vms))
    return call.paged(query.order_by(PacketCapture.created.desc(), PacketCapture.id))


class OnePacketCapture(Request):
    id = Ref(PacketCapture, "the capture", required=True)


@command("stopPacketCapture", OnePacketCapture, SuccessResponse, roles=EVERYONE, event="NIC.CAPTURE.STOP")
def stop_packet_capture(call: Call, id: PacketCapture) -> bool:
    """End a packet capture before its time; what it has by then becomes its file. One that has ended is left alone."""
    if id.state == "Capturing":
        stop(call.session, id)
    return True


@command("deletePacketCapture", OnePacketCapture, SuccessResponse, roles=EVERYONE, event="NIC.CAPTURE.DELETE")
def delete_packet_capture(call: Call, id: PacketCapture) -> bool:
    """Delete a packet capture and its file."""
    if id.state == "Capturing":
        raise Invalid(f"The packet capture {id.id} is under way; stopPacketCapture ends it.")
    call.session.delete(id)
    return True
